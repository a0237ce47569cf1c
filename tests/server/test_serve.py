"""``lia-live serve`` as a program: what it refuses, how it ends, and the example client against it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

from lia_live.cli import main
from lia_live.errors import ConfigError, DeviceError
from lia_live_server.certificate import dev_certificate, fingerprint
from lia_live_server.serving import Bind, listening
from lia_live_server.turn import minted, read_ice_servers
from tests.cli import material

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "correct horse battery"


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LIA_LIVE_TOKEN", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve")
    material.write_weights(folder / "tiny.safetensors")
    material.write_portrait(folder / "me.png")
    material.write_face_clip(folder / "clip.mp4")
    (folder / "token.txt").write_text(f"{TOKEN}\n", encoding="utf-8")
    return folder


def refused(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    code = main(["serve", *words])
    return code, capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "0.0.0.0"], "without TLS and a token"),
        (["--host", "0.0.0.0", "--dev-cert"], "without a token"),
        (["--host", "::", "--token-file", "token.txt"], "without TLS"),
        (["--host", "192.0.2.7", "--dev-cert"], "without a token"),
        (["--cert", "me.png"], "--cert and --key belong together"),
        (["--cert", "no.pem", "--key", "no.pem"], "no such file"),
        (["--dev-cert", "--cert", "me.png", "--key", "me.png"], "exclude each other"),
        (["--token-file", "nothing.txt"], "no such file"),
        (["--port", "70000"], "port must be in"),
        (["--max-sessions", "0"], "max_sessions"),
        (["--origin", "example.org"], "is no origin"),
        (["--origin", "https://example.org"], "without a token"),
        (["--ice-servers", "nothing.json"], "no such file"),
        (["--avatars", "me.png"], "whose portrait me.png is"),
        (["--avatar-s", "x"], "unknown flag"),
    ],
)
def test_what_is_refused_takes_two_lines(
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(files)
    monkeypatch.setattr(sys, "stdin", None)
    code, lines = refused(*words, capsys=capsys)
    assert code == 2
    assert len(lines) == 2, lines
    assert said in lines[0]
    assert lines[1].startswith("to do: ")


def test_a_short_token_is_refused_and_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "token.txt"
    file.write_text("secret7\n")
    code, lines = refused("--token-file", str(file), capsys=capsys)
    assert code == 2
    assert "secret7" not in "".join(lines)


@contextmanager
def program(files: Path, *words: str, env: dict[str, str] | None = None) -> Iterator[tuple]:
    """The program on tiny weights: (process, address)."""
    command = [sys.executable, "-m", "lia_live", "serve", "--port", "0", "--avatars", "me.png", "--consent", "me",
               "--weights", "tiny.safetensors", "--device", "cpu", "--engine", "torch", *words]  # fmt: skip
    process = subprocess.Popen(
        command,
        cwd=files,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = []
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if found := re.match(r"open (https?://\S+)", line):
                yield process, found[1], said
                break
        else:
            raise AssertionError((said, process.stderr and process.stderr.read()))
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


async def in_session(address: str, during) -> None:
    async with connect(address.replace("http", "ws") + "ws") as socket:
        await socket.send('{"type":"join"}')
        assert json.loads(await socket.recv())["type"] == "welcome"
        await during(socket)


def test_sigterm_drains_and_a_second_one_ends_it(files: Path) -> None:
    async def during(socket) -> None:
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(1.0)
        assert process.poll() is None  # the session may go on
        assert httpx.get(address + "healthz").status_code == 503
        await socket.send('{"type":"ping","t":1}')
        while json.loads(await socket.recv())["type"] != "pong":
            pass
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        told = []
        with pytest.raises(ConnectionClosedError) as closed:
            while True:
                told.append(json.loads(await socket.recv()))
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        assert [m["code"] for m in told if m["type"] == "error"] == ["stopping"]
        assert await asyncio.to_thread(process.wait, 10) == 0
        assert time.monotonic() - began < 4  # 0.3 s on an idle machine; 2 s is the promise

    with program(files) as (process, address, _):
        asyncio.run(in_session(address, during))
        _, err = process.communicate()
        assert "Traceback" not in err
        assert "stopping" in err


def test_ctrl_c_without_sessions_ends_at_once(files: Path) -> None:
    with program(files) as (process, address, _):
        assert httpx.get(address).status_code == 200
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=15)
        assert process.returncode == 130
        assert "Traceback" not in err


def test_the_example_client_gets_an_avatar_over_tls_with_a_token(files: Path) -> None:
    """And the token is in no line that the server says."""
    words = ("--dev-cert", "--token-file", "token.txt")
    with program(files, *words) as (process, address, said):
        assert address.startswith("https://")
        state = Path(os.environ["XDG_STATE_HOME"]) / "lia-live"
        certificate = state / "dev-cert.pem"
        assert (state / "dev-key.pem").stat().st_mode & 0o077 == 0
        assert any(fingerprint(certificate) in line for line in said)
        trust = ssl.create_default_context(cafile=str(certificate))
        assert httpx.get(address, verify=trust).status_code == 200
        out = files / "out.mp4"
        done = subprocess.run(
            [sys.executable, str(ROOT / "examples" / "browser_session.py"), "clip.mp4", str(out),
             "--server", address.replace("https", "wss") + "ws", "--token", TOKEN, "--duration", "4"],
            cwd=files, env={**os.environ, "SSL_CERT_FILE": str(certificate)},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "avatars: me" in done.stdout
        assert "fps" in done.stdout
        with av.open(str(out)) as video:
            assert sum(1 for _ in video.decode(video=0)) > 10
        process.send_signal(signal.SIGTERM)
        out_text, err = process.communicate(timeout=15)
        assert TOKEN not in "".join(said) + out_text + err


# Parts


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing.mp4", "out.mp4"], "check the path"),
        (["me.png.txt", "out.mp4"], "name a video"),
        (["clip.mp4", "nowhere/out.mp4"], "make it"),
        (["clip.mp4", "out.mp4", "--server", "ftp://localhost"], "check --server"),
        (["clip.mp4", "out.mp4", "--server", "ws://localhost:1/ws"], "start `lia-live serve`"),
    ],
)
def test_the_example_client_says_what_is_wrong(files: Path, words: list[str], said: str) -> None:
    (files / "me.png.txt").write_text("no video")
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "browser_session.py"), *words],
        cwd=files, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line]
    assert [line.partition(":")[0] for line in lines] == ["error", "to do"], done.stderr
    assert said in lines[1]


def test_a_certificate_is_kept_and_made_anew_for_another_host(tmp_path: Path) -> None:
    first = fingerprint(dev_certificate(tmp_path, "127.0.0.1")[0])
    assert fingerprint(dev_certificate(tmp_path, "127.0.0.1")[0]) == first
    assert fingerprint(dev_certificate(tmp_path, "avatar.example")[0]) != first


def test_a_port_in_use(tmp_path: Path) -> None:
    with listening(Bind(port=0)) as taken:
        taken.listen()
        with pytest.raises(DeviceError, match="cannot be used"):
            listening(Bind(port=taken.getsockname()[1]))
    with pytest.raises(ConfigError, match="no address"):
        listening(Bind("192.0.2.77", 0))


def test_turn_credentials_are_made_for_each_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TURN_SECRET", "shared")
    file = tmp_path / "ice.json"
    file.write_text(
        json.dumps(
            [
                {"urls": "stun:stun.example.org"},
                {"urls": ["turn:t.example.org"], "secret_env": "TURN_SECRET", "ttl_s": 600},
                {"urls": "turns:t.example.org", "username": "u", "credential": "c"},
            ]
        )
    )
    servers = read_ice_servers(file)
    one, other = minted(servers, "a"), minted(servers, "b")
    assert one[0] == {"urls": ["stun:stun.example.org"]}
    assert one[1]["username"].endswith(":a")
    assert 590 < int(one[1]["username"].partition(":")[0]) - time.time() <= 600
    assert one[1]["credential"] != other[1]["credential"]
    assert one[2] == {"urls": ["turns:t.example.org"], "username": "u", "credential": "c"}
    assert "shared" not in json.dumps([one, other])


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[1]", '[{"urls":"http://x"}]', '[{"urls":[]}]', '[{"url":"stun:x"}]', '[{"urls":"stun:x","ttl_s":1}]',
     '[{"urls":"stun:x","username":1}]', '[{"urls":"stun:x","secret_env":"NOT_SET_AT_ALL"}]',
     '[{"urls":"stun:x","secret_file":"/nothing/here"}]'],
)  # fmt: skip
def test_ice_servers_that_are_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "ice.json"
    file.write_text(text)
    with pytest.raises(ConfigError):
        read_ice_servers(file)
