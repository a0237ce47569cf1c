"""The one way a camera picture can reach the output, and it is not there unless it was asked for.

A pipeline owns a ``Passthrough`` only when it was started with ``allow_passthrough``. Otherwise the output
loop holds ``None`` in its place, and nothing else it can reach has ever seen a camera frame.
"""

from __future__ import annotations

import threading

from lia_live.frame import Frame, Pixels

HELD_S = 0.5
"""A held key repeats; when it stops repeating for this long, it was let go (or its window died)."""


class Passthrough:
    """Shows the camera while a key is held. Any thread may call any method; times in seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = float("-inf")
        self._pixels: Pixels | None = None

    def hold(self, now: float) -> None:
        """The key is down: open for the next half second."""
        with self._lock:
            self._until = now + HELD_S

    def release(self) -> None:
        """The key went up: closed at once, and the kept picture is forgotten."""
        with self._lock:
            self._until = float("-inf")
            self._pixels = None

    def offer(self, frame: Frame, now: float) -> None:
        """The newest camera frame; kept only while open."""
        with self._lock:
            self._pixels = frame.pixels if now < self._until else None

    def picture(self, now: float) -> Pixels | None:
        """(H, W, 3) uint8 of the camera while open, else None."""
        with self._lock:
            if now >= self._until:
                self._pixels = None
            return self._pixels
