"""A server in a process of its own, as a person starts it, and what Chromium is told."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_S = 60
COMMAND = [sys.executable, "-m", "lia_live", "serve"]

NO_BROWSER = (
    "the browser tests need Chromium and found none: run scripts/setup.sh (make setup), which installs it, "
    "or apt-get install chromium"
)


def chromium() -> str:
    """Where it is. Fails with the next step instead of skipping: an untested page would pass unseen."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    raise AssertionError(NO_BROWSER)


def browser_flags(clip: Path, *, camera: str = "allow") -> list[str]:
    """``clip``: what the camera sees (y4m). ``camera``: "allow" or "deny"."""
    answer = "" if camera == "allow" else "=deny"
    return [
        "--no-sandbox",
        f"--use-fake-ui-for-media-stream{answer}",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={clip}",
        "--autoplay-policy=document-user-activation-required",
    ]


def free_port() -> int:
    """A port nobody uses now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Served:
    """``lia-live serve`` with ``words``, on one port for as long as this object lives, however often it is started."""

    def __init__(self, words: Sequence[str | Path], log: Path, command: Sequence[str] = COMMAND):
        self._words, self._log, self._command = [str(word) for word in words], log, list(command)
        self.port = free_port()
        self.url = f"http://localhost:{self.port}/"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._command, *self._words, "--port", str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, "XDG_STATE_HOME": str(self._log.parent / "state")},
            )
        deadline = time.monotonic() + START_S
        while not self.answers():
            assert self.process.poll() is None, f"the server ended at once:\n{self.said()}"
            assert time.monotonic() < deadline, f"the server did not start:\n{self.said()}"
            time.sleep(0.05)

    def answers(self) -> bool:
        """``/healthz`` says ok."""
        try:
            with urllib.request.urlopen(f"{self.url}healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def said(self) -> str:
        """The end of its output."""
        return self._log.read_text(errors="replace")[-4000:]

    def send(self, number: signal.Signals) -> None:
        """To the running process."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ends the process, and waits for its end."""
        if self.process is None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None
