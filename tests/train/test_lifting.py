"""Teeth that no portrait shows are lips that the last level shows there, lifted by the level below."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from lia_live.model.synthesis import warp
from lia_live.train.growth import DARK, TEETH
from lia_live.train.lifting import TOOTH, lent, lifted
from lia_live.train.pairs import Pairs
from tests.train.faces import smiling_portraits
from tests.train.mouths import raw_of, wide_open

SIZE = 128


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    """Of photographs, whose mouths open; all of a face is as its lips are."""
    portraits = smiling_portraits()
    flesh = torch.tensor([[190, 120, 105], [150, 90, 75], [90, 58, 50]]).to(torch.uint8)
    skinned = flesh[:, :, None, None].expand_as(portraits.images).contiguous()
    return wide_open(SIZE, dataclasses.replace(portraits, images=skinned))


def colour(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).view(1, 3, 1, 1)


def shown(batch: Pairs, lift: Tensor | float) -> Tensor:
    """The two levels together, in mouths."""
    dark, way = colour(DARK), colour(TEETH.way)
    lips = warp(batch.source, torch.tanh(raw_of(batch, SIZE)[:, :2]))
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
    found = lifted(batch, raw_of(batch, SIZE))
    teeth = pairs.teeth > TOOTH
    assert teeth.sum() > 60
    assert (found[teeth] - lift).abs().max() < 1e-4
    assert (found[pairs.teeth == 0] == 0).all(), "nothing is lifted but teeth"


def test_lips_and_their_lift_make_teeth(pairs: Pairs) -> None:
    teeth = (pairs.teeth > 0.3).expand(-1, 3, -1, -1)

    def error(lift: Tensor | float) -> float:
        return float((shown(pairs, lift) - pairs.target)[teeth].abs().mean()) / 2

    assert error(lifted(pairs, raw_of(pairs, SIZE))) < 0.06 < 0.15 < error(0.0)


def test_no_lift_has_a_gradient_or_leaves_its_range(pairs: Pairs) -> None:
    bright = dataclasses.replace(pairs, target=torch.ones_like(pairs.target))
    raw = raw_of(pairs, SIZE).requires_grad_()
    for batch in (bright, dataclasses.replace(pairs, target=-bright.target)):
        found = lifted(batch, raw)
        assert not found.requires_grad
        assert found.min() >= 0
        assert found.max() <= 1
