"""Closed mouths opened: lips apart, teeth between them, everything else as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lia_live.evaluate.landmarks import landmarks_of
from lia_live.frame import Pixels
from lia_live.model import Framing
from lia_live.puppet.maps import pixel_middles
from lia_live.puppet.mesh import LIP_LOWER, LIP_UPPER
from lia_live.puppet.opening import CLOSED, OPENED, open_mouth, opened
from lia_live.puppet.puppets import Puppets
from lia_live.puppet.rig import Rig
from lia_live.puppet.theta import OPEN
from tests.evaluate.crops import astronaut, hopper
from tests.train.faces import SIDE, smiling_portraits


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
    return open_mouth(closed, seen(closed), Framing()).picture


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
    left = open_mouth(picture, seen(picture), Framing())
    assert left.picture is picture
    assert left.by == 0


def test_the_picture_handed_in_is_not_written_to(closed: Pixels) -> None:
    before = closed.copy()
    open_mouth(closed, seen(closed), Framing())
    assert np.array_equal(before, closed)


def test_landmarks_are_told_where_they_are_then(closed: Pixels, shown: Pixels) -> None:
    moved = open_mouth(closed, seen(closed), Framing()).landmarks
    lips = [*LIP_UPPER, *LIP_LOWER]
    assert np.abs(moved - seen(closed))[lips, 1].max() > 5
    assert np.abs(moved - seen(shown))[lips, :2].mean() < 2.5


def test_a_picture_is_read_whatever_its_strides(closed: Pixels, shown: Pixels) -> None:
    stored = np.ascontiguousarray(closed[:, ::-1])
    stored.setflags(write=False)
    again = open_mouth(stored[:, ::-1], seen(closed), Framing()).picture
    assert np.array_equal(again, shown)


@pytest.fixture
def puppets() -> Puppets:
    """The second shows its teeth."""
    portraits = smiling_portraits()
    return Puppets(portraits.images, Rig(portraits.landmarks, portraits.side))


@pytest.fixture
def made() -> Puppets:
    portraits = smiling_portraits()
    return opened(portraits.images, portraits.landmarks)


def test_puppets_have_a_second_look_with_an_open_mouth(puppets: Puppets, made: Puppets) -> None:
    assert len(made) == 2 * len(puppets) == 6
    assert torch.equal(made.gap[:3], puppets.gap)
    assert made.gap[3:].tolist() == pytest.approx([OPENED, float(puppets.gap[1]), OPENED])
    others = torch.arange(16) != OPEN
    assert torch.equal(made.shown[3:, others], puppets.shown[:, others])


def test_where_no_mouth_is_closed_nothing_is_opened() -> None:
    portraits = smiling_portraits().select(torch.tensor([1]))
    made = opened(portraits.images, portraits.landmarks)
    assert torch.equal(made.shown[0], made.shown[1])


@pytest.mark.parametrize("who", [0, 1, 2])
def test_what_it_shows_is_where_it_says(made: Puppets, who: int) -> None:
    """Posed as in its picture, it is its picture, the inside of its mouth too."""
    look = torch.tensor([who + 3])
    scene = made.scene(look, made.shown[look], 160)
    mouth = (scene.mouths.inside > 0.99) & (scene.mouths.painted < 0.01)
    assert mouth.sum() > 50
    away = (scene.mouths.place - pixel_middles(160)) * 160
    assert away.abs()[mouth.expand_as(away)].mean() < 0.5, "pixels"


def test_who_has_opened_a_mouth_can_close_it_again(puppets: Puppets, made: Puppets) -> None:
    """What training asks for: the portrait as it was, made of the one with its lips apart."""
    index = torch.tensor([0, 2])
    rest = puppets.rig.own[index]
    there, _ = puppets.paint(puppets.scene(index, rest, 160), 160)
    scene = made.scene(index + 3, rest, 160)
    back, _ = made.paint(scene, 160)
    away, _ = made.paint(made.scene(index + 3, made.shown[index + 3], 160), 160)
    lower = scene.mouths.place[:, 1:].expand_as(back) > 0.55
    assert (back - there).abs()[lower].mean() < 0.25 * (away - there).abs()[lower].mean()


def test_lips_that_cross_open_like_others() -> None:
    """Landmarks of a mouth pressed shut: the lower lip's edge lies above the upper one's."""
    portraits = smiling_portraits()
    pressed = portraits.landmarks.clone()
    pressed[0, list(LIP_LOWER[1:-1]), 1] = pressed[0, list(LIP_UPPER[1:-1]), 1] - 0.06 * 0.34 * SIDE
    looks = opened(portraits.images[:1], pressed[:1])
    theta = looks.shown[1:]
    mouths = looks.scene(torch.tensor([1]), theta, 256).mouths
    middle = (mouths.inside > 0.9) & (mouths.across.abs() < 0.2)
    down = mouths.down[0, 0][middle[0, 0]]
    rows = middle[0, 0].nonzero()[:, 0].float()
    assert len(rows) > 60
    assert torch.corrcoef(torch.stack([rows, down]))[0, 1] > 0.95, "down is downwards"
