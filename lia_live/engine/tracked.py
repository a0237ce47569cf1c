"""Motions that the face tracker measures better than the encoder reads them, put in their places in the motion code.

An encoder that looks at a whole face reads gaze not at all, and lips that part a little by half. The landmarks that
found the face tell both. Networks are trained to follow what is measured here (``train.teacher.TRACKED``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from lia_live.engine.bounds import Axes, Vector
from lia_live.engine.neutral import HeadShape

WIDE_OPEN: Final = 0.5
"""Gap between the lips, in eye distances, that a shape calls 1."""
LIDS: Final = (0.11, 0.28)
"""Gap of the lids over the eye's width: of a shut eye (its landmarks never quite meet), and of an ordinary open one."""
CLOSING: Final = 0.14
"""Irises are not looked for behind lids that are nearer to each other than this."""


def _closure(eye_open: float) -> float:
    shut, ordinary = LIDS
    return (ordinary - max(eye_open, shut)) / (ordinary - shut)


MEASURED: Final[dict[str, tuple[float, Callable[[HeadShape], float]]]] = {
    "mouth open": (0.15, lambda shape: WIDE_OPEN * shape.mouth_open),
    "blink left": (0.4, lambda shape: _closure(shape.eye_open_right)),
    "blink right": (0.4, lambda shape: _closure(shape.eye_open_left)),
    "gaze x": (0.03, lambda shape: shape.gaze_x),
    "gaze y": (0.018, lambda shape: shape.gaze_y),
}
"""Directions by name: what one unit of their label is (``train.motion.THETA``), and the measure in the same terms. Left
and right of a label are the picture's, of a shape the person's own."""
LIPS_MEET: Final = 0.03
"""Gap, in eye distances, that landmarks of lips still show where these meet."""
HALVES: Final = 0.2
"""An avatar whose own lips are so far apart, in eye distances, opens them half as far as the driver does."""
_GAZE: Final = ("gaze x", "gaze y")
_MOUTH: Final = "mouth open"


class Tracked:
    """Corrects the codes of one network. ``axes``: its directions; without labelled ones it corrects nothing."""

    def __init__(self, axes: Axes) -> None:
        self._motions = [
            (place, axes.scale[place] / MEASURED[name][0], MEASURED[name][1], name in _GAZE)
            for place, name in enumerate(axes.names)
            if name in MEASURED
        ]
        self._looked: dict[int, float] = {}
        self._mouth = axes.names.index(_MOUTH) if _MOUTH in axes.names else None

    def __call__(self, code: Vector, shape: HeadShape | None) -> Vector:
        """A driver's code (M,) at one moment after another; eyes that shut look where they looked before."""
        return self._corrected(code, shape, self._looked)

    def still(self, code: Vector, shape: HeadShape | None) -> Vector:
        """A code (M,) out of any order: a sample of the neutral, an avatar's rest."""
        return self._corrected(code, shape, {})

    def about(self, motion: Vector, avatar: HeadShape | None) -> Vector:
        """Motion (M,) from rest, for an ``avatar`` of this shape: a mouth that smiles open already opens less.

        Its gap and the driver's do not add up to a yawn.
        """
        if avatar is None or self._mouth is None or motion[self._mouth] <= 0:
            return motion
        own = WIDE_OPEN * avatar.mouth_open - LIPS_MEET
        if not (np.isfinite(own) and own > 0):
            return motion
        motion = motion.copy()
        motion[self._mouth] *= HALVES / (HALVES + own)
        return motion

    def _corrected(self, code: Vector, shape: HeadShape | None, looked: dict[int, float]) -> Vector:
        if shape is None or not self._motions:
            return code
        code = code.copy()
        shut = min(shape.eye_open_left, shape.eye_open_right) < CLOSING
        for place, scale, measure, is_gaze in self._motions:
            if is_gaze and shut:
                code[place] = looked.get(place, code[place])
                continue
            value = scale * measure(shape)
            if np.isfinite(value):
                code[place] = value
            if is_gaze:
                looked[place] = code[place]
        return code
