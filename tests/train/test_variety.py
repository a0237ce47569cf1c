"""Bent portraits: other faces, whose landmarks are where their features went."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lia_live.errors import MediaError
from lia_live.puppet.rig import Rig
from lia_live.train.data import Data
from lia_live.train.portraits import Portraits
from lia_live.train.prepared import Prepared
from lia_live.train.variety import with_variants
from tests.train import runs
from tests.train.faces import SIDE, drawn_portraits

MARKED = (1, 33, 263, 61, 291, 152)
"""Nose, eyes, mouth, chin: far enough from each other to be told apart."""


def dotted(number: int) -> Portraits:
    """A portrait whose picture is one bright spot at a landmark."""
    one = drawn_portraits((0.0,))
    x, y = one.landmarks[0, number, :2]
    line = torch.arange(SIDE) + 0.5
    far = (line - x).square()[None, :] + (line - y).square()[:, None]
    spot = (255 * torch.exp(-far / 18)).to(torch.uint8)
    return replace(one, images=spot.expand(1, 3, SIDE, SIDE).contiguous())


def centre(picture: Tensor) -> Tensor:
    light = picture[0].float()
    line = torch.arange(SIDE) + 0.5
    across, down = (light * line).sum() / light.sum(), (light * line[:, None]).sum() / light.sum()
    return torch.stack([across, down])


@pytest.mark.parametrize("number", MARKED)
def test_landmarks_go_where_the_picture_went(number: int) -> None:
    bent = with_variants(dotted(number), 5, seed=2)
    moved = []
    for picture, landmarks in zip(bent.images, bent.landmarks, strict=True):
        assert (centre(picture) - landmarks[number, :2]).norm() < 0.7
        moved.append((landmarks - bent.landmarks[0])[number, :2].norm())
    assert max(moved[1:]) > 2, "somebody else's face"


def test_the_first_are_the_portraits_themselves_and_all_fit_together() -> None:
    portraits = drawn_portraits()
    bent = with_variants(portraits, 3)
    bent.check()
    assert bent.names == portraits.names * 3
    assert torch.equal(bent.images[:3], portraits.images)
    assert torch.equal(bent.landmarks[:3], portraits.landmarks)
    assert not torch.equal(bent.images[3:6], portraits.images)
    assert not torch.equal(bent.images[3:6], bent.images[6:])
    assert torch.equal(with_variants(portraits, 3).images, bent.images), "a seed decides"
    alone = with_variants(portraits, 1)
    assert torch.equal(alone.images, portraits.images)


def test_a_bent_face_is_hardly_turned() -> None:
    """Or the labels of yaw would be wrong by as much."""
    portraits = drawn_portraits((0.0,) * 8)
    yaws = Rig(with_variants(portraits, 6).landmarks, SIDE).own[:, 0] * 13
    assert yaws[8:].std() < 1.3


def test_the_edge_of_the_picture_stays() -> None:
    portraits = drawn_portraits()
    bent = with_variants(portraits, 2).images[3:].float()
    apart = (bent - portraits.images.float()).abs()
    for edge in (apart[:, :, 0], apart[:, :, -1], apart[..., 0], apart[..., -1]):
        assert edge.mean() < 2
    assert apart[:, :, SIDE // 2].mean() > 4


def test_only_the_groups_that_were_asked_for_are_trained_on() -> None:
    portraits = replace(drawn_portraits(), groups=("P1", "P2", "P1"))
    prepared = Prepared(portraits, runs.performed_clips())
    chosen = Data.of(prepared, groups=("P1",))
    assert chosen.performer is not None and len(chosen.performer) == 2
    assert chosen.clips is None
    both = Data.of(prepared, groups=("P2", ""), variants=4)
    assert both.performer is not None and len(both.performer) == 4
    assert both.clips is not None
    everything = Data.of(prepared)
    assert everything.performer is not None and len(everything.performer) == 3
    assert everything.fingerprint == chosen.fingerprint, "of the data, not of the choice"


def test_groups_that_are_not_there_are_named() -> None:
    with pytest.raises(MediaError, match="belongs to group 'P7'") as refused:
        Data.of(Prepared(drawn_portraits(), None), groups=("P1", "P7"))
    assert "'P1'" in str(refused.value.hint)


def test_groups_that_are_all_held_out_are_told_so() -> None:
    portraits = replace(
        drawn_portraits(),
        groups=("P1", "P2", "P1"),
        held_out=torch.tensor([False, True, False]),
    )
    with pytest.raises(MediaError, match="everything in groups 'P2' is held out"):
        Data.of(Prepared(portraits, None), groups=("P2",))


def test_what_is_held_out_is_measured_whatever_its_group() -> None:
    portraits = replace(
        drawn_portraits(),
        groups=("P1", "P2", "P3"),
        held_out=torch.tensor([False, False, True]),
    )
    chosen = Data.of(Prepared(portraits, None), groups=("P2",))
    assert chosen.held_out is not None
