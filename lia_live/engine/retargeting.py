"""The driver's expression on a face that has one of its own.

Motion from rest adds up with what the avatar's picture shows already: a driver who says "o" would make a smiling
portrait shout. So an avatar that smiles gives it up while the driver's mouth is busy, and takes it back when that
has been at rest for a while. Lids go the share of their way that the driver's went of theirs.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from lia_live.engine.bounds import Axes, Vector
from lia_live.engine.neutral import HeadShape
from lia_live.engine.tracked import MEASURED, WIDE_OPEN, smile_of
from lia_live.model.labels import LIDS, MOUTH, PUCKER_NARROWS, RELAXED

LIPS_MEET: Final = 0.03
"""Gap, in eye distances, that landmarks of lips still show where these meet."""
HALVES: Final = 0.2
"""An avatar whose own lips are so far apart, in eye distances, opens them half as far as the driver does."""
FULL_SMILE: Final = 1.3
"""Gestures of smile beyond which there is nothing to add to an avatar's own."""
BUSY: Final = (0.08, 0.5)
"""A mouth is busy that opens so far (eye distances), or narrows by so much (gestures of smile) ..."""
AT_REST: Final = 0.15
"""... and at rest below this share of that."""
GIVEN_UP: Final = 0.85
"""How much of its own smile an avatar gives up. Lips that stand open close wholly."""
BUSY_S, CALM_S = 0.12, 1.2
"""Time constants with which it gives its own expression up and takes it back: words have gaps."""
LEAST_LID_WAY: Final = 0.5
"""Way of a driver's lids, in ordinary ones, that is taken to be the shortest."""


class Retargeting:
    """Fits the motions of one driver to avatars. Stateful: one moment after another.

    ``axes``: the directions of a network; without labelled ones every motion stays as it is.
    """

    def __init__(self, axes: Axes) -> None:
        self._at = {
            name: (place, axes.scale[place] / MEASURED[name][0])
            for place, name in enumerate(axes.names)
            if name in MEASURED
        }
        self._busy = 0.0

    def forget(self) -> None:
        """Whoever comes next has said nothing yet."""
        self._busy = 0.0

    def about(
        self, motion: Vector, neutral: Vector, avatar: HeadShape | None, passed: float
    ) -> Vector:
        """Motion (M,) of an ``avatar`` of this shape from its rest, of the driver's from ``neutral`` (M,).

        ``passed``: seconds since the moment before.
        """
        motion = motion.copy()
        self._lids(motion, neutral, avatar)
        self._mouth(motion, avatar, passed)
        return motion

    def narrowed(self, motion: Vector, avatar: HeadShape | None) -> Vector:
        """Motion (M,) from rest, for an ``avatar`` of this shape: its smile goes back first, then lips pucker."""
        if "smile" not in self._at or "pucker" not in self._at:
            return motion
        (smile, scale), (pucker, pucker_scale) = self._at["smile"], self._at["pucker"]
        own = 0.0 if avatar is None else smile_of(avatar)
        room = max(own - RELAXED, 0.0) if np.isfinite(own) else -RELAXED
        beyond = -room - motion[smile] / scale
        if beyond <= 0:
            return motion
        motion = motion.copy()
        motion[smile] = -room * scale
        motion[pucker] += beyond * MOUTH[1] / PUCKER_NARROWS * pucker_scale
        return motion

    def _lids(self, motion: Vector, neutral: Vector, avatar: HeadShape | None) -> None:
        """A driver's lid that shuts shuts the avatar's, whose way may be longer or shorter."""
        if avatar is None:
            return
        for name, own in (
            ("blink left", avatar.eye_open_right),
            ("blink right", avatar.eye_open_left),
        ):
            if name in self._at and np.isfinite(own):
                place, scale = self._at[name]
                way = max(1 - neutral[place] / scale, LEAST_LID_WAY)
                motion[place] *= own / LIDS[1] / way

    def _mouth(self, motion: Vector, avatar: HeadShape | None, passed: float) -> None:
        if "smile" not in self._at or "mouth open" not in self._at:
            return
        (smile, scale), (mouth, mouth_scale) = self._at["smile"], self._at["mouth open"]
        gap, wider = motion[mouth] / mouth_scale, motion[smile] / scale
        busy = _share(max(gap, 0) / BUSY[0] + max(-wider, 0) / BUSY[1])
        time = BUSY_S if busy > self._busy else CALM_S
        self._busy = busy + (self._busy - busy) * math.exp(-passed / time)
        if avatar is None:
            return
        own_gap = WIDE_OPEN * avatar.mouth_open - LIPS_MEET
        if np.isfinite(own_gap) and own_gap > 0:
            left = own_gap * (1 - self._busy)
            motion[mouth] = (
                left - own_gap + gap * (HALVES / (HALVES + left) if gap > 0 else 1)
            ) * mouth_scale
        own_smile = smile_of(avatar)
        if np.isfinite(own_smile) and own_smile > 0:
            left = own_smile * (1 - GIVEN_UP * self._busy)
            room = max(1 - left / FULL_SMILE, 0.0) if wider > 0 else 1.0
            motion[smile] = (left - own_smile + wider * room) * scale


def _share(busy: float) -> float:
    """0 for a mouth at rest, 1 for a busy one, flat at both ends."""
    share = min(max((busy - AT_REST) / (1 - AT_REST), 0.0), 1.0)
    return share * share * (3 - 2 * share)
