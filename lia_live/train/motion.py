"""How a random performance of the named motions is drawn, and smooth ones for clips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from lia_live.errors import ConfigError
from lia_live.puppet.theta import (
    BLINK_L,
    BLINK_R,
    BROW,
    BROW_INNER,
    GAZE_X,
    GAZE_Y,
    JAW,
    OPEN,
    PITCH,
    PUCKER,
    ROLL,
    SCALE,
    SMILE,
    THETA,
    YAW,
    X,
    Y,
    limits,
)

PARTED: Final = (0.02, 0.16)
"""Gaps between lips that only part, eye distances."""
WIDE: Final = 2.0
"""How much further than others do wide samples turn, nod, tilt and shift."""
NODS: Final = 1.35
"""They nod beyond the label's range by so much: finished networks are turned up (``schedule.Gains``)."""
MAX_TURN_DEG: Final = 33.0
"""A sampled yaw is at most this far from the portrait's own, degrees."""


@dataclass(frozen=True)
class MotionConfig:
    """How wild the random performances are."""

    pose: float = 1.0
    """Multiplies the spread of yaw, pitch, roll, x, y and scale; 0 to 1.5. Late training: 0.75."""
    aside_share: float = 0.0
    """Share of samples that shift 1.7 times as far and turn 0.4 times as much: a shift is no turn."""
    wide_share: float = 0.0
    """Share of samples whose pose is ``WIDE`` times as far from neutral: people who look about, at the ends of what the
    network will be asked for."""
    open_share: float = 0.5
    """Share of samples with an open mouth."""
    small_share: float = 0.0
    """Share of those whose lips only part, as in speech: up to ``PARTED``."""
    blink_share: float = 0.4
    """Share of samples with at least one eye closing."""
    own_share: float = 0.35
    """Share of samples in which a facial gesture stays as it is in the portrait."""

    def __post_init__(self) -> None:
        if not 0 <= self.pose <= 1.5:
            raise ConfigError(f"motion.pose must be in [0, 1.5], got {self.pose}")
        for name, value in vars(self).items():
            if name != "pose" and not 0 <= value <= 1:
                raise ConfigError(f"motion.{name} must be in [0, 1], got {value}")


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

    theta = normal(16)
    theta[:, :6] *= config.pose
    aside = (uniform() < config.aside_share)[:, None]
    theta[:, X : Y + 1] *= torch.where(aside, 1.7, 1.0)
    theta[:, YAW : PITCH + 1] *= torch.where(aside, 0.4, 1.0)

    # An open mouth, else the portrait's own, else a shut one.
    shut = torch.where(uniform() < config.own_share, own[:, OPEN], 0.08 * uniform())
    wide = 0.55 / THETA[OPEN].scale * uniform() ** 1.3
    parted = (PARTED[0] + (PARTED[1] - PARTED[0]) * uniform()) / THETA[OPEN].scale
    wide = torch.where(uniform() < config.small_share, parted, wide)
    theta[:, OPEN] = torch.where(uniform() < config.open_share, wide, shut)
    gesture = uniform(4)
    theta[:, SMILE] = -1.0 + 3.2 * gesture[:, 0]
    theta[:, PUCKER] = torch.where(uniform() < 0.35, 2.5 * gesture[:, 1], 0.0)
    theta[:, BROW] = -1.0 + 3.1 * gesture[:, 2]
    theta[:, BROW_INNER] = torch.where(uniform() < 0.5, -1.8 + 3.8 * gesture[:, 3], 0.0)
    theta[:, JAW] = torch.where(uniform() < 0.4, theta[:, JAW], 0.0)

    # A gesture is often the portrait's own: most people in a call do not grimace.
    keep = uniform(16) < config.own_share
    keep[:, : OPEN + 1] = False
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
    looks_about = uniform() < config.wide_share
    theta[:, : Y + 1] *= torch.where(looks_about, WIDE, 1.0)[:, None]
    theta = within_reach(theta, own)
    low, high = (end.repeat(batch, 1) for end in limits(device))
    for end in (low, high):
        end[:, PITCH] *= torch.where(looks_about, NODS, 1.0)
    return torch.minimum(torch.maximum(theta, low), high)


def within_reach(theta: Tensor, own: Tensor) -> Tensor:
    """Theta (B, 16), turned no further from the portraits' ``own`` (B, 16) than they have cheeks to show."""
    reach = MAX_TURN_DEG / THETA[YAW].scale
    theta = theta.clone()
    theta[:, YAW] = theta[:, YAW].clamp(own[:, YAW] - reach, own[:, YAW] + reach)
    return theta


