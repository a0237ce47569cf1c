"""From a face's square, new and trembling in every frame, to the square that is cut.

For LIA the head's movement *inside* the crop is motion: a square that followed exactly would erase it, and one
that changes its size makes the avatar's head grow and shrink. So the square is filtered and followed only until
the face has been steady for a second; then its size is locked and it stays where it is, to the pixel. It moves
again only when the face has gone out of the middle (dead zone): slowly, eased, and only as far as needed. Nobody
is ever cut off: near the border it moves at once.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lia_live.errors import ConfigError
from lia_live.frame import Box

_MIN_SAMPLES = 3
"""Fewer faces than this are no calibration, however long they took."""
_STALE_S = 1.0
"""A longer gap between two faces starts filters and calibration afresh."""
_SETTLE_S = 0.3
"""Time constant with which the square glides to where it belongs."""
_AT_REST_PX = 0.02
"""Nearer than this to its place, the square is put there: from then on crops are the same to the pixel."""


@dataclass(frozen=True)
class SteadyConfig:
    """How a square is kept steady."""

    calibrate_s: float = 1.0
    """The face must be steady for so long, then size and place are locked; 0.1 to 10."""
    calibrate_limit_s: float = 3.0
    """Locked after so long even if it never was steady (median of the last second); up to 60."""
    steady: float = 0.05
    """Steady means: position and size vary by less than this fraction of the side (standard deviation)."""
    dead_zone: float = 0.12
    """The face's centre may be so far from the square's, in sides, before it follows; 0 to 0.5."""
    border_zone: float = 0.2
    """Farther than this, it follows at once; ``dead_zone`` to 0.5."""
    size_band: float = 1.35
    """The face may be so many times larger or smaller than locked before the size follows; over 1."""
    follow_s: float = 0.7
    """Time constant of following, seconds; over 0."""

    def __post_init__(self) -> None:
        checks = {
            "calibrate_s": 0.1 <= self.calibrate_s <= 10,
            "calibrate_limit_s": self.calibrate_s <= self.calibrate_limit_s <= 60,
            "steady": 0 < self.steady <= 1,
            "dead_zone": 0 <= self.dead_zone <= 0.5,
            "border_zone": self.dead_zone <= self.border_zone <= 0.5,
            "size_band": self.size_band > 1,
            "follow_s": self.follow_s > 0,
        }
        for name, good in checks.items():
            if not good:
                raise ConfigError(f"track.{name} is out of range: {getattr(self, name)}")


class SteadySquare:
    """Keeps one square steady. Used by one thread; time comes with the frames."""

    def __init__(self, config: SteadyConfig) -> None:
        self._config = config
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next faces calibrate."""
        self.locked = False
        self._filter = _OneEuro()
        self._seen: deque[tuple[float, NDArray[np.float64]]] = deque()
        self._began = -math.inf
        self._last = -math.inf
        self._goal = np.zeros(3)  # centre x, y; log of the side: what the square glides to
        self._now = np.zeros(3)  # the same, where it is

    def update(self, framed: Box, now: float) -> Box:
        """Take the square that the framing asks for in this frame; give the one to cut. ``now``: s."""
        gap = now - self._last
        stale = not 0 <= gap <= _STALE_S
        self._last = now
        raw = np.array([*framed.centre, math.log(framed.side)])
        if stale:
            self._filter = _OneEuro()
            self._seen.clear()
            self._began = now
        smooth = self._filter(raw, 0.0 if stale else gap)
        if self.locked:
            self._follow(raw, smooth, min(max(gap, 0.0), 0.1))
        else:
            self._now = smooth
            self._calibrate(raw, now)
        return Box.around(float(self._now[0]), float(self._now[1]), math.exp(self._now[2]))

    def outside(self, framed: Box) -> bool:
        """Is this face somewhere else altogether, or of another size, than the locked square was made for?"""
        if not self.locked:
            return False
        side = math.exp(self._goal[2])
        far = (
            max(abs(framed.centre[0] - self._goal[0]), abs(framed.centre[1] - self._goal[1]))
            > side / 2
        )
        return far or abs(math.log(framed.side / side)) > 1.5 * math.log(self._config.size_band)

    def _calibrate(self, raw: NDArray[np.float64], now: float) -> None:
        config = self._config
        self._seen.append((now, raw))
        while now - self._seen[0][0] > config.calibrate_s:
            self._seen.popleft()
        waited = now - self._began
        if waited < config.calibrate_s or len(self._seen) < _MIN_SAMPLES:
            return
        samples = np.stack([sample for _, sample in self._seen])
        spread = samples.std(axis=0) / [math.exp(raw[2]), math.exp(raw[2]), 1.0]
        if spread.max() < config.steady or waited >= config.calibrate_limit_s:
            self.locked = True
            self._goal = np.median(samples, axis=0)
            self._seen.clear()

    def _follow(self, raw: NDArray[np.float64], face: NDArray[np.float64], step: float) -> None:
        config = self._config
        side = math.exp(self._goal[2])
        slow = 1 - math.exp(-step / config.follow_s)
        for axis, zone in (
            (0, config.dead_zone * side),
            (1, config.dead_zone * side),
            (2, math.log(config.size_band)),
        ):
            self._goal[axis] += slow * _excess(face[axis] - self._goal[axis], zone)
        away = self._goal - self._now
        if max(abs(away[0]), abs(away[1]), abs(away[2]) * side) < _AT_REST_PX:
            self._now = self._goal.copy()
        else:
            self._now = self._now + (1 - math.exp(-step / _SETTLE_S)) * away
        for axis in (0, 1):  # nobody is cut off, not even by the filter's lag
            push = _excess(raw[axis] - self._now[axis], config.border_zone * math.exp(self._now[2]))
            self._now[axis] += push
            self._goal[axis] += push


class _OneEuro:
    """The One-Euro filter (Casiez, Roussel, Vogel, CHI 2012) on (x, y, log side); speeds in sides a second."""

    _STILL_HZ = 1.0
    _SPEED_HZ = 1.0
    _GAIN = 4.0
    """Hz of cutoff gained by a speed of one side a second."""

    def __init__(self) -> None:
        self._value: NDArray[np.float64] | None = None
        self._speed = np.zeros(3)

    def __call__(self, sample: NDArray[np.float64], step: float) -> NDArray[np.float64]:
        if self._value is None:
            self._value = sample.copy()
        elif step > 0:
            side = math.exp(sample[2])
            speed = (sample - self._value) / step
            self._speed = self._speed + _share(self._SPEED_HZ, step) * (speed - self._speed)
            relative = np.abs(self._speed) / [side, side, 1.0]
            shares = np.array(
                [_share(self._STILL_HZ + self._GAIN * float(v), step) for v in relative]
            )
            self._value = self._value + shares * (sample - self._value)
        return self._value.copy()


def _share(cutoff_hz: float, step: float) -> float:
    """How much of a new sample a first-order low-pass takes in."""
    return 1 - math.exp(-2 * math.pi * cutoff_hz * step)


def _excess(offset: float, zone: float) -> float:
    """How far ``offset`` lies beyond ``zone`` on either side; 0 within."""
    return math.copysign(max(abs(offset) - zone, 0.0), offset)
