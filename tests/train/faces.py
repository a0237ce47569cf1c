"""Prepared portraits without a camera or a face finder: the median face on a made-up picture."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn import functional

from lia_live.puppet.mesh import FACE, LIP_LOWER, PIVOT, median_face
from lia_live.puppet.rig import Rig, rotations
from lia_live.puppet.theta import OPEN, THETA
from lia_live.train.portraits import Portraits

SIDE = 160


def drawn_portraits(yaws_deg: tuple[float, ...] = (0.0, 12.0, -9.0)) -> Portraits:
    """One portrait for each yaw: framed landmarks, and a smooth random texture as its picture."""
    generator = torch.Generator().manual_seed(3)
    face = torch.from_numpy(median_face())
    pivot = torch.from_numpy(PIVOT)
    count = len(yaws_deg)
    turn = rotations(torch.tensor(yaws_deg), torch.zeros(count), torch.zeros(count))
    turned = (face - pivot) @ turn.transpose(1, 2) + pivot  # (N, 478, 3)
    left, right = turned[:, 33], turned[:, 263]
    turned = (turned - ((left + right) / 2)[:, None]) / (right - left).norm(dim=1)[:, None, None]
    landmarks = turned * 0.34 * SIDE + torch.tensor([0.5 * SIDE, 0.47 * SIDE, 0.0])
    coarse = torch.rand(count, 3, 12, 12, generator=generator)
    picture = functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic").clamp(0, 1)
    return Portraits(
        (picture * 255).round().to(torch.uint8),
        landmarks,
        tuple(f"{number}.png" for number in range(count)),
        ("P1",) * count,
        torch.zeros(count, dtype=torch.bool),
    )


def smiling_portraits() -> Portraits:
    """The same with closed lips, but for the second, which shows its teeth."""
    portraits = drawn_portraits()
    landmarks = portraits.landmarks.clone()
    lips = list(LIP_LOWER[1:-1])
    landmarks[:, lips, 1] -= 0.05 * 0.34 * SIDE
    landmarks[1, lips, 1] += 0.12 * 0.34 * SIDE
    return replace(portraits, landmarks=landmarks)


def talking_portraits(gap: float = 0.18) -> Portraits:
    """The same with open mouths, lips so many eye distances apart."""
    portraits = drawn_portraits()
    rig = Rig(portraits.landmarks, SIDE)
    theta = rig.own.clone()
    theta[:, OPEN] = gap / THETA[OPEN].scale
    landmarks = portraits.landmarks.clone()
    landmarks[:, FACE] = rig.pose(torch.arange(len(theta)), theta)[:, FACE] * SIDE
    return replace(portraits, landmarks=landmarks)
