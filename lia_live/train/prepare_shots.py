"""One clip gone through once: where the face is in each frame, where it cuts, and the pieces that come of it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from lia_live.errors import MediaError
from lia_live.frame import Box, Pixels
from lia_live.track import framed_box, full_frame_box
from lia_live.train.prepare_config import PrepareConfig
from lia_live.train.prepare_finder import LandmarkFinder
from lia_live.train.prepare_frames import FrameSource
from lia_live.train.prepare_portrait import EYE_CORNERS, border_share

JUMP: Final = 0.6
"""Between two frames of one shot the middle of the eyes moves less than this, in eye distances."""
GROWTH: Final = 1.35
"""... and the eye distance grows or shrinks by less than this factor."""
SAME_COLOURS: Final = 0.45
"""Two frames of one shot share at least so much of their colour histograms."""
BRIDGE: Final = 2
"""The landmarks of so many lost frames in a row are interpolated; a longer gap ends a piece."""
OUTSIDE: Final = 0.02
"""A frame has left the square when more than this share of the landmarks lies outside."""
MAX_OUTSIDE: Final = 0.05
"""So many of a piece's frames may."""
MIN_MOTION: Final = 0.008
"""Less than this (see ``Clips.motion``) is the noise of the finder: a still picture encoded as a video has
0.005, somebody who hardly moves while talking 0.017."""
_COLOURS: Final = 4
"""Levels of each colour in the histogram."""

Points = NDArray[np.float32]
"""(F, 478, 3): landmarks in pixels of the clip; NaN where the face was lost."""


@dataclass(frozen=True)
class Track:
    """A clip, followed."""

    points: Points
    sizes: list[tuple[int, int]]
    """(height, width) of each frame."""
    cuts: frozenset[int]
    """Frames that begin another shot."""


@dataclass(frozen=True)
class Piece:
    """A stretch of one shot, frames ``first`` to ``last`` (exclusive)."""

    first: int
    last: int
    points: Points
    """(last - first, 478, 3), gaps bridged."""
    box: Box
    """The square in which all of it is seen."""
    reason: str = ""
    """Why it cannot be used; "" if it can."""


def follow(source: FrameSource, finder: LandmarkFinder) -> Track:
    """Go through ``source`` once. Raises ``MediaError`` if it has no frames or only one."""
    finder.begin()
    points: list[NDArray[np.float32]] = []
    sizes: list[tuple[int, int]] = []
    cuts: set[int] = set()
    nowhere = np.full((478, 3), np.nan, np.float32)
    colours: NDArray[np.float64] | None = None
    last: NDArray[np.float32] | None = None
    for number, pixels in enumerate(source.read()):
        if pixels is None:  # a damaged frame
            points.append(nowhere)
            sizes.append(sizes[-1] if sizes else (0, 0))
            continue
        before, colours = colours, _histogram(pixels)
        found = finder.follow(pixels, 1 / source.fps)
        size = (pixels.shape[0], pixels.shape[1])
        other = before is not None and float(np.minimum(before, colours).sum()) < SAME_COLOURS
        if other or _jumped(last, found) or (before is not None and size != sizes[-1]):
            cuts.add(number)
            last = None
        last = last if found is None else found
        points.append(nowhere if found is None else found)
        sizes.append(size)
    if len(points) < 2:
        raise MediaError(
            "one picture, not a video" if points else "no picture that can be decoded",
            "give a clip of half a second or more",
        )
    return Track(np.stack(points), sizes, frozenset(cuts))


