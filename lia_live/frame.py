"""The values that travel through the loop: a frame, the square around a face, the crop inside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""A picture: (H, W, 3) uint8, RGB."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture and the moment it was captured."""

    pixels: Pixels
    """(H, W, 3) uint8 RGB. Not to be written to: the slot, tracker and preview may share it."""
    captured_at: float
    """Seconds on the monotonic clock of the loop; it travels with the frame to the sink."""
    number: int
    """Counts up from 0 at the source, without gaps: a gap downstream is a drop."""


@dataclass(frozen=True, slots=True)
class Box:
    """A square in picture coordinates. It may reach over the border; cropping replicates the edge."""

    x: float
    """Left edge, pixels."""
    y: float
    """Top edge, pixels."""
    side: float
    """Side, pixels, > 0."""

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) of the middle, pixels."""
        return self.x + self.side / 2, self.y + self.side / 2

    @staticmethod
    def around(x: float, y: float, side: float) -> Box:
        """The square of ``side`` pixels whose middle is (x, y)."""
        return Box(x - side / 2, y - side / 2, side)


@dataclass(frozen=True, slots=True)
class Face:
    """One face, as the tracker saw it."""

    landmarks: NDArray[np.float32]
    """(478, 3): x and y in pixels of the full picture, z in the same unit (smaller is nearer); MediaPipe order."""
    box: Box
    """The square that the model's framing asks for, before smoothing."""
    score: float
    """Confidence in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Crop:
    """What the motion encoder sees: the square cut from a frame, and where it came from."""

    pixels: Pixels
    """(S, S, 3) uint8 RGB, S the model's size."""
    box: Box
    """The (smoothed) square that was cut, in the frame's pixels."""
    face: Face | None
    """The face inside; None where the framing needs none (centred full frame)."""
    captured_at: float
    """Of the frame it was cut from."""
    number: int
    """Of the frame it was cut from."""
