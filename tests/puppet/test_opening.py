"""Closed mouths opened: lips apart, teeth between them, everything else as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lia_live.evaluate.landmarks import landmarks_of
from lia_live.frame import Pixels
from lia_live.model import Framing
from lia_live.puppet.mesh import LIP_LOWER, LIP_UPPER
from lia_live.puppet.opening import CLOSED, OPENED, open_mouth, opened
from lia_live.puppet.puppets import Puppets
from lia_live.puppet.rig import Rig
from lia_live.puppet.theta import OPEN
from tests.evaluate.crops import astronaut, hopper
from tests.train.faces import smiling_portraits


def gap(landmarks: np.ndarray) -> float:
    """Between the lips' middles, eye distances."""
    size = np.linalg.norm(landmarks[263, :2] - landmarks[33, :2])
    return float((landmarks[14, 1] - landmarks[13, 1]) / size)


def seen(picture: Pixels) -> np.ndarray:
    landmarks = landmarks_of(picture)
    assert landmarks is not None
    return landmarks


@pytest.fixture(scope="module")
def closed() -> Pixels:
    assert gap(seen(hopper())) < CLOSED
    return hopper()


@pytest.fixture(scope="module")
def shown(closed: Pixels) -> Pixels:
    return open_mouth(closed, seen(closed), Framing())


def inside(landmarks: np.ndarray, picture: Pixels, upper: float) -> np.ndarray:
    """(M, 3) the upper or lower half of a mouth, its middle third."""
    top = landmarks[list(LIP_UPPER[4:7]), :2].mean(0)
    bottom = landmarks[list(LIP_LOWER[4:7]), :2].mean(0)
    low, high = (top + (bottom - top) * share for share in (upper, upper + 0.35))
    x, rows = round(top[0]), slice(round(low[1]), round(high[1]) + 1)
    return picture[rows, x - 4 : x + 5].reshape(-1, 3).astype(float)


def test_a_face_finder_sees_an_open_mouth(shown: Pixels) -> None:
    assert gap(seen(shown)) == pytest.approx(OPENED, abs=0.04)


def test_it_shows_teeth_above_and_dark_below(shown: Pixels) -> None:
    landmarks = seen(shown)
    teeth, dark = inside(landmarks, shown, 0.1), inside(landmarks, shown, 0.65)
    assert teeth.mean() > dark.mean() + 60
    assert np.ptp(teeth.mean(0)) < 60, "they are no lips"


def test_nothing_else_changes(closed: Pixels, shown: Pixels) -> None:
    changed = (closed != shown).any(2)
    landmarks = seen(closed)
    assert not changed[: round(landmarks[[4, 33], 1].mean())].any(), "eyes and all above"
    assert not changed[:, [0, -1]].any(), "the mesh leaves out a picture's corners"
    assert 0.02 < changed.mean() < 0.3


def test_an_open_mouth_is_left_alone() -> None:
    picture = astronaut()
    assert gap(seen(picture)) > CLOSED
    assert open_mouth(picture, seen(picture), Framing()) is picture


def test_the_picture_handed_in_is_not_written_to(closed: Pixels) -> None:
    before = closed.copy()
    open_mouth(closed, seen(closed), Framing())
    assert np.array_equal(before, closed)


@pytest.fixture
def puppets() -> Puppets:
    """The second shows its teeth."""
    portraits = smiling_portraits()
    return Puppets(portraits.images, Rig(portraits.landmarks, portraits.side))


def test_puppets_open_their_mouths_and_keep_the_rest(puppets: Puppets) -> None:
    made = opened(puppets)
    shut = puppets.gap < CLOSED
    assert shut.tolist() == [True, False, True]
    assert made.gap[shut].tolist() == pytest.approx([OPENED] * 2)
    others = torch.arange(16) != OPEN
    assert torch.equal(made.shown[:, others], puppets.shown[:, others])
    assert torch.equal(made.images[~shut], puppets.images[~shut])
    for who in shut.nonzero().flatten():
        assert (made.images[who] != puppets.images[who]).any()


def test_who_has_opened_a_mouth_can_close_it_again(puppets: Puppets) -> None:
    """What training asks for: the portrait as it was, made of the one with its lips apart."""
    made, index = opened(puppets), torch.tensor([0, 2])
    rest = puppets.rig.own[index]
    there, back = (one.paint(one.scene(index, rest, 160), 160)[0] for one in (puppets, made))
    away = made.images[index] / 127.5 - 1
    assert (back - there).abs().mean() < 0.2 * (away - there).abs().mean()


def test_what_it_shows_is_where_it_says(puppets: Puppets) -> None:
    """Posed as in its picture, it is its picture."""
    made, index = opened(puppets), torch.arange(3)
    again, _ = made.paint(made.scene(index, made.shown, 160), 160)
    assert (again - (made.images / 127.5 - 1)).abs().mean() < 0.01
