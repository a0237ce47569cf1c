"""The sixteen named motions.

``theta`` is a tensor (..., 16) in the order of ``THETA``. Each control is divided by its ``scale``,
so that values of about 1 are typical for all of them; 0 is the neutral of every control.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor


class Control(NamedTuple):
    """One motion. ``scale`` is in ``unit``; ``low``, ``high``, ``neutral`` are in theta (unit / scale)."""

    name: str
    scale: float
    low: float
    high: float
    neutral: float
    unit: str


THETA: Final = (
    Control(
        "yaw", 13.0, -32 / 13, 32 / 13, 0.0, "degrees; + turns the face to the picture's right"
    ),
    Control("pitch", 7.0, -18 / 7, 18 / 7, 0.0, "degrees; + looks down"),
    Control("roll", 7.0, -22 / 7, 22 / 7, 0.0, "degrees; + tilts clockwise in the picture"),
    Control("x", 0.14, -3.4, 3.4, 0.0, "eye distances of the framing; + right (the head's pivot)"),
    Control("y", 0.09, -3.4, 3.4, 0.0, "eye distances of the framing; + down (the head's pivot)"),
    Control("scale", 0.06, -2.6, 2.6, 0.0, "natural logarithm of the size; + nearer"),
    Control("mouth open", 0.15, 0.0, 0.55 / 0.15, 0.0, "eye distances between the lips' edges"),
    Control("smile", 0.5, -1.2, 2.4, 0.0, "gestures; + corners out and up, - down"),
    Control("pucker", 0.4, 0.0, 2.5, 0.0, "gestures; + lips together and forward"),
    Control(
        "blink left", 0.4, -1.0, 2.5, 0.0, "closure: 0 an ordinary open eye, 1 shut; picture's left"
    ),
    Control("blink right", 0.4, -1.0, 2.5, 0.0, "the same for the eye on the picture's right"),
    Control("brow raise", 0.5, -1.2, 2.2, 0.0, "gestures; + up"),
    Control("brow inner", 0.5, -1.8, 2.0, 0.0, "gestures; + inner ends up (worry), - down (frown)"),
    Control(
        "gaze x", 0.03, -2.6, 2.6, 0.0, "eye distances the irises move; + to the picture's right"
    ),
    Control("gaze y", 0.018, -2.4, 2.4, 0.0, "eye distances the irises move; + down"),
    Control("jaw x", 0.4, -2.5, 2.5, 0.0, "gestures; + chin to the picture's right"),
)
"""Order and units of the labels; the first sixteen coefficients of the network are tied to these."""

NAMES: Final = tuple(control.name for control in THETA)
(
    YAW,
    PITCH,
    ROLL,
    X,
    Y,
    SCALE,
    OPEN,
    SMILE,
    PUCKER,
    BLINK_L,
    BLINK_R,
    BROW,
    BROW_INNER,
    GAZE_X,
    GAZE_Y,
    JAW,
) = range(16)
TRACKED: Final = (OPEN, SMILE, PUCKER, BLINK_L, BLINK_R, BROW, BROW_INNER, GAZE_X, GAZE_Y)
"""What a face tracker measures better than an encoder of whole faces reads it. In training these are told in every
sample, as changes from the source; live, the tracker tells them (``engine.tracked``)."""
# fmt: off
MIRROR_ORDER: Final = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 9, 11, 12, 13, 14, 15)
MIRROR_SIGN: Final = (-1, 1, -1, -1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, 1, -1)
# fmt: on


def scales(device: torch.device | str = "cpu") -> Tensor:
    """(16,) what one unit of theta is, in each control's own unit."""
    return torch.tensor([control.scale for control in THETA], device=device)


def limits(device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """(16,) twice: lowest and highest theta the performer draws."""
    low = torch.tensor([control.low for control in THETA], device=device)
    return low, torch.tensor([control.high for control in THETA], device=device)


def mirrored(theta: Tensor) -> Tensor:
    """Theta (..., 16) of the same performance seen in a mirror."""
    sign = torch.tensor(MIRROR_SIGN, device=theta.device, dtype=theta.dtype)
    return theta[..., list(MIRROR_ORDER)] * sign
