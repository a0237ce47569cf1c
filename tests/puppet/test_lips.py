"""Lips moved apart and together: teeth or a line between them, everything else as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lia_live.evaluate.landmarks import landmarks_of
from lia_live.frame import Pixels
from lia_live.model import Framing
from lia_live.puppet.lips import (
    CLOSED,
    GAPS,
    OPENED,
    Lips,
    gaps_of,
    looks,
    moved_apart,
    nearest_look,
)
from lia_live.puppet.maps import pixel_middles
from lia_live.puppet.mesh import LIP_LOWER, LIP_UPPER
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
def ways(closed: Pixels) -> tuple[Lips, ...]:
    return moved_apart(closed, seen(closed), Framing())


@pytest.fixture(scope="module")
def shown(ways: tuple[Lips, ...]) -> Pixels:
    return ways[3].picture


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


def test_each_is_as_wide_as_asked(ways: tuple[Lips, ...]) -> None:
    found = [gap(seen(lips.picture)) for lips in ways]
    assert len(found) == len(GAPS)
    assert found == sorted(found)
    assert found[4] == pytest.approx(GAPS[4], abs=0.06)
    assert [lips.by > 0 for lips in ways] == [False, True, True, True, True]


def test_one_of_them_is_the_portrait_itself(closed: Pixels, ways: tuple[Lips, ...]) -> None:
    assert ways[0].picture is closed
    assert ways[0].by == 0
    picture = astronaut()
    own = gap(seen(picture))
    others = moved_apart(picture, seen(picture), Framing())
    (place,) = (number for number, lips in enumerate(others) if lips.picture is picture)
    assert others[place].by == 0
    assert abs(GAPS[place] - own) == pytest.approx(min(abs(one - own) for one in GAPS), abs=0.02)


def test_a_mouth_that_laughs_closes() -> None:
    """Its teeth are gone, and where they were there are lips."""
    picture = astronaut()
    landmarks = seen(picture)
    shut = moved_apart(picture, landmarks, Framing())[0]
    assert gap(landmarks) > CLOSED
    assert gap(seen(shut.picture)) < 0.03
    there = inside(shut.landmarks, shut.picture, 0.3)
    lower = shut.picture[tuple(shut.landmarks[17, 1::-1].round().astype(int))].astype(float)
    teeth = inside(landmarks, picture, 0.3)
    assert np.abs(there.mean(0) - lower).mean() < 0.6 * np.abs(teeth.mean(0) - lower).mean()


def test_wide_mouths_show_a_tongue_where_others_are_dark(ways: tuple[Lips, ...]) -> None:
    tongue = inside(ways[4].landmarks, ways[4].picture, 0.6).mean(0)
    dark = inside(ways[3].landmarks, ways[3].picture, 0.6).mean(0)
    assert tongue[0] > dark[0] + 25
    assert tongue[0] > 1.4 * tongue[2], "red"


def test_the_picture_handed_in_is_not_written_to(closed: Pixels) -> None:
    before = closed.copy()
    moved_apart(closed, seen(closed), Framing())
    assert np.array_equal(before, closed)


def test_landmarks_are_told_where_they_are_then(
    closed: Pixels, ways: tuple[Lips, ...], shown: Pixels
) -> None:
    moved = ways[3].landmarks
    lips = [*LIP_UPPER, *LIP_LOWER]
    assert np.abs(moved - seen(closed))[lips, 1].max() > 5
    assert np.abs(moved - seen(shown))[lips, :2].mean() < 2.5


def test_a_picture_is_read_whatever_its_strides(closed: Pixels, shown: Pixels) -> None:
    stored = np.ascontiguousarray(closed[:, ::-1])
    stored.setflags(write=False)
    again = moved_apart(stored[:, ::-1], seen(closed), Framing())[3].picture
    assert np.array_equal(again, shown)


def test_its_own_gap_stands_in_place_of_the_nearest() -> None:
    gaps = gaps_of(torch.tensor([0.004, 0.1, 0.5]))
    assert gaps[0].tolist() == pytest.approx([0.004, *GAPS[1:]])
    assert gaps[1].tolist() == pytest.approx([*GAPS[:2], 0.1, *GAPS[3:]])
    assert gaps[2].tolist() == pytest.approx([*GAPS[:4], 0.5])


def test_what_is_to_be_shown_comes_from_the_wider_one() -> None:
    gaps = torch.tensor([GAPS]).repeat(5, 1)
    asked = torch.tensor([-0.1, 0.005, 0.03, 0.2, 0.24])
    assert nearest_look(gaps, asked).tolist() == [0, 0, 1, 3, 4]


@pytest.fixture
def puppets() -> Puppets:
    """The second shows its teeth."""
    portraits = smiling_portraits()
    return Puppets(portraits.images, Rig(portraits.landmarks, portraits.side))


@pytest.fixture
def made() -> Puppets:
    portraits = smiling_portraits()
    return looks(portraits.images, portraits.landmarks)


def test_puppets_have_a_look_for_each_way(puppets: Puppets, made: Puppets) -> None:
    assert len(made) == 6 * len(puppets) == 18
    assert torch.equal(made.gap[:3], puppets.gap)
    expected = gaps_of(puppets.rig.gap).T
    assert torch.allclose(made.gap.view(6, 3)[1:], expected.clamp(min=0.004))
    others = torch.arange(16) != OPEN
    assert torch.equal(made.shown[3:, others], puppets.shown[:, others].repeat(5, 1))


def test_the_portrait_itself_is_one_of_them(made: Puppets) -> None:
    for who in range(3):
        same = [
            look for look in range(1, 6) if torch.equal(made.shown[who + 3 * look], made.shown[who])
        ]
        assert len(same) == 1
        pictures = made._levels[0]
        assert torch.equal(pictures[who + 3 * same[0]], pictures[who])


@pytest.mark.parametrize("who", [0, 1, 2])
def test_what_it_shows_is_where_it_says(made: Puppets, who: int) -> None:
    """Posed as in its picture, it is its picture, the inside of its mouth too."""
    look = torch.tensor([who + 3 * 4])  # all of the upper teeth
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
    scene = made.scene(index + 12, rest, 160)
    back, _ = made.paint(scene, 160)
    away, _ = made.paint(made.scene(index + 12, made.shown[index + 12], 160), 160)
    lower = scene.mouths.place[:, 1:].expand_as(back) > 0.55
    assert (back - there).abs()[lower].mean() < 0.25 * (away - there).abs()[lower].mean()


def test_lips_that_cross_open_like_others() -> None:
    """Landmarks of a mouth pressed shut: the lower lip's edge lies above the upper one's."""
    portraits = smiling_portraits()
    pressed = portraits.landmarks.clone()
    pressed[0, list(LIP_LOWER[1:-1]), 1] = pressed[0, list(LIP_UPPER[1:-1]), 1] - 0.06 * 0.34 * SIDE
    made = looks(portraits.images[:1], pressed[:1])
    mouths = made.scene(torch.tensor([4]), made.shown[4:5], 256).mouths
    middle = (mouths.inside > 0.9) & (mouths.across.abs() < 0.2)
    down = mouths.down[0, 0][middle[0, 0]]
    rows = middle[0, 0].nonzero()[:, 0].float()
    assert len(rows) > 60
    assert torch.corrcoef(torch.stack([rows, down]))[0, 1] > 0.95, "down is downwards"
