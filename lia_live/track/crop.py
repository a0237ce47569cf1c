"""The square: from landmarks in the model's framing, and cut out of a picture with sub-pixel care."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from lia_live.frame import Box, Pixels

if TYPE_CHECKING:  # only a type here: lia_live.model brings torch, which tracking does without
    from lia_live.model.config import Framing

Landmarks = NDArray[np.float32]
"""(478, 3): x and y in pixels of the full picture, z in the same unit (smaller is nearer)."""

RIGHT_EYE_OUTER = 33
"""The outer corner of the person's own right eye: on the left of the picture."""
LEFT_EYE_OUTER = 263
_MESH_POINTS = 468
"""The face itself; the ten after it are the irises."""


def framed_box(landmarks: Landmarks, framing: Framing) -> Box:
    """The square that ``framing`` asks for around these (478, 3) landmarks, in their pixels.

    The distance of the outer eye corners is taken in three dimensions, so a turned head keeps its size. The
    square is never rotated: a tilted head is motion.
    """
    corners = landmarks[[RIGHT_EYE_OUTER, LEFT_EYE_OUTER]].astype(np.float64)
    side = max(float(np.linalg.norm(corners[1] - corners[0])), 1e-3) / framing.eye_distance
    x, y = corners[:, :2].mean(axis=0)
    return Box(float(x) - framing.eye_x * side, float(y) - framing.eye_y * side, side)


def tight_box(landmarks: Landmarks) -> Box:
    """The smallest square around the face's own points: no framing in it, so any model can compare sizes."""
    points = landmarks[:_MESH_POINTS, :2]
    low, high = points.min(axis=0), points.max(axis=0)
    x, y = (low + high) / 2
    return Box.around(float(x), float(y), max(float((high - low).max()), 1e-3))


def full_frame_box(height: int, width: int) -> Box:
    """The centred square of a whole picture, for framings that need no face."""
    return Box.around(width / 2, height / 2, min(height, width))


def crop_square(pixels: Pixels, box: Box, size: int) -> Pixels:
    """Cut ``box`` out of ``pixels`` (H, W, 3) uint8 and scale it to (size, size, 3) uint8.

    Sub-pixel exact: a box moved by a tenth of a pixel moves the picture by a tenth. Shrinking averages the area
    of each new pixel (no flicker of fine patterns as the box moves); outside the picture its border is
    repeated. Halving is done by exact 2 x 2 means, the rest by one bilinear warp after a small blur whose
    variance is what is missing to the mean over the area: 0.5 ms where the general area filter takes 1.5.
    """
    if not (box.side > 0 and math.isfinite(box.side + box.x + box.y)):
        raise ValueError(f"a crop needs a finite box with side > 0, got {box}")
    scale = box.side / size
    halvings = max(0, math.floor(math.log2(scale) + 1e-9)) if scale > 1 else 0
    step = 2**halvings
    left, top, region = _region(pixels, box, halvings)
    rest = scale / step  # source pixels for each new one: below 1 enlarges, else [1, 2)
    shift_x, shift_y = (box.x - left) / step, (box.y - top) / step
    if rest == 1 and shift_x.is_integer() and shift_y.is_integer():
        return _slice(region, int(shift_x), int(shift_y), size)
    if rest > 1:
        # A mean over r pixels has the variance r²/12; the warp's own interpolation brings about 1/12 of it.
        sigma = math.sqrt((rest * rest - 1) / 12)
        if sigma > 0.15:
            region = cv2.GaussianBlur(
                region, (3, 3), sigma, borderType=cv2.BORDER_REPLICATE
            ).astype(np.uint8, copy=False)
    to_region = np.array(
        [
            [rest, 0, shift_x + 0.5 * rest - 0.5],  # pixel centres lie at n + 0.5
            [0, rest, shift_y + 0.5 * rest - 0.5],
        ]
    )
    return cv2.warpAffine(
        region,
        to_region,
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    ).astype(np.uint8, copy=False)


def _region(pixels: Pixels, box: Box, halvings: int) -> tuple[int, int, Pixels]:
    """The pixels of the picture that ``box`` touches, and a margin, halved so often: (left, top, region).

    ``left`` and ``top``: where the region begins in the picture. It is never wider than the picture.
    """
    step = 2**halvings
    short = [max(step - length, 0) for length in pixels.shape[:2]]
    if any(short):
        pixels = _bordered(pixels, 0, short[0], 0, short[1])
    x0, x1 = _span(box.x, box.side, pixels.shape[1], step)
    y0, y1 = _span(box.y, box.side, pixels.shape[0], step)
    region = pixels[y0:y1, x0:x1]
    for _ in range(halvings):
        half = (region.shape[1] // 2, region.shape[0] // 2)
        region = cv2.resize(region, half, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return x0, y0, region


def _span(start: float, side: float, length: int, step: int) -> tuple[int, int]:
    """One axis of a region: its first and last pixel, whole steps apart, inside 0..length."""
    margin = 2 * step
    first = min(max(math.floor(start) - margin, 0), length - step)
    last = min(max(math.ceil(start + side) + margin, first + step), length)
    steps = -(-(last - first) // step)
    if first + steps * step > length:  # less than a step at the far border is left out
        steps -= 1
    return first, first + steps * step


def _slice(region: Pixels, x: int, y: int, size: int) -> Pixels:
    """A copy of the (size, size) square of ``region`` at (x, y), its border repeated outwards."""
    height, width = region.shape[:2]
    x0, x1 = min(max(x, 0), width - 1), min(max(x + size, 1), width)
    y0, y1 = min(max(y, 0), height - 1), min(max(y + size, 1), height)
    inside = region[y0:y1, x0:x1]
    left, top = min(x0 - x, size - 1), min(y0 - y, size - 1)
    left, top = max(left, 0), max(top, 0)
    right, bottom = size - left - (x1 - x0), size - top - (y1 - y0)
    if left or top or right or bottom:
        return _bordered(inside, top, bottom, left, right)
    return np.array(inside)


def _bordered(pixels: Pixels, top: int, bottom: int, left: int, right: int) -> Pixels:
    """``pixels`` with its border repeated outwards so many times."""
    wider = cv2.copyMakeBorder(pixels, top, bottom, left, right, borderType=cv2.BORDER_REPLICATE)
    return wider.astype(np.uint8, copy=False)
