"""The driver's expression on a face that has one of its own.

Motion from rest adds up with what the avatar's picture shows already: a driver who says "o" would make a smiling
portrait shout. So an avatar gives up what it smiles more than the driver's neutral does while the driver's mouth is
busy, and takes it back when that has been at rest for a while. Lids go the share of their way that the driver's went.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from lia_live.engine.bounds import Axes, Vector
from lia_live.engine.neutral import HeadShape
from lia_live.engine.tracked import MEASURED, WIDE_OPEN, smile_of
from lia_live.model.labels import LIDS, MOUTH, PUCKER_NARROWS, RELAXED

LIPS_MEET: Final = 0.03
"""Gap, in eye distances, that landmarks of lips still show where these meet."""
HALVES: Final = 0.2
"""While an avatar's lips stand so much further apart than the driver's at rest, eye distances, they open half as far
as the driver's."""
FULL_SMILE: Final = 1.3
"""Gestures of smile beyond which there is nothing to add to an avatar's own."""
BUSY: Final = (0.08, 0.5)
"""A mouth is wholly busy that opens so far (eye distances), or gets so much narrower than at rest (gestures of smile);
of both, shares add up."""
AT_REST: Final = 0.15
"""A mouth that is busy by a smaller share than this rests: trackers tremble."""
SMILES: Final = 0.6
"""Gestures of smile with which a driver, even one who shows teeth, makes the avatar keep its own."""
GIVEN_UP: Final = 0.85
"""How much of its smile an avatar gives up. Lips that stand open close wholly."""
BUSY_S, CALM_S = 0.12, 1.2
"""Time constants with which it gives its own expression up and takes it back: words have gaps."""
LEAST_LID_WAY: Final = 0.35
"""A driver's lids go at least this share of an ordinary eye's way: eyes that look shut at rest do not flutter."""
WINKS: Final = (0.25, 0.55)
"""Lids whose shares of their way differ by less shut as one: trackers read the far eye of a turned head worse than the
near one. From the second on, each goes its own way."""
WIDEST_EYE: Final = 0.45
"""Gap of lids over the eye's width; a picture in which more is measured was measured wrongly."""


class _Mouth(NamedTuple):
    """Of one moment, or how much an avatar takes back of its own."""

    gap: float
    """Between the lips, eye distances."""
    smile: float
    """Gestures."""


class _Lid(NamedTuple):
    """One eye of driver and avatar."""

    place: int
    """In the code."""
    scale: float
    """Of the code, for a closure of 1."""
    way: float
    """Of the driver's lid, from its neutral until it is shut; closure."""
    own: float
    """The avatar's gap, over the eye's width; NaN if nobody knows."""
    goes: float
    """How far the driver's goes, closure."""


