"""One line that is written over itself, on a terminal only: the live status, the progress of a file."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from typing import TextIO


class StatusLine:
    """The last line of stderr. Away from a terminal it writes nothing. Any thread may call it."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._shown = self._stream is not None and self._stream.isatty()
        self._dirty = False
        self._lock = threading.Lock()

    def show(self, text: str) -> None:
        """Replace the line; cut to the terminal's width, since a wrapped line cannot be replaced."""
        if not self._shown:
            return
        width = shutil.get_terminal_size().columns - 1
        with self._lock:
            self._stream.write(f"\r\x1b[2K{text[:width]}")
            self._stream.flush()
            self._dirty = True

    def say(self, text: str) -> None:
        """A line that stays, above the status: on stdout, like everything that is no error."""
        with self._lock:
            self._wipe()
            self._stream.flush()
            print(text, flush=True)

    def clear(self) -> None:
        """Leave the line empty for whoever writes next."""
        with self._lock:
            self._wipe()
            self._stream.flush()

    def _wipe(self) -> None:
        if self._dirty:
            self._stream.write("\r\x1b[2K")
            self._dirty = False


class Progress:
    """How far along a file is: percent, frames a second, time left. ``total`` 0: not known."""

    def __init__(self, line: StatusLine, total: int) -> None:
        self._line = line
        self._total = total
        self._began = time.perf_counter()
        self._last = 0.0

    def show(self, done: int) -> None:
        """``done`` frames are finished; redrawn at most ten times a second."""
        now = time.perf_counter()
        if now - self._last < 0.1 and done != self._total:
            return
        self._last = now
        self._line.show(self.text(done, now - self._began))

    def end(self) -> None:
        """Leave the line empty."""
        self._line.clear()

    def text(self, done: int, elapsed_s: float) -> str:
        """The bar as text."""
        rate = done / elapsed_s if elapsed_s > 0 else 0.0
        if not self._total or done > self._total:
            return f"{done} frames  {rate:.1f} a second"
        share = done / self._total
        bar = "#" * round(24 * share)
        left = f"{clock_time((self._total - done) / rate)} left" if rate else "..."
        return f"[{bar:<24}] {share:4.0%}  {done}/{self._total}  {rate:.1f} a second  {left}"


def clock_time(seconds: float) -> str:
    """3725 -> "1:02:05", 65 -> "1:05"."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, second = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{second:02}" if hours else f"{minutes}:{second:02}"
