"""Teeth that no portrait shows are lips that the last level shows there, lifted by the level below."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from lia_live.model.synthesis import warp
from lia_live.train.growth import DARK, TEETH
from lia_live.train.lifting import TOOTH, lent, lifted
from lia_live.train.motion import MotionConfig
from lia_live.train.paint import LightConfig
from lia_live.train.pairs import Pairs
from lia_live.train.performer import Performer, PerformerConfig
from tests.train.faces import drawn_portraits

SIZE = 128


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    """Of photographs, whose mouths open; all of a face is as its lips are."""
    config = PerformerConfig(
        rest_source=1.0,
        same_pose=0.0,
        light=LightConfig(0, 0),
        motion=MotionConfig(open_share=1.0, small_share=0.0, aside_share=0.0),
    )
    portraits = drawn_portraits()
    flesh = torch.tensor([[190, 120, 105], [150, 90, 75], [90, 58, 50]]).to(torch.uint8)
    skinned = flesh[:, :, None, None].expand_as(portraits.images).contiguous()
    performer = Performer(dataclasses.replace(portraits, images=skinned), config=config)
    generator = torch.Generator().manual_seed(3)
    return Pairs.of_performance(performer.pairs(torch.arange(6) % 3, generator, SIZE, SIZE))


def raw_of(batch: Pairs) -> Tensor:
    """Of a network whose flow is right."""
    flow = torch.atanh(batch.flow_at(SIZE).clamp(-0.99, 0.99))
    return torch.cat([flow, (batch.valid_at(SIZE) - 0.5) * 12], 1)


def colour(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).view(1, 3, 1, 1)


def shown(batch: Pairs, lift: Tensor | float) -> Tensor:
    """The two levels together, in mouths."""
    dark, way = colour(DARK), colour(TEETH.colour) - colour(DARK)
    lips = warp(batch.source, torch.tanh(raw_of(batch)[:, :2]))
    return dark + lent(batch.teeth) * (lips - dark) + lift * way


def test_full_light_takes_all_of_the_lips_and_none_takes_none() -> None:
    light = torch.linspace(0, 1, 21)
    share = lent(light)
    assert share[0] == 0 and share[-1] == 1
    assert (share.diff() >= 0).all()
    assert share[light < 0.7].diff().min() > 0.05, "gaps between teeth stay darker"


@pytest.mark.parametrize("lift", [0.0, 0.3, 0.8])
def test_the_lift_is_what_the_lips_lack(pairs: Pairs, lift: float) -> None:
    batch = dataclasses.replace(pairs, target=shown(pairs, lift))
    found = lifted(batch, raw_of(batch))
    teeth = pairs.teeth > TOOTH
    assert teeth.sum() > 100
    assert (found[teeth] - lift).abs().max() < 1e-4
    assert (found[pairs.teeth == 0] == 0).all(), "nothing is lifted but teeth"


def test_lips_and_their_lift_make_teeth(pairs: Pairs) -> None:
    teeth = (pairs.teeth > 0.3).expand(-1, 3, -1, -1)

    def error(lift: Tensor | float) -> float:
        return float((shown(pairs, lift) - pairs.target)[teeth].abs().mean()) / 2

    assert error(lifted(pairs, raw_of(pairs))) < 0.06 < 0.15 < error(0.0)


def test_no_lift_has_a_gradient_or_leaves_its_range(pairs: Pairs) -> None:
    bright = dataclasses.replace(pairs, target=torch.ones_like(pairs.target))
    raw = raw_of(pairs).requires_grad_()
    for batch in (bright, dataclasses.replace(pairs, target=-bright.target)):
        found = lifted(batch, raw)
        assert not found.requires_grad
        assert found.min() >= 0
        assert found.max() <= 1
