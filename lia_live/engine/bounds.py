"""The directions of a set of weights as numbers; the range its codes were trained in, with soft ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from lia_live.model.directions import Direction

Vector = NDArray[np.float64]

KNEE = 0.1
"""Fraction of a direction's range, at either end, in which a code is bent instead of cut."""


class Axes:
    """What the policy reads of M directions, as arrays (M,)."""

    def __init__(self, directions: Sequence[Direction]) -> None:
        self.names = tuple(direction.name for direction in directions)
        self.low = np.array([d.low for d in directions], dtype=np.float64)
        self.high = np.array([d.high for d in directions], dtype=np.float64)
        scale = np.array([d.scale for d in directions], dtype=np.float64)
        self.scale = np.where(np.isfinite(scale) & (scale > 0), scale, 1.0)

    def edits_from(self, other: Axes, edits: Sequence[float]) -> tuple[float, ...]:
        """``edits``, one for each direction of ``other``, for the directions of the same names here."""
        named = dict(zip(other.names, edits, strict=False))
        return tuple(named.get(name, 0.0) for name in self.names)


class SoftRange:
    """Bends codes towards the ends of their range, without a corner.

    ``low``, ``high``: (M,) the range; a direction where they are not finite or not in order is unbounded.
    ``rest``: (M,) the avatar's own code: it passes unchanged wherever it lies, so a portrait at rest is
    always shown as it is.
    """

    def __init__(self, low: Vector, high: Vector, rest: Vector) -> None:
        span = high - low
        bounded = np.isfinite(span) & (span > 0)
        self._bend = np.where(bounded, KNEE * np.where(bounded, span, 0.0), 1.0)
        self._low_knee = np.where(bounded, np.minimum(low + self._bend, rest), -np.inf)
        self._high_knee = np.where(bounded, np.maximum(high - self._bend, rest), np.inf)

    def __call__(self, code: Vector) -> Vector:
        """(M,) in, (M,) out: unchanged between the knees, never further than the end of the range."""
        inside = np.clip(code, self._low_knee, self._high_knee)
        bent: Vector = inside + self._bend * np.tanh((code - inside) / self._bend)
        return bent
