"""How an output follows its driver: correlation and slope of each movement of the head and face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lia_live.track.crop import LEFT_EYE_OUTER, RIGHT_EYE_OUTER, Landmarks
from lia_live.track.expression import expression

Series = NDArray[np.float64]
"""(T, 8): one row a frame, columns as in ``MOVEMENTS``; a row of NaN where there was no face."""

MOVEMENTS: Final = ("yaw", "pitch", "roll", "x", "y", "mouth", "eyes", "brows")
UNITS: Final = ("°", "°", "°", " px", " px", "", "", "")
LEAST_SD: Final = (1.0, 1.0, 1.0, 1.0, 1.0, 0.02, 0.02, 0.02)
"""A driver whose movement varies by no more than this (degrees, pixels, shares) is not followed but guessed at:
such a channel is not judged."""
FEWEST: Final = 5
"""Frames in which both faces were found, below which nothing is said."""
NO_FACE: Final = np.full(len(MOVEMENTS), np.nan)


@dataclass(frozen=True)
class Movement:
    """One channel of one clip."""

    correlation: float
    """Of the output with the driver, -1 to 1; 0 for an output that stands still; NaN where not judged."""
    slope: float
    """By how much the output moves for one unit of the driver; NaN where not judged."""
    driver_sd: float
    """Standard deviation of the driver, in the channel's unit."""
    judged: bool
    """The driver moves enough."""


def movements(landmarks: Landmarks | None, side: float) -> NDArray[np.float64]:
    """(8,) as in ``MOVEMENTS``, from (478, 3) landmarks in pixels of a crop of ``side``; NaN for None.

    yaw, pitch, roll in degrees; x, y: middle of the outer eye corners in pixels of a 256-pixel square; mouth, eyes
    and brows as ``expression`` measures them, independent of the head's pose.
    """
    if landmarks is None:
        return NO_FACE
    shape = expression(landmarks)
    x, y = landmarks[[RIGHT_EYE_OUTER, LEFT_EYE_OUTER], :2].mean(axis=0) * (256 / side)
    eyes = (shape.eye_open_left + shape.eye_open_right) / 2
    return np.array(
        [shape.yaw, shape.pitch, shape.roll, x, y, shape.mouth_open, eyes, shape.brow_raise]
    )


def follow(driver: Series, output: Series) -> Mapping[str, Movement]:
    """How each channel of ``output`` follows ``driver``; frames where either has no face are left out."""
    both = np.isfinite(driver).all(axis=1) & np.isfinite(output).all(axis=1)
    enough = int(both.sum()) >= FEWEST
    told = {}
    for index, (name, least) in enumerate(zip(MOVEMENTS, LEAST_SD, strict=True)):
        told[name] = (
            _one(driver[both, index], output[both, index], least)
            if enough
            else Movement(np.nan, np.nan, np.nan, judged=False)
        )
    return told


def _one(driver: NDArray[np.float64], output: NDArray[np.float64], least: float) -> Movement:
    spread = float(driver.std())
    if not spread > least:
        return Movement(np.nan, np.nan, spread, judged=False)
    shared = float(((driver - driver.mean()) * (output - output.mean())).mean())
    moved = float(output.std())
    return Movement(
        correlation=shared / (spread * moved) if moved > 1e-9 else 0.0,
        slope=shared / spread**2,
        driver_sd=spread,
        judged=True,
    )
