"""The sixteen named motions, how a random performance is drawn, and smooth ones for clips.

``theta`` is a tensor (..., 16) in the order of ``THETA``. Each control is divided by its ``scale``,
so that values of about 1 are typical for all of them; 0 is the neutral of every control.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Tensor

from lia_live.errors import ConfigError


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
    Control("x", 0.14, -2.6, 2.6, 0.0, "eye distances of the framing; + right (the head's pivot)"),
    Control("y", 0.09, -2.6, 2.6, 0.0, "eye distances of the framing; + down (the head's pivot)"),
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

MAX_TURN_DEG: Final = 33.0
"""A sampled yaw is at most this far from the portrait's own, degrees."""
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


@dataclass(frozen=True)
class MotionConfig:
    """How wild the random performances are."""

    pose: float = 1.0
    """Multiplies the spread of yaw, pitch, roll, x, y and scale; 0 to 1.5. Late training: 0.75."""
    open_share: float = 0.5
    """Share of samples with an open mouth."""
    blink_share: float = 0.4
    """Share of samples with at least one eye closing."""
    own_share: float = 0.35
    """Share of samples in which a facial gesture stays as it is in the portrait."""

    def __post_init__(self) -> None:
        if not 0 <= self.pose <= 1.5:
            raise ConfigError(f"motion.pose must be in [0, 1.5], got {self.pose}")
        for name in ("open_share", "blink_share", "own_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"motion.{name} must be in [0, 1], got {getattr(self, name)}")


def sample_theta(
    own: Tensor, generator: torch.Generator, config: MotionConfig | None = None
) -> Tensor:
    """Random theta (B, 16) for portraits whose own is ``own`` (B, 16); generator on own's device."""
    config = config or MotionConfig()
    batch, device = own.shape[0], own.device

    def normal(*shape: int) -> Tensor:
        return torch.randn(batch, *shape, generator=generator, device=device)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(batch, *shape, generator=generator, device=device)

    low, high = limits(device)
    theta = normal(16)
    theta[:, :6] *= config.pose
    # A face seen from the left has no right cheek to show: do not turn it all the way round.
    reach = MAX_TURN_DEG / THETA[YAW].scale
    theta[:, YAW] = torch.minimum(torch.maximum(theta[:, YAW], own[:, YAW] - reach), own[:, YAW] + reach)

    gap = torch.where(uniform() < config.open_share, 0.55 * uniform() ** 1.3, 0.012 * uniform())
    theta[:, OPEN] = gap / THETA[OPEN].scale
    gesture = uniform(4)
    theta[:, SMILE] = -1.0 + 3.2 * gesture[:, 0]
    theta[:, PUCKER] = torch.where(uniform() < 0.35, 2.5 * gesture[:, 1], 0.0)
    theta[:, BROW] = -1.0 + 3.1 * gesture[:, 2]
    theta[:, BROW_INNER] = torch.where(uniform() < 0.5, -1.8 + 3.8 * gesture[:, 3], 0.0)
    theta[:, JAW] = torch.where(uniform() < 0.4, theta[:, JAW], 0.0)

    # A gesture is often the portrait's own: most people in a call do not grimace.
    keep = uniform(16) < config.own_share
    keep[:, :OPEN] = False
    keep[:, [BLINK_L, BLINK_R]] = True
    near_own = own + 0.15 * normal(16) * (torch.arange(16, device=device) > OPEN)
    theta = torch.where(keep, near_own, theta)

    closing = uniform() < config.blink_share
    shut = torch.where(uniform() < 0.5, 0.9 + 0.1 * uniform(), 0.15 + 0.85 * uniform())
    each = (shut[:, None] + 0.06 * normal(2)).clamp(max=1.0) / THETA[BLINK_L].scale
    wink = uniform()[:, None]  # a quarter of them close one eye only
    sides = torch.tensor([[0.125, 0.25]], device=device)
    one_eye = torch.cat([wink >= sides[:, :1], (wink < sides[:, :1]) | (wink >= sides[:, 1:])], 1)
    lids = theta[:, BLINK_L : BLINK_R + 1]
    theta[:, BLINK_L : BLINK_R + 1] = torch.where(
        closing[:, None] & one_eye, torch.maximum(each, lids), lids
    )
    return torch.minimum(torch.maximum(theta, low), high)