class Retargeting:
    """Fits the motions of one driver to avatars. Stateful: one moment after another.

    ``axes``: the directions of a network; of those without a label every motion stays as it is.
    """

    def __init__(self, axes: Axes) -> None:
        self._count = len(axes.names)
        self._at = {
            name: (place, float(axes.scale[place]) / MEASURED[name][0])
            for place, name in enumerate(axes.names)
            if name in MEASURED
        }
        self._busy: float | None = None  # before the first moment
        self._smiling = 0.0
        self._strength = 1.0
        self._rests = _Mouth(0.0, 0.0)  # the driver's neutral

    def about(
        self,
        change: Vector,
        strength: float,
        neutral: Vector,
        avatar: HeadShape | None,
        passed: float,
    ) -> Vector:
        """Motion (M,) of an ``avatar`` of this shape from its rest, ``strength`` times the driver's own.

        ``change``: (M,) of the driver from ``neutral`` (M,). ``passed``: seconds since the moment before.
        """
        motion = strength * change
        self._follow(change, neutral, passed)
        self._strength = min(strength, 1.0)
        if avatar is not None:
            self._lids(motion, neutral, avatar)
            self._mouth(motion, avatar)
        return motion

    def calm_down(self, passed: float) -> None:
        """``passed`` seconds in which nobody was followed."""
        if self._busy is not None:
            self._busy *= math.exp(-passed / CALM_S)

    def taken(self, avatar: HeadShape | None) -> Vector:
        """(M,): by how much an ``avatar`` of this shape smiles less than its picture at this moment; 0 or below."""
        out = np.zeros(self._count)
        if avatar is not None:
            took = self._takes(self._excess(avatar))
            for name, measure in zip(("mouth open", "smile"), took, strict=True):
                if name in self._at:
                    place, scale = self._at[name]
                    out[place] = -measure * scale
        return out

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

    def _read(self, code: Vector, name: str) -> float:
        """A direction in the terms of ``MEASURED``; 0 where the network has none of that name."""
        if name not in self._at:
            return 0.0
        place, scale = self._at[name]
        return float(code[place]) / scale

    def _follow(self, change: Vector, neutral: Vector, passed: float) -> None:
        """How busy the driver's mouth is, and whether it smiles."""
        gap, wider = self._read(change, "mouth open"), self._read(change, "smile")
        at_rest = self._read(neutral, "smile")
        # A driver whose neutral smiles and who turns serious is not busy: that mouth is as wide as at rest.
        narrower = max(min(at_rest, 0.0) - (at_rest + wider), 0.0)
        busy = _share(max(gap, 0.0) / BUSY[0] + narrower / BUSY[1])
        if self._busy is None:
            self._busy = busy
        else:
            time = BUSY_S if busy > self._busy else CALM_S
            self._busy = busy + (self._busy - busy) * math.exp(-passed / time)
        self._smiling = min(max(wider / SMILES, 0.0), 1.0)
        self._rests = _Mouth(
            max(self._read(neutral, "mouth open") - LIPS_MEET, 0.0), max(at_rest, 0.0)
        )

    def _excess(self, avatar: HeadShape) -> _Mouth:
        """What an avatar shows of open lips and of smile that the driver's neutral does not; 0 if nobody knows."""
        gap = WIDE_OPEN * avatar.mouth_open - LIPS_MEET - self._rests.gap
        smile = smile_of(avatar) - self._rests.smile
        return _Mouth(*(max(own, 0.0) if np.isfinite(own) else 0.0 for own in (gap, smile)))

    def _takes(self, excess: _Mouth) -> _Mouth:
        busy = self._strength * (self._busy or 0.0)
        return _Mouth(busy * excess.gap, GIVEN_UP * busy * (1 - self._smiling) * excess.smile)

    def _mouth(self, motion: Vector, avatar: HeadShape) -> None:
        excess = self._excess(avatar)
        took = self._takes(excess)
        parts = {
            "mouth open": HALVES / (HALVES + excess.gap - took.gap),
            "smile": max(1 - (excess.smile - took.smile) / FULL_SMILE, 0.0),
        }
        for name, part in parts.items():
            if name in self._at and motion[self._at[name][0]] > 0:
                motion[self._at[name][0]] *= part
        motion += self.taken(avatar)

    def _lids(self, motion: Vector, neutral: Vector, avatar: HeadShape) -> None:
        """A driver's lid that shuts shuts the avatar's, whose way may be longer or shorter.

        Left and right of a direction are the picture's, of a shape the person's own.
        """
        lids = [
            _Lid(
                *self._at[name],
                max(1 - self._read(neutral, name), LEAST_LID_WAY),
                own,
                self._read(motion, name),
            )
            for name, own in (
                ("blink left", avatar.eye_open_right),
                ("blink right", avatar.eye_open_left),
            )
            if name in self._at
        ]
        shares = [lid.goes / lid.way for lid in lids]
        mean = sum(shares) / max(len(shares), 1)
        winks = _smooth(
            (max(shares, default=0) - min(shares, default=0) - WINKS[0]) / (WINKS[1] - WINKS[0])
        )
        for lid, share in zip(lids, shares, strict=True):
            goes = (mean + winks * (share - mean)) * lid.way
            if goes > 0 and np.isfinite(lid.own):  # eyes that open wider have no end to their way
                goes *= min(max(lid.own, LIDS[0]), WIDEST_EYE) / LIDS[1] / lid.way
            motion[lid.place] = goes * lid.scale


def _share(busy: float) -> float:
    """0 for a mouth at rest, 1 for a busy one, flat at both ends."""
    return _smooth((busy - AT_REST) / (1 - AT_REST))


def _smooth(share: float) -> float:
    """0 below 0, 1 above 1, flat at both ends."""
    share = min(max(share, 0.0), 1.0)
    return share * share * (3 - 2 * share)