def smooth_motion(
    seconds: float, fps: float, generator: torch.Generator, neutral: Tensor | None = None
) -> Tensor:
    """Theta (T, 16) of somebody who talks to a camera, on the CPU; ``generator`` is a CPU one.

    Begins and ends at rest. ``neutral`` (16,): theta at rest (a portrait's own), default all 0.
    """
    frames = round(seconds * fps)
    if frames < 1:
        raise ConfigError(f"{seconds} s at {fps} frames/s is no frame", "ask for a longer clip")
    time = torch.arange(frames) / fps
    theta = torch.zeros(frames, 16)
    for control, sway in (
        (YAW, 0.6),
        (PITCH, 0.5),
        (ROLL, 0.45),
        (X, 0.5),
        (Y, 0.45),
        (SCALE, 0.35),
    ):
        theta[:, control] = sway * _wander(time, 1.3, generator) + 0.15 * sway * _wander(
            time, 0.45, generator
        )
    theta[:, X] += 0.25 * theta[:, YAW]  # who turns also leans a little

    talk, stress = _talk(time, generator)
    theta[:, OPEN] = talk / THETA[OPEN].scale
    theta[:, PITCH] += 0.35 * stress
    theta[:, BROW] = 0.9 * stress * (_wander(time, 1.5, generator) > 0) + 0.15 * _wander(
        time, 1.0, generator
    )
    theta[:, BROW_INNER] = 0.35 * _wander(time, 1.7, generator)
    theta[:, SMILE] = (
        0.25
        + 0.5 * _wander(time, 1.8, generator)
        + 0.3 * _wander(time, 0.3, generator) * (talk > 0.02)
    )
    theta[:, PUCKER] = (1.1 * _wander(time, 0.28, generator) - 0.5).clamp(min=0) * (talk > 0.01)
    theta[:, JAW] = 0.25 * _wander(time, 0.5, generator) * (talk > 0.03)
    looks = _saccades(time, generator)
    theta[:, GAZE_X], theta[:, GAZE_Y] = 0.7 * looks[:, 0] - 0.3 * theta[:, YAW], 0.5 * looks[:, 1]

    easing = torch.minimum(time / 0.8, (time[-1] - time) / 0.5).clamp(0, 1)
    theta = _eased(easing)[:, None] * theta
    rest = torch.zeros(16) if neutral is None else neutral.detach().cpu().float()
    theta = theta + rest * (torch.arange(16) != OPEN)
    shut = _blinks(time, generator)[:, None]
    lids = theta[:, BLINK_L : BLINK_R + 1]
    theta[:, BLINK_L : BLINK_R + 1] = lids + (1 / THETA[BLINK_L].scale - lids) * shut
    low, high = limits()
    return torch.minimum(torch.maximum(theta, low), high)


def _eased(x: Tensor) -> Tensor:
    return x * x * (3 - 2 * x)


def _wander(time: Tensor, period_s: float, generator: torch.Generator) -> Tensor:
    """Smooth random curve (T,), mean 0 and s.d. about 1, with a new direction every ``period_s``."""
    place = time / period_s + torch.rand(1, generator=generator)
    knots = torch.randn(int(place[-1]) + 4, generator=generator).clamp(-2, 2)
    first = place.long()
    part = place - first
    before, here, after, later = (knots[first + i] for i in range(4))
    # A uniform cubic B-spline of the knots: no corner in speed or acceleration.
    mixed = (
        (1 - part) ** 3 * before
        + (3 * part**3 - 6 * part**2 + 4) * here
        + (-3 * part**3 + 3 * part**2 + 3 * part + 1) * after
        + part**3 * later
    )
    return mixed / 6 / 0.65


def _talk(time: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Gap of the lips in eye distances (T,) and stress 0..1 (T,) of phrases made of syllables."""
    gap, stress = torch.zeros_like(time), torch.zeros_like(time)
    now = 0.9
    while now < float(time[-1]):
        phrase = 1.2 + 2.0 * _draw(generator)
        end = now + phrase
        while now < end:
            length = 0.13 + 0.14 * _draw(generator)  # 4 to 7 syllables a second
            wide = 0.05 + 0.22 * _draw(generator) ** 1.4
            bump = (1 - ((time - now - length / 2) / (0.62 * length)) ** 2).clamp(min=0)
            gap = torch.maximum(gap, wide * _eased(bump))
            if wide > 0.19:
                stress = torch.maximum(stress, (1 - ((time - now) / 0.22) ** 2).clamp(min=0))
            now += length + (0.10 * _draw(generator) if _draw(generator) < 0.2 else 0.0)
        now += 0.35 + 0.8 * _draw(generator)
    return gap, _eased(stress)


def _blinks(time: Tensor, generator: torch.Generator) -> Tensor:
    """Closure (T,) 0 open to 1 shut: a blink every few seconds, faster down than up."""
    shut = torch.zeros_like(time)
    now = 1.3 + 1.5 * _draw(generator)
    while now < float(time[-1]) - 0.3:
        down, up = ((time - now) / 0.09).clamp(0, 1), ((now + 0.30 - time) / 0.17).clamp(0, 1)
        shut = torch.maximum(shut, _eased(torch.minimum(down, up)))
        now += 0.45 if _draw(generator) < 0.12 else 1.8 + 2.6 * _draw(generator)
    return shut


def _saccades(time: Tensor, generator: torch.Generator) -> Tensor:
    """Where the eyes rest (T, 2), s.d. about 1: they jump within two frames and stay."""
    out = torch.zeros(len(time), 2)
    now = 1.0
    while now < float(time[-1]):
        step = _eased(((time - now) / 0.06).clamp(0, 1))[:, None]
        away = (
            torch.randn(2, generator=generator).clamp(-2, 2)
            if _draw(generator) < 0.6
            else torch.zeros(2)
        )
        out = out + (away - out) * step
        now += 0.5 + 1.6 * _draw(generator)
    return out


def _draw(generator: torch.Generator) -> float:
    return float(torch.rand(1, generator=generator))
