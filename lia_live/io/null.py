"""The sink that shows nothing: for measuring, and for ``--output none``."""

from __future__ import annotations

from lia_live.frame import Pixels


class NullSink:
    """Takes pictures and counts them."""

    def __init__(self, width: int = 1280, height: int = 720) -> None:
        self._size = (width, height)
        self.sent = 0
        """Pictures taken so far."""

    @property
    def name(self) -> str:
        return "no output"

    @property
    def size(self) -> tuple[int, int]:
        return self._size

    def send(self, pixels: Pixels) -> None:
        self.sent += 1

    def close(self) -> None:
        return None
