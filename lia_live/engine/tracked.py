"""Motions that the face tracker measures better than the encoder reads them, put in their places in the motion code.

An encoder that looks at a whole face reads gaze not at all, lips that part a little by half, and hardly a frown. The
landmarks that found the face tell all of it: the expression is measured, and networks are trained to follow what is
measured here (``train.teacher.TRACKED``). Head turns and nods are read by both, and averaged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from lia_live.engine.bounds import Axes, Vector
from lia_live.engine.neutral import HeadShape
from lia_live.model.labels import BROW_INNER, BROW_RAISE, LIDS, MOUTH, NARROWING

WIDE_OPEN: Final = 0.5
"""Gap between the lips, in eye distances, that a shape calls 1."""
CLOSING: Final = 0.14
"""Irises are not looked for behind lids that are nearer to each other than this."""


def smile_of(shape: HeadShape) -> float:
    """Gestures of smile, signed: below 0 the mouth is narrower than at rest."""
    return _gestures(shape.mouth_width + NARROWING * WIDE_OPEN * shape.mouth_open, MOUTH)


def _no_pucker(shape: HeadShape) -> float:
    """0: what narrows a mouth beyond rest becomes a pucker in ``Retargeting.narrowed``; NaN where no width is known."""
    return 0.0 if np.isfinite(smile_of(shape)) else np.nan


def _gestures(measure: float, gesture: tuple[float, float]) -> float:
    rest, whole = gesture
    return (measure - rest) / whole


def _closure(eye_open: float) -> float:
    shut, ordinary = LIDS
    return (ordinary - max(eye_open, shut)) / (ordinary - shut)


MEASURED: Final[dict[str, tuple[float, Callable[[HeadShape], float]]]] = {
    "mouth open": (0.15, lambda shape: WIDE_OPEN * shape.mouth_open),
    "smile": (0.5, smile_of),
    "pucker": (0.4, _no_pucker),
    "blink left": (0.4, lambda shape: _closure(shape.eye_open_right)),
    "blink right": (0.4, lambda shape: _closure(shape.eye_open_left)),
    "brow raise": (0.5, lambda shape: _gestures(shape.brow_raise, BROW_RAISE)),
    "brow inner": (0.5, lambda shape: _gestures(shape.brow_inner, BROW_INNER)),
    "gaze x": (0.03, lambda shape: shape.gaze_x),
    "gaze y": (0.018, lambda shape: shape.gaze_y),
}
"""Directions by name: what one unit of their label is (``puppet.theta.THETA``), and the measure in the same terms. Left
and right of a label are the picture's, of a shape the person's own."""
TURNED: Final = 0.68
"""A landmark finder reads this share of how far the performer's heads turn: 17 degrees of 25."""
POSE: Final[dict[str, tuple[float, Callable[[HeadShape], float]]]] = {
    "yaw": (13.0, lambda shape: shape.yaw / TURNED),
    "pitch": (7.0, lambda shape: -shape.pitch),
}
"""The same of what both read well, each with errors of its own: they are averaged."""
POSE_SHARE: Final = 0.5
"""How much of that mean is the tracker's."""
_GAZE: Final = ("gaze x", "gaze y")


class _Motion(NamedTuple):
    """A direction that is measured."""

    name: str
    place: int
    """In the code."""
    scale: float
    """Of the code, for one of the measure."""
    measure: Callable[[HeadShape], float]
    share: float
    """How much of the measure goes into the code, 0 to 1."""


class Tracked:
    """Corrects the codes of one network. ``axes``: its directions; without labelled ones it corrects nothing."""

    def __init__(self, axes: Axes) -> None:
        self._motions: list[_Motion] = []
        for table, share in ((MEASURED, 1.0), (POSE, POSE_SHARE)):
            for place, name in enumerate(axes.names):
                if name in table:
                    unit, measure = table[name]
                    scale = axes.scale[place] / unit
                    self._motions.append(_Motion(name, place, scale, measure, share))
        self._looked: dict[int, float] = {}

    def __call__(self, code: Vector, shape: HeadShape | None) -> Vector:
        """A driver's code (M,) at one moment after another; eyes that shut look where they looked before."""
        return self._corrected(code, shape, self._looked)

    def still(self, code: Vector, shape: HeadShape | None) -> Vector:
        """A code (M,) out of any order: a sample of the neutral, an avatar's rest."""
        return self._corrected(code, shape, {})

    def forget(self) -> None:
        """Whoever comes next has not looked anywhere yet."""
        self._looked.clear()

    def _corrected(self, code: Vector, shape: HeadShape | None, looked: dict[int, float]) -> Vector:
        if shape is None or not self._motions:
            return code
        code = code.copy()
        shut = min(shape.eye_open_left, shape.eye_open_right) < CLOSING
        for name, place, scale, measure, share in self._motions:
            if name in _GAZE and shut:
                code[place] = looked.get(place, code[place])
                continue
            value = scale * measure(shape)
            if np.isfinite(value):
                code[place] += share * (value - code[place])
            if name in _GAZE:
                looked[place] = code[place]
        return code
