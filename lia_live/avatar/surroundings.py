"""What lies beyond a picture's border, where a portrait's square reaches over it: a blurred reflection.

A border that is repeated outwards makes stripes, and stripes move with the head for everybody to see.
"""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np

from lia_live.frame import Box, Pixels

_BLURS: Final = ((0.008, 0.0), (0.025, 0.02), (0.07, 0.06))
"""Standard deviation, and how far outside it begins to count, shares of the square's side."""
_GRADUAL: Final = 0.05
"""Way over which one blur gives way to the next, share of the side."""


def continued(square: Pixels, box: Box, height: int, width: int) -> Pixels:
    """``square`` (S, S, 3), the part ``box`` of a picture of that size, with what is outside of the picture made anew.

    Left, right and above the picture is reflected; below, where shoulders would grow a second neck, its border is
    repeated. Both are the more blurred the further out. What the picture shows is left alone.
    """
    size = square.shape[0]
    scale = size / box.side
    x0, x1 = (_inside(edge, size) for edge in (-box.x * scale, (width - box.x) * scale))
    y0, y1 = (_inside(edge, size) for edge in (-box.y * scale, (height - box.y) * scale))
    left, top, right, bottom = x0, y0, size - x1, size - y1
    if not (left or top or right or bottom) or x1 - x0 < 2 or y1 - y0 < 2:
        return square
    wide = cv2.copyMakeBorder(
        square[y0:y1, x0:x1], top, 0, left, right, borderType=cv2.BORDER_REFLECT_101
    )
    wide = cv2.copyMakeBorder(wide, 0, bottom, 0, 0, borderType=cv2.BORDER_REPLICATE)
    across, down = np.arange(size), np.arange(size)[:, None]
    beside = np.maximum(x0 - across, across - (x1 - 1))
    above = np.maximum(y0 - down, down - (y1 - 1))
    outside = np.maximum(np.maximum(beside, above), 0)[:, :, None] / size
    made = wide.astype(np.float32)
    for spread, begins in _BLURS:
        soft = cv2.GaussianBlur(
            wide, (0, 0), spread * size, borderType=cv2.BORDER_REFLECT_101
        ).astype(np.float32)
        made += (soft - made) * np.clip((outside - begins) / _GRADUAL, 0, 1, dtype=np.float32)
    made[y0:y1, x0:x1] = square[y0:y1, x0:x1]
    return made.round().astype(np.uint8)


def _inside(edge: float, size: int) -> int:
    """The pixel edge that is nearest, in a square of that size."""
    return min(max(math.floor(edge + 0.5), 0), size)
