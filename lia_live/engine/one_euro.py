"""The One-Euro filter on a vector: smooth while it is still, prompt while it moves.

Casiez, Roussel, Vogel: "1 € Filter: A Simple Speed-based Low-pass Filter for Noisy Input", CHI 2012.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

SPEED_CUTOFF_HZ = 1.5
"""Cutoff of the low-pass on the speed itself."""
STILL_CUTOFF_HZ = (12.0, 0.4)
"""Cutoff at rest for the weakest and the strongest smoothing; geometric in between."""
SPEED_GAIN_HZ = (1.6, 0.5)
"""The same for what is added to the cutoff per unit of speed (one standard deviation a second)."""
LONGEST_STEP_S = 0.25
"""A longer gap between two samples starts the filter afresh: what it remembers is stale."""


class OneEuro:
    """Filters (N,) vectors sampled at uneven times. One thread.

    ``scale``: (N,) typical standard deviation of each component, > 0; it makes speeds comparable.
    """

    def __init__(self, scale: Vector, smooth: float) -> None:
        self._scale = np.asarray(scale, dtype=np.float64)
        self._value: Vector | None = None
        self._speed: Vector = np.zeros_like(self._scale)
        self._time = -math.inf
        self.smooth = smooth

    @property
    def smooth(self) -> float:
        """Strength in [0, 1]; 0 passes everything through."""
        return self._smooth

    @smooth.setter
    def smooth(self, smooth: float) -> None:
        self._smooth = smooth
        self._still_cutoff = _between(STILL_CUTOFF_HZ, smooth)
        self._speed_gain = _between(SPEED_GAIN_HZ, smooth)

    def reset(self) -> None:
        """Forget the past: the next sample passes through unchanged."""
        self._value = None

    def __call__(self, sample: Vector, now: float) -> Vector:
        """The filtered ``sample`` (N,), taken at ``now`` seconds."""
        step = now - self._time
        self._time = now
        if self._smooth == 0 or self._value is None or not 0 <= step <= LONGEST_STEP_S:
            self._value = sample.astype(np.float64)
            self._speed = np.zeros_like(self._scale)
            return self._value.copy()
        if step == 0:
            return self._value.copy()
        speed = (sample - self._value) / (step * self._scale)
        self._speed = self._speed + _gain(SPEED_CUTOFF_HZ, step) * (speed - self._speed)
        cutoff = self._still_cutoff + self._speed_gain * np.abs(self._speed)
        self._value = self._value + _gain(cutoff, step) * (sample - self._value)
        return self._value.copy()


def _between(ends: tuple[float, float], share: float) -> float:
    """The geometric way from the first to the second."""
    return ends[0] * math.pow(ends[1] / ends[0], share)


def _gain(cutoff_hz: float | Vector, step_s: float) -> Vector:
    """Weight of a new sample in a first-order low-pass with that cutoff."""
    turn = 2 * math.pi * step_s * np.asarray(cutoff_hz, dtype=np.float64)
    weight: Vector = turn / (turn + 1)
    return weight
