"""Seams: where what was apart in the source meets."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from torch import Tensor

from lia_live.puppet.theta import OPEN
from lia_live.train.correspondence import SEAM, seams
from lia_live.train.light import LightConfig
from lia_live.train.motion import MotionConfig
from lia_live.train.performed import PerformedBatch
from lia_live.train.performer import Performer, PerformerConfig
from tests.train.faces import smiling_portraits


def everywhere() -> Tensor:
    return torch.ones(1, 1, 16, 16, dtype=torch.bool)


@pytest.mark.parametrize("axis", [2, 3])
def test_both_sides_of_a_jump_are_seams(axis: int) -> None:
    displacement = torch.zeros(1, 2, 16, 16)
    displacement.narrow(axis, 8, 8).add_(1.5 * SEAM)
    found = seams(displacement, everywhere())
    assert found.narrow(axis, 7, 2).all()
    assert found.sum() == 32


def test_what_changes_little_by_little_is_none() -> None:
    slope = torch.linspace(0, 12 * SEAM, 16).expand(1, 2, 16, 16)
    assert not seams(slope, everywhere()).any()


def test_places_that_mean_nothing_make_none() -> None:
    displacement, valid = torch.zeros(1, 2, 16, 16), everywhere()
    displacement[..., 8:, :] = 1.0
    valid[..., 8:, :] = False
    assert not seams(displacement, valid).any()


def performed(opened: float) -> PerformedBatch:
    """Of sources that show their teeth; targets' lips ``opened`` or shut."""
    config = PerformerConfig(
        rest_source=1.0,
        any_look=1.0,
        same_pose=0.0,
        mirror=0.0,
        light=LightConfig(0, 0),
        motion=MotionConfig(open_share=opened, small_share=0.0, blink_share=0.0, own_share=0.0),
    )
    performer = Performer(smiling_portraits(), config=config, looks=True)
    generator = torch.Generator().manual_seed(3)
    batch = performer.pairs(torch.tensor([0, 2] * 8), generator, 128, 128)
    shows = batch.theta_source[:, OPEN] * 0.15 > 0.1
    assert shows.sum() > 4
    return PerformedBatch(*(getattr(batch, part.name)[shows] for part in fields(batch)))


def test_lips_that_shut_over_teeth_are_a_closed_mask() -> None:
    batch = performed(0.0)
    assert (batch.theta_target[:, OPEN] * 0.15 < 0.02).all()
    rows = torch.arange(128).view(1, 1, 128, 1)
    assert batch.within.sum() < 8, (
        "nothing is painted, nor moved along with the lips (registration)"
    )
    for valid, judged in zip(batch.valid[:, None], batch.judged[:, None], strict=True):
        line = (valid == 0) & (judged > 0.5)
        below = line & (rows > 64)  # no eye's
        columns = below.any(2).sum()
        assert columns > 11, "from corner to corner, nearly"
        assert below.sum(2)[below.any(2)].median() <= 3, "pixels thick, mostly"


def test_an_open_mouth_shows_its_teeth() -> None:
    batch = performed(1.0)
    wide = batch.theta_target[:, OPEN] * 0.15 > 0.15
    assert wide.any()
    rows = torch.arange(128).view(1, 1, 128, 1).expand_as(batch.valid)
    mouth = (batch.weights > 0.9 * batch.weights.amax((1, 2, 3), keepdim=True)) & (rows > 64)
    assert (batch.valid[mouth] > 0.5).float().mean() > 0.15
