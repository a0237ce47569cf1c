"""A still picture as a source: the same frame over and over, at a camera's rate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from lia_live.frame import Frame
from lia_live.interfaces import Clock
from lia_live.io.grabber import READ_TIMEOUT_S
from lia_live.timing import MonotonicClock

_NAP_S: Final = 0.1
"""``close`` from another thread is noticed within this time."""

_MAGIC: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"MM\0*")


def is_picture(path: str) -> bool:
    """True if the first bytes are those of a JPEG, PNG, WebP, BMP or TIFF. The name does not matter."""
    try:
        with open(path, "rb") as file:
            head = file.read(12)
    except OSError:
        return False
    return head.startswith(_MAGIC) or (head[:4] == b"RIFF" and head[8:] == b"WEBP")


class StillSource:
    """One picture as a camera that sees nothing move."""

    def __init__(self, path: str | Path, *, fps: float = 30.0, clock: Clock | None = None) -> None:
        """Decode the picture at ``path``. Raises ``MediaError``."""
        from lia_live.avatar.picture import read_picture  # its room brings torch: only when needed

        self._pixels = read_picture(path)
        self._name = os.path.basename(path)
        self._fps = fps
        self._clock: Clock = clock or MonotonicClock()
        self._due: float | None = None
        self._count = 0
        self._closed = False

    @property
    def name(self) -> str:
        return self._name

    @property
    def fps(self) -> float:
        return self._fps

    @property
    def ended(self) -> bool:
        return self._closed

    def read(self) -> Frame | None:
        now = self._clock.now()
        step = 1.0 / self._fps
        # A late reader misses frames: the next one is never due more than a frame time ago.
        due = now if self._due is None else max(self._due, now - step)
        give_up = now + READ_TIMEOUT_S
        while not self._closed and now < due:
            if now >= give_up:
                return None
            self._clock.sleep(min(due - now, give_up - now, _NAP_S))
            now = self._clock.now()
        if self._closed:
            return None
        self._due = due + step
        frame = Frame(self._pixels, due, self._count)
        self._count += 1
        return frame

    def close(self) -> None:
        self._closed = True
