"""Mouths are judged between the network's own lips."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from lia_live.train.clip_pairs import ClipPairs
from lia_live.train.registration import registered
from tests.train import runs
from tests.train.mouths import raw_of, wide_open

SIZE = 128
MOVED = ("target", "valid", "judged", "within", "teeth", "tongue", "weights")


def test_a_network_that_is_right_is_judged_by_the_truth() -> None:
    batch = wide_open(SIZE)
    moved = registered(batch, raw_of(batch, SIZE))
    assert batch.within.mean() > 0.005
    assert (moved.target - batch.target).abs().max() < 1e-3
    for name in MOVED[1:]:
        assert torch.allclose(getattr(moved, name), getattr(batch, name), atol=1e-3), name


@pytest.mark.parametrize("across, down", [(2, 0), (0, -3), (-1, 2)])
def test_a_mouth_that_the_network_has_put_elsewhere_is_judged_there(across: int, down: int) -> None:
    batch = wide_open(SIZE)
    off = torch.tensor([across, down]).view(1, 2, 1, 1) * (2 / SIZE)
    moved = registered(batch, raw_of(batch, SIZE, off))
    for name in MOVED:
        before, after = getattr(batch, name), getattr(moved, name)
        there = before.roll((-down, -across), (2, 3))
        inside = (batch.within * batch.within.roll((-down, -across), (2, 3))) > 0.9
        inside = inside.expand_as(before)
        assert inside.sum() > 50
        error, unmoved = ((one - there)[inside].abs().mean() for one in (after, before))
        assert error < 0.02 and error < 0.5 * unmoved + 1e-3, name
        far = torch.nn.functional.max_pool2d(batch.within, 41, 1, 20) == 0
        far = far.expand_as(before)
        assert torch.allclose(after[far], before[far], atol=1e-3), f"{name}: mouths alone"
    for name in ("source", "driver", "displacement", "theta_source", "theta_target", "known"):
        assert getattr(moved, name) is getattr(batch, name), name


def test_an_inside_goes_with_the_lip_that_is_next_to_it() -> None:
    batch = wide_open(SIZE)
    rows = torch.arange(SIZE).view(1, 1, SIZE, 1)
    middle = (batch.within * rows).sum((1, 2, 3)) / batch.within.sum((1, 2, 3))
    lower = (rows > middle.view(-1, 1, 1, 1)).float()
    off = torch.cat([torch.zeros_like(lower), lower * -4 * (2 / SIZE)], 1)  # hangs too low
    moved = registered(batch, raw_of(batch, SIZE, off))
    column = batch.within.sum(2).argmax(2).flatten()  # where each mouth is widest open
    seen = 0
    for index, at in enumerate(column.tolist()):
        before, after = (one.within[index, 0, :, at] > 0.5 for one in (batch, moved))
        if before.sum() < 6:
            continue
        seen += 1
        (first, last), now = (one.nonzero()[[0, -1]].flatten().tolist() for one in (before, after))
        assert abs(now[0] - first) <= 1, "the upper lip is where it was"
        assert now[1] - last == pytest.approx(4, abs=1), "the lower one four pixels down"
    assert seen > 1


@pytest.mark.parametrize("name", ["valid", "within"])
def test_closed_mouths_and_what_nobody_knows_stay_where_they_are(name: str) -> None:
    """No place is known of the one, no mouth open in the other."""
    batch = wide_open(SIZE)
    batch = dataclasses.replace(batch, **{name: torch.zeros_like(batch.valid)})
    moved = registered(batch, raw_of(batch, SIZE, 0.05))
    for part in MOVED:
        assert torch.allclose(getattr(moved, part), getattr(batch, part), atol=1e-3), part


def test_mouths_of_real_clips_are_moved_too() -> None:
    generator = torch.Generator().manual_seed(0)
    batch = ClipPairs(runs.performed_clips()).pairs(torch.tensor([0, 1, 0]), generator, SIZE)
    assert batch.within.sum() > 30
    moved = registered(batch, raw_of(batch, SIZE, torch.tensor([0.0, 4.0 / SIZE]).view(1, 2, 1, 1)))
    rows = torch.arange(SIZE).view(1, 1, SIZE, 1)
    before, after = ((one.within * rows).sum() / one.within.sum() for one in (batch, moved))
    assert float(after - before) == pytest.approx(-2, abs=0.5)


def test_the_move_has_an_end_and_no_gradient() -> None:
    batch = wide_open(SIZE)
    raw = raw_of(batch, SIZE, 0.5).requires_grad_()
    moved = registered(batch, raw)
    assert not any(getattr(moved, name).requires_grad for name in MOVED)
    mouth = batch.within > 0.9
    furthest = round(0.08 * SIZE / 2) + 1
    reach = torch.nn.functional.max_pool2d(batch.valid, 2 * furthest + 1, 1, furthest)
    assert (moved.valid - reach)[mouth].max() < 1e-3
