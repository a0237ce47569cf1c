"""Pairs whose mouths open far, and what a network gives that moves them rightly, or nearly."""

from __future__ import annotations

import torch
from torch import Tensor

from lia_live.train.light import LightConfig
from lia_live.train.motion import MotionConfig
from lia_live.train.pairs import Pairs
from lia_live.train.performer import Performer, PerformerConfig
from lia_live.train.portraits import Portraits
from tests.train.faces import smiling_portraits


def wide_open(size: int, portraits: Portraits | None = None) -> Pairs:
    """Six of three photographs, in even light; maps as fine as the pictures."""
    config = PerformerConfig(
        rest_source=1.0,
        same_pose=0.0,
        mirror=0.0,
        light=LightConfig(0, 0),
        motion=MotionConfig(open_share=1.0, small_share=0.0, aside_share=0.0),
    )
    performer = Performer(portraits or smiling_portraits(), config=config)
    generator = torch.Generator().manual_seed(3)
    return Pairs.of_performance(performer.pairs(torch.arange(6) % 3, generator, size, size))


def raw_of(batch: Pairs, size: int, off: Tensor | float = 0.0) -> Tensor:
    """(B, 3, r, r) of a network whose flow errs by ``off`` half pictures, its mask open where that is right."""
    flow = (batch.flow_at(size) + off).clamp(-0.99, 0.99)
    return torch.cat([torch.atanh(flow), (batch.valid_at(size) - 0.5) * 12], 1)
