"""Hair that a picture's upper edge cuts off, closed to a dome, with what is beside it above.

A network that moves such a head down must show what the picture does not: it draws the hair at the edge out into a
stalk. Of hair that ends below the edge there is enough, and what is above it may be drawn out and nobody sees it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lia_live.frame import Pixels
from lia_live.puppet.mesh import smooth_step

ROOM: Final = 0.008
"""Above the middle of the hair, share of the picture's side ..."""
DOME: Final = 0.015
"""... and how much more at its sides, where it is cut off over ``BROAD`` or more."""
BROAD: Final = 0.34
BESIDE: Final = 0.14
"""Hair is cut so far beside the place where the edge cuts it, and backgrounds are what lies there; sides."""
FOREHEAD, LEFT_EYE, RIGHT_EYE = 10, 33, 263
"""Landmarks: its upper end, and the outer corners."""
UNLIKE: Final = 6.0
"""Median log-likelihood ratio, twice, by which hair must differ from what is beside it to be told from it."""
EDGE: Final = 0.016
"""What counts as the edge, sides."""
PARTING: Final = 0.03
"""Widest gap in hair along the edge, sides."""
SOFT_PX: Final = 2.5

Floats = NDArray[np.float64]


class _Colours(NamedTuple):
    """A Gaussian of colours."""

    mean: Floats
    precision: Floats
    log_volume: float

    @staticmethod
    def of(pixels: Floats) -> _Colours:
        """Of (..., 3)."""
        flat = pixels.reshape(-1, 3)
        spread = np.cov(flat.T) + 64 * np.eye(3)  # a few grey levels at least
        return _Colours(
            flat.mean(0), np.linalg.inv(spread), float(np.linalg.slogdet(spread).logabsdet)
        )

    def away(self, pixels: Floats) -> Floats:
        """(...): -2 log likelihood of (..., 3), but for a constant."""
        error = pixels - self.mean
        out: Floats = ((error @ self.precision) * error).sum(-1) + self.log_volume
        return out


def with_headroom(picture: Pixels, landmarks: NDArray[np.float32]) -> Pixels:
    """A portrait (S, S, 3) uint8 RGB whose hair ends below the upper edge; ``picture`` itself where it does, or where
    hair and background cannot be told apart by their colours.

    ``landmarks``: (478, 3) in its pixels.
    """
    side = len(picture)
    image = picture.astype(np.float64)
    eyes = float(np.linalg.norm(landmarks[RIGHT_EYE, :2] - landmarks[LEFT_EYE, :2]))
    middle, top = (float(value) for value in landmarks[FOREHEAD, :2])
    above, half = int(top - 0.12 * eyes), int(0.3 * eyes)
    place = int(np.clip(middle, 0, side - 1))
    if above < 0.03 * side:
        return picture
    corner, reach = round(0.1 * side), round(0.12 * side)
    crown = image[: max(above // 2, 8), max(place - half, 0) : place + half]
    hair = _Colours.of(crown)
    backgrounds = [
        _Colours.of(image[:reach, part]) for part in (slice(corner), slice(-corner, None))
    ]

    def unlike(pixels: Floats) -> Floats:
        away: Floats = np.minimum(*(one.away(pixels) for one in backgrounds)) - hair.away(pixels)
        return away

    if np.median(unlike(crown)) < UNLIKE:
        return picture
    cut = unlike(image[: max(round(EDGE * side), 1)].mean(0)) > 0
    if cut[max(place - 4, 0) : place + 5].mean() < 0.5:
        return picture
    first, last = (_end(cut, place, step, round(PARTING * side)) for step in (-1, 1))
    if first <= corner // 2 or last >= side - 1 - corner // 2:
        return picture  # of what is beside it too little is seen
    rows = round((ROOM + DOME) * side) + 4
    return _closed(picture, first, last, unlike(image[:rows]) > 0)


def _closed(picture: Pixels, first: int, last: int, hair: NDArray[np.bool_]) -> Pixels:
    """``picture`` with a dome in place of the hair that the edge cuts off from ``first`` to ``last``.

    ``hair``: (n, S), where hair is in the uppermost rows.
    """
    rows, side = hair.shape
    across, down = np.arange(side), np.arange(rows)[:, None]
    half = max((last - first) / 2, 1.0)
    aside = np.minimum(np.abs(across - (first + last) / 2) / half, 1)
    dome = DOME * min(1.0, (last - first) / (BROAD * side)) ** 2
    room = side * (ROOM + dome * aside**2)  # (S,)
    left, right = (
        max(first - round(BESIDE * side), 0),
        min(last + round(BESIDE * side), side - 1),
    )
    room[:left] = room[right + 1 :] = 0
    # between first and last everything, beside it hair alone: what else is there stays
    near = cv2.dilate(hair.astype(np.float32), np.ones((7, 7), np.float32))
    near = cv2.GaussianBlur(near, (0, 0), 1.0)
    near[:, first : last + 1] = 1
    share = (smooth_step((room - down) / SOFT_PX + 0.5) * near)[..., None]
    top = picture[:rows].astype(np.float64)
    beside = [
        np.median(part, 1) for part in (top[:, max(left - 8, 0) : left + 1], top[:, right:][:, :9])
    ]
    way = np.clip((across - left) / max(right - left, 1), 0, 1)[:, None]
    background = beside[0][:, None] * (1 - way) + beside[1][:, None] * way
    closed = picture.copy()
    closed[:rows] = (top + (background - top) * share).round().clip(0, 255)
    return closed


def _end(cut: NDArray[np.bool_], place: int, step: int, parting: int) -> int:
    """The last place of ``cut`` (S,) from ``place`` on in steps of ``step`` (1 or -1), over gaps up to ``parting``."""
    end, gap = place, 0
    while 0 <= place < len(cut) and gap <= parting:
        end, gap = (place, 0) if cut[place] else (end, gap + 1)
        place += step
    return end