def pieces_of(track: Track, fps: float, config: PrepareConfig) -> list[Piece]:
    """The pieces of a followed clip in the order of time, those that cannot be used with their reason."""
    seen = ~np.isnan(track.points[:, 0, 0])
    longest = max(2, int(config.clips.max_s * fps))
    pieces: list[Piece] = []
    for first, last in _stretches(seen, track.cuts):
        count = -(-(last - first) // longest)
        ends = np.linspace(first, last, count + 1).round().astype(int).tolist()
        for begin, end in pairwise(ends):
            pieces += _judged(track, begin, end, fps, config)
    return pieces


def _stretches(seen: NDArray[np.bool_], cuts: frozenset[int]) -> list[tuple[int, int]]:
    """(first, last) of every run of frames without a cut or a long gap; begins and ends with a face."""
    found: list[tuple[int, int]] = []
    first: int | None = None
    latest = -1
    for number in np.flatnonzero(seen).tolist():
        cut = any(at in cuts for at in range(latest + 1, number + 1))
        if first is not None and (cut or number - latest > BRIDGE + 1):
            found.append((first, latest + 1))
            first = None
        first = number if first is None else first
        latest = number
    return [*found, (first, latest + 1)] if first is not None else found


def _judged(track: Track, first: int, last: int, fps: float, config: PrepareConfig) -> list[Piece]:
    """The piece from ``first`` to ``last``, or its halves where the face leaves the square of the whole."""
    points = track.points[first:last]
    lost = np.isnan(points[:, 0, 0])
    points = _bridged(points, lost)
    eyes = np.linalg.norm(points[:, EYE_CORNERS[1]] - points[:, EYE_CORNERS[0]], axis=1)
    eye_px = float(np.median(eyes))
    height, width = track.sizes[first]
    if config.keep_framing:
        box = full_frame_box(height, width)
    else:
        each = [framed_box(one, config.framing) for one in points]
        middle = np.median([(*box.centre, box.side) for box in each], axis=0)
        box = Box.around(*(float(value) for value in middle))
    away = (points[:, :468, :2] < [box.x, box.y]) | (
        points[:, :468, :2] > [box.x + box.side, box.y + box.side]
    )
    outside = float((away.any(axis=2).mean(axis=1) > OUTSIDE).mean())
    border = border_share(box, width, height)
    limits, reason = config.clips, ""
    if (last - first) / fps < limits.min_s or last - first < 2:
        reason = f"too short: {(last - first) / fps:.2f} s with a face"
    elif lost.mean() > limits.max_lost:
        reason = f"face lost too often: in {lost.mean():.0%} of the frames"
    elif eye_px < limits.min_eye_px:
        reason = f"face too small: eyes {eye_px:.0f} px apart"
    elif outside > MAX_OUTSIDE:
        half = (first + last) // 2
        if (half - first) / fps >= limits.min_s:
            # who walks through the picture stays in a square for a while
            parts = ((first, half), (half, last))
            return [one for a, b in parts for one in _judged(track, a, b, fps, config)]
        reason = f"the face leaves the square: in {outside:.0%} of the frames"
    elif border > limits.max_border:
        reason = f"too close to the edge: {border:.0%} of the square is outside"
    elif _motion(points, eye_px) < MIN_MOTION:
        reason = "nothing moves: a still picture as a video"
    return [Piece(first, last, points, box, reason)]


def _bridged(points: Points, lost: NDArray[np.bool_]) -> Points:
    """Landmarks of lost frames as if the face had moved evenly; the first and the last frame are not lost."""
    if not lost.any():
        return points
    points = points.copy()
    good = np.flatnonzero(~lost)
    for number in np.flatnonzero(lost):
        after = int(np.searchsorted(good, number))
        a, b = good[after - 1], good[after]
        share = np.float32((number - a) / (b - a))
        points[number] = points[a] * (1 - share) + points[b] * share
    return points


def _motion(points: Points, eye_px: float) -> float:
    away = (points[:, :468, :2] - points[:, :468, :2].mean(axis=0)) / max(eye_px, 1e-3)
    return float(np.sqrt(np.square(away).sum(axis=2).mean()))


def _jumped(last: NDArray[np.float32] | None, found: NDArray[np.float32] | None) -> bool:
    """Is the face of this frame somewhere else than the last one seen?"""
    if last is None or found is None:
        return False
    before, now = last[list(EYE_CORNERS)], found[list(EYE_CORNERS)]
    size = float(np.linalg.norm(before[1] - before[0]))
    grown = float(np.linalg.norm(now[1] - now[0])) / max(size, 1e-3)
    moved = float(np.linalg.norm((now.mean(axis=0) - before.mean(axis=0))[:2])) / max(size, 1e-3)
    return moved > JUMP or not 1 / GROWTH < grown < GROWTH


def _histogram(pixels: Pixels) -> NDArray[np.float64]:
    """(64,) shares of the colours of a frame, 4 levels each; neighbouring levels share what lies between."""
    small = np.asarray(cv2.resize(pixels, (48, 48), interpolation=cv2.INTER_AREA), np.float64)
    place = small.reshape(-1, 3) / 256 * _COLOURS - 0.5
    low = np.floor(place)
    part = place - low
    out = np.zeros(_COLOURS**3)
    for corner in np.ndindex(2, 2, 2):
        level = np.clip(low + corner, 0, _COLOURS - 1).astype(np.int64)
        weight = np.where(np.array(corner) == 1, part, 1 - part).prod(axis=1)
        index = (level * [_COLOURS**2, _COLOURS, 1]).sum(axis=1)
        out += np.bincount(index, weight, minlength=_COLOURS**3)
    return np.asarray(out / out.sum())
