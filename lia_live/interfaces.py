"""The seams of the loop. ``engine`` knows only these; ``cli`` and ``server`` bring the real devices."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from lia_live.frame import Crop, Frame, Pixels


class Clock(Protocol):
    """Monotonic time. Tests bring a clock that is moved by hand."""

    def now(self) -> float:
        """Seconds, never going back; the zero is arbitrary."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait that long; returns at once for zero or less."""
        ...


@runtime_checkable
class Source(Protocol):
    """Where frames come from: a camera, a file paced as one. Used by one thread (capture)."""

    @property
    def name(self) -> str:
        """For the status line: "camera 0", "clip.mp4"."""
        ...

    @property
    def fps(self) -> float:
        """Frames a second that the source delivers, as measured or declared; > 0."""
        ...

    @property
    def ended(self) -> bool:
        """True once no frame will ever come again (end of a file that is not looped)."""
        ...

    def read(self) -> Frame | None:
        """Wait for the next frame, 0.5 s at most. None: none came (camera unplugged and being looked
        for again, or ``ended``). Raises ``DeviceError`` or ``MediaError`` only when there is no hope.
        """
        ...

    def close(self) -> None:
        """Give the device back. May be called twice, and from another thread to end a ``read``."""
        ...


@runtime_checkable
class Sink(Protocol):
    """Where pictures go: virtual camera, window, file. Used by one thread (output), on a steady clock."""

    @property
    def name(self) -> str:
        """For the status line: "virtual camera /dev/video0", "out.mp4"."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels of the pictures it takes; fixed for its life."""
        ...

    def send(self, pixels: Pixels) -> None:
        """Show one picture: (height, width, 3) uint8 RGB. Blocks at most about one frame time.

        Raises ``DeviceError`` when the device has gone, ``StorageError`` when the disk is full.
        """
        ...

    def close(self) -> None:
        """Finish (a file becomes playable) and give the device back. May be called twice."""
        ...


@runtime_checkable
class Tracker(Protocol):
    """Frame to square crop. Used by one thread (tracking)."""

    def track(self, frame: Frame) -> Crop | None:
        """The crop in the model's framing, or None while there is no face."""
        ...

    def recalibrate(self) -> None:
        """Forget the locked scale and position; calibrate again on the next faces."""
        ...

    def close(self) -> None:
        """Free the detector."""
        ...
