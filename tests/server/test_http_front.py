"""Connections that hold on without asking for anything: they are cut, and nobody else notices."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from lia_live_server.http_front import MOST_CONNECTIONS
from tests.server.harness import RunningServer

PATIENCE_S = 0.6


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(request_s=PATIENCE_S) as running:
        yield running


def opened(server: RunningServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def cut_after(connection: socket.socket) -> float:
    """Seconds until the server has ended this connection."""
    began = time.monotonic()
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    return time.monotonic() - began


def test_whoever_says_nothing_is_cut(server: RunningServer) -> None:
    with opened(server) as silent:
        assert PATIENCE_S / 2 < cut_after(silent) < PATIENCE_S + 3


def test_a_head_that_comes_letter_by_letter_is_cut(server: RunningServer) -> None:
    with opened(server) as slow:
        slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        ended = threading.Event()

        def dribble() -> None:
            while not ended.wait(0.05):
                try:
                    slow.sendall(b"X-A: b\r\n")
                except OSError:
                    return

        dribbling = threading.Thread(target=dribble)
        dribbling.start()
        spent = cut_after(slow)
        ended.set()
        dribbling.join()
    assert spent < PATIENCE_S + 3


def test_so_is_a_second_head_on_the_same_connection_and_a_body_nobody_asked_for(
    server: RunningServer,
) -> None:
    for words in (
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nabc",
    ):
        with opened(server) as slow:
            slow.sendall(words)
            assert slow.recv(65536).startswith(b"HTTP/1.1 ")
            assert cut_after(slow) < PATIENCE_S + 3


def test_nobody_fills_the_log_with_bad_requests(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(server) as rude:
        rude.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        assert rude.recv(65536).startswith(b"HTTP/1.1 400 ")
    assert [one.message for one in caplog.records if "nvalid" in one.message] == []


def test_a_connection_that_is_used_is_kept(server: RunningServer) -> None:
    with httpx.Client() as client:
        ports = set()
        for _ in range(6):
            answer = client.get(f"{server.url}healthz")
            stream = answer.extensions["network_stream"]
            ports.add(stream.get_extra_info("socket").getsockname()[1])
            time.sleep(PATIENCE_S / 3)
    assert len(ports) == 1


def test_more_connections_than_a_page_needs_are_not_taken(server: RunningServer) -> None:
    held = [opened(server) for _ in range(MOST_CONNECTIONS + 1)]
    try:
        assert cut_after(held[-1]) < PATIENCE_S / 2 + 3
    finally:
        for one in held:
            one.close()
    for _ in range(100):
        try:
            assert httpx.get(f"{server.url}healthz").status_code == 200
            break
        except httpx.TransportError:
            time.sleep(0.05)
    else:
        pytest.fail("the server does not answer any more")
