"""Running the application: uvicorn, told what this server promises, and an end in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final

import uvicorn
from starlette.applications import Starlette

from lia_live.errors import ConfigError, DeviceError
from lia_live_server.app import server_of
from lia_live_server.http_front import HttpFront
from lia_live_server.parts import Server
from lia_live_server.protocol import MESSAGE_BYTES

log = logging.getLogger("lia_live_server")

DRAIN_LOOK_S: Final = 0.1
FORCED_S: Final = 1.7
"""After a second signal the process ends by then, whatever hangs."""


@dataclass(frozen=True)
class Bind:
    """Where to listen."""

    host: str = "127.0.0.1"
    port: int = 8765
    """0: any free one."""
    certificate: Path | None = None
    key: Path | None = None
    drain_s: float = 30.0
    """How long the first signal leaves running sessions; 0 to 3600."""
    ping_s: float = 10.0
    """A half-open socket is noticed after two of these."""
    request_s: float = 10.0
    """The head of an HTTP request has come by then, or the connection is cut."""

    @property
    def secure(self) -> bool:
        """TLS is spoken."""
        return self.certificate is not None


def uvicorn_config(app: Starlette, bind: Bind) -> uvicorn.Config:
    """What any runner of the application should set."""
    return uvicorn.Config(
        app,
        host=bind.host,
        port=bind.port,
        http=partial(HttpFront, request_s=bind.request_s),  # type: ignore[arg-type]  # it is only called
        ws="websockets-sansio",
        # Twice the limit: up to there the application answers with an error before it closes.
        ws_max_size=2 * MESSAGE_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=bind.ping_s,
        ws_ping_timeout=bind.ping_s,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=1,
        ssl_certfile=None if bind.certificate is None else str(bind.certificate),
        ssl_keyfile=None if bind.key is None else str(bind.key),
    )


def listening(bind: Bind) -> socket.socket:
    """The socket, bound before anything slow is loaded. Raises ``DeviceError`` where the port is taken."""
    family = socket.AF_INET6 if ":" in bind.host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # there it would share the port with another program
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((bind.host, bind.port))
    except OSError as error:
        found.close()
        if isinstance(error, socket.gaierror) or error.errno in (99, 10049):
            raise ConfigError(
                f"{bind.host} is no address of this machine",
                "take --host 127.0.0.1, or 0.0.0.0 for every address",
            ) from None
        raise DeviceError(
            f"port {bind.port} of {bind.host} cannot be used ({error.strerror})",
            "choose another one with --port",
        ) from None
    return found


class _Uvicorn(uvicorn.Server):
    """uvicorn without its own signals: the first one must drain."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class Stop:
    """Signals to orders: the first drains, the second ends. ``ask`` may be called from any thread."""

    def __init__(self) -> None:
        self.asked = 0
        self.interrupted = False
        """The first was Ctrl-C."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed: asyncio.Event | None = None

    def begin(self) -> asyncio.Event:
        """On the loop: an event that is set with every order."""
        self._loop, self._changed = asyncio.get_running_loop(), asyncio.Event()
        if self.asked:
            self._changed.set()
        return self._changed

    def ask(self) -> None:
        """Once more."""
        self.asked += 1
        if self._loop is not None and self._changed is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._changed.set)

    @contextlib.contextmanager
    def on_signals(self, said: Callable[[str], None]) -> Generator[None, None, None]:
        """SIGTERM, SIGINT and SIGHUP ask. Main thread only."""

        def handle(number: int, frame: FrameType | None) -> None:
            if not self.asked:
                self.interrupted = number == signal.SIGINT
            self.ask()
            if self.asked == 2:
                # Whatever hangs in native code cannot be asked any more.
                threading.Timer(FORCED_S, os._exit, (130 if self.interrupted else 0,)).start()
            words = "stopping: running sessions may go on; once more ends them"
            said(words if self.asked == 1 else "ending")

        numbers = [
            getattr(signal, n) for n in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, n)
        ]
        before = {number: signal.signal(number, handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


async def serve(
    app: Starlette,
    bind: Bind,
    stop: Stop,
    listener: socket.socket | None = None,
    ready: Callable[[int], None] | None = None,
) -> None:
    """Serve until ``stop`` is asked and the sessions are over, ``bind.drain_s`` have passed, or it is asked twice.

    ``ready``: told the port once it is open.
    """
    changed = stop.begin()
    listener = listener or listening(bind)
    runner = _Uvicorn(uvicorn_config(app, bind))
    serving = asyncio.create_task(runner.serve(sockets=[listener]))
    try:
        while not runner.started and not serving.done():
            await asyncio.sleep(0.01)
        if ready is not None and not serving.done():
            ready(int(listener.getsockname()[1]))
        waiting = asyncio.create_task(changed.wait())
        await asyncio.wait([waiting, serving], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not serving.done():
            await _drain(server_of(app), bind.drain_s, stop)
            await server_of(app).book.end_all()
            await asyncio.sleep(0)  # last words are on their way
    finally:
        runner.should_exit = True
        await serving


async def _drain(server: Server, most_s: float, stop: Stop) -> None:
    """Nobody new comes in; those who are in may stay for a while."""
    server.book.draining = True
    loop = asyncio.get_running_loop()
    until = loop.time() + most_s
    while len(server.book) and loop.time() < until and stop.asked < 2:
        await asyncio.sleep(DRAIN_LOOK_S)
