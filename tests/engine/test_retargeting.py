"""The driver's expression on avatars that smile, or whose lids go another way."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lia_live.engine.bounds import Axes
from lia_live.engine.policy import Mode, MotionPolicy, PolicyConfig
from lia_live.engine.retargeting import FULL_SMILE, LIPS_MEET, Retargeting
from lia_live.engine.tracked import MEASURED, Tracked, smile_of
from lia_live.model.directions import Direction
from lia_live.model.labels import LIDS
from lia_live.train.motion import NAMES
from lia_live.train.teacher import ALPHA_GAIN, label_directions
from tests.doubles import PlainShape

DIRECTIONS = label_directions(20)
AXES = Axes(DIRECTIONS)
PLACE = {name: index for index, name in enumerate(NAMES)}
UNIT = {name: AXES.scale[PLACE[name]] / MEASURED[name][0] for name in MEASURED}
AT_REST = np.zeros(20)
TICK = 1 / 30
SMILING = PlainShape(mouth_open=0.34, mouth_width=0.73)
"""Lips 0.17 apart, and most of a whole smile."""


def motion(**measures: float) -> np.ndarray:
    """By names of directions, an underscore for a blank, in the terms of ``MEASURED``."""
    out = np.zeros(20)
    for name, value in measures.items():
        out[PLACE[name.replace("_", " ")]] = value * UNIT[name.replace("_", " ")]
    return out


def shown(avatar: PlainShape | None, moves: list[np.ndarray]) -> list[tuple[float, float]]:
    """Gap (eye distances) and smile (gestures) of an avatar, its own included, moment after moment."""
    retargeting = Retargeting(AXES)
    gap = 0.0 if avatar is None else max(0.5 * avatar.mouth_open - LIPS_MEET, 0)
    smile = 0.0 if avatar is None else smile_of(avatar)
    found = []
    for move in moves:
        out = retargeting.about(move, AT_REST, avatar, TICK)
        found.append(
            (
                gap + out[PLACE["mouth open"]] / UNIT["mouth open"],
                smile + out[PLACE["smile"]] / UNIT["smile"],
            )
        )
    return found


def test_at_rest_a_portrait_stays_as_it_is() -> None:
    retargeting = Retargeting(AXES)
    for _ in range(100):
        np.testing.assert_array_equal(retargeting.about(AT_REST, AT_REST, SMILING, TICK), AT_REST)
    trembling = motion(mouth_open=0.006, smile=-0.03)
    out = retargeting.about(trembling, AT_REST, SMILING, TICK)
    assert np.abs(out).max() <= np.abs(trembling).max(), "what a tracker trembles by is no speech"


def test_a_smile_gives_way_to_speech() -> None:
    """The lips are soon as far apart as the driver's, and not that far beside their own."""
    own = smile_of(SMILING)
    *_, (gap, smile) = shown(SMILING, [motion(mouth_open=0.12)] * 30)
    assert gap == pytest.approx(0.12, abs=0.005)
    assert 0 < smile < 0.25 * own
    *_, (gap, smile) = shown(SMILING, [motion(mouth_open=0.1, smile=-0.6)] * 30)
    assert gap == pytest.approx(0.1, abs=0.005)
    assert smile < -0.4, "an o is an o"


def test_lips_meet_between_words_and_smile_again_after_them() -> None:
    said = [motion(mouth_open=0.12)] * 30
    word = shown(SMILING, said + [AT_REST] * 3)
    assert word[-1][0] < 0.03, "a tenth of a second"
    (gap, smile) = shown(SMILING, said + [AT_REST] * 300)[-1]
    assert gap == pytest.approx(0.5 * SMILING.mouth_open - LIPS_MEET, abs=0.002)
    assert smile == pytest.approx(smile_of(SMILING), abs=0.01)


def test_it_goes_and_comes_without_a_jump() -> None:
    moves = [
        motion(mouth_open=g) for g in np.concatenate([np.linspace(0, 0.2, 12), np.full(20, 0.2)])
    ]
    moves += moves[::-1] + [AT_REST] * 60
    steps = np.abs(np.diff(shown(SMILING, moves), axis=0))
    assert steps[:, 0].max() < 0.04, "eye distances a frame"
    assert steps[:, 1].max() < 0.2, "of a smile a frame"


def test_a_drivers_smile_on_one_that_smiles_is_no_grin() -> None:
    ways = [shown(SMILING, [motion(smile=by)])[0][1] for by in np.linspace(0, 1.2, 20)]
    assert (np.diff(ways) > 0).all(), "the more the more"
    assert ways[-1] < FULL_SMILE
    serious = PlainShape(mouth_width=0.59)
    assert shown(serious, [motion(smile=0.7)])[0][1] == pytest.approx(0.7), (
        "on one that does not, as it is"
    )


@pytest.mark.parametrize("own", [0.0, 0.06, math.nan])
def test_closed_lips_move_as_they_are_told(own: float) -> None:
    avatar = PlainShape(mouth_open=own, mouth_width=0.59)
    told = motion(mouth_open=0.2, smile=-0.3, brow_raise=0.5)
    retargeting = Retargeting(AXES)
    for _ in range(30):
        out = retargeting.about(told, AT_REST, avatar, TICK)
    np.testing.assert_allclose(out, told, atol=0.1)
    np.testing.assert_allclose(retargeting.about(told, AT_REST, None, TICK), told)


@pytest.mark.parametrize("before", [0, 30])
def test_the_further_the_driver_opens_the_further_it_opens(before: int) -> None:
    """While its smile has not given way, where gaps would add up to a yawn, and when it has."""
    said = [motion(mouth_open=0.3)] * before

    def gap(by: float) -> float:
        retargeting = Retargeting(AXES)
        for move in said:
            retargeting.about(move, AT_REST, SMILING, TICK)
        out = retargeting.about(motion(mouth_open=by), AT_REST, SMILING, 0.0)
        return float(out[PLACE["mouth open"]] / UNIT["mouth open"])

    gaps = [gap(by) for by in np.linspace(0.0, 0.5, 30)]
    assert (np.diff(gaps) > 0).all()
    assert gaps[-1] - gaps[0] < (0.35 if before == 0 else 0.51)


@pytest.mark.parametrize("drivers", [0.2, 0.28, 0.4])
@pytest.mark.parametrize("avatars", [0.18, 0.28, 0.36])
def test_lids_go_the_share_of_their_way(drivers: float, avatars: float) -> None:
    """A driver whose eyes are narrow, or wide, shuts the avatar's wholly, and half by half."""
    tracked, retargeting = Tracked(AXES), Retargeting(AXES)

    def code(opening: float) -> np.ndarray:
        return tracked.still(
            np.zeros(20), PlainShape(eye_open_left=opening, eye_open_right=opening)
        )

    neutral = code(drivers)
    avatar = PlainShape(eye_open_left=avatars, eye_open_right=avatars)
    for share in (0.5, 1.0):
        opening = drivers + share * (LIDS[0] - drivers)
        out = retargeting.about(code(opening) - neutral, neutral, avatar, TICK)
        for eye in ("blink left", "blink right"):
            # a rig's lids are shut by what their opening is of an ordinary one's
            assert out[PLACE[eye]] / UNIT[eye] == pytest.approx(share * avatars / LIDS[1])


def test_each_eye_goes_its_own_way() -> None:
    """Left and right of a direction are the picture's, of a shape the person's own."""
    avatar = PlainShape(eye_open_left=0.14, eye_open_right=0.28)
    out = Retargeting(AXES).about(motion(blink_left=1.0, blink_right=1.0), AT_REST, avatar, TICK)
    assert out[PLACE["blink left"]] == pytest.approx(UNIT["blink left"])
    assert out[PLACE["blink right"]] == pytest.approx(0.5 * UNIT["blink right"])


def test_eyes_that_are_all_but_shut_at_rest_do_not_flutter() -> None:
    neutral = motion(blink_left=0.95, blink_right=0.95)
    told = motion(blink_left=0.05)
    out = Retargeting(AXES).about(told, neutral, PlainShape(eye_open_right=0.28), TICK)
    assert out[PLACE["blink left"]] == pytest.approx(2 * told[PLACE["blink left"]])


def test_who_comes_next_has_said_nothing() -> None:
    retargeting = Retargeting(AXES)
    for _ in range(30):
        retargeting.about(motion(mouth_open=0.2), AT_REST, SMILING, TICK)
    retargeting.forget()
    np.testing.assert_array_equal(retargeting.about(AT_REST, AT_REST, SMILING, TICK), AT_REST)


def test_without_labels_every_motion_stays_and_none_changes_in_place() -> None:
    told = np.linspace(-1, 1, 20)
    unlabelled = Retargeting(Axes(Direction.unlabelled(20)))
    np.testing.assert_array_equal(unlabelled.about(told, AT_REST, SMILING, TICK), told)
    np.testing.assert_array_equal(unlabelled.narrowed(told, None), told)
    kept = told.copy()
    Retargeting(AXES).about(told, AT_REST, SMILING, TICK)
    np.testing.assert_array_equal(told, kept)


def test_a_mouth_that_narrows_gives_up_its_smile_and_then_puckers() -> None:
    smile, pucker = PLACE["smile"], PLACE["pucker"]

    def shown(by: float, width: float | None) -> tuple[float, float]:
        motion = np.full(20, 0.3)
        motion[[smile, pucker]] = by, 0.0
        avatar = None if width is None else PlainShape(mouth_width=width)
        out = Retargeting(AXES).narrowed(motion, avatar)
        assert (np.delete(out, [smile, pucker]) == 0.3).all()
        assert motion[smile] == by, "not in place"
        return float(out[smile]), float(out[pucker])

    assert shown(2.0, 0.59) == (2.0, 0.0), "a smile is a smile"
    assert shown(-2.0, 0.76) == (-2.0, 0.0), "one that smiles stops smiling"
    serious, puckered = shown(-2.0, 0.59)
    assert serious == pytest.approx(-0.1 * ALPHA_GAIN / 0.5), "its corners are hardly drawn down"
    assert puckered == pytest.approx(0.4 * 0.17 / 0.2 * ALPHA_GAIN / 0.4)
    assert shown(-2.0, None) == shown(-2.0, math.nan) == (serious, puckered)
    for width in (0.5, 0.59, 0.8):  # without a jump
        ways = np.array([shown(by, width) for by in np.linspace(-6, 2, 200)])
        assert np.abs(np.diff(ways, axis=0)).max() < 0.06


@pytest.mark.parametrize("mode", ["relative", "absolute"])
def test_an_o_puckers_the_avatar_in_both_modes(mode: Mode) -> None:
    config = PolicyConfig(mode=mode, smooth=0.0, return_s=0.0, breathing=0.0, neutral_window_s=0.3)
    moved = MotionPolicy(config, DIRECTIONS, np.zeros(20), PlainShape(mouth_width=0.59))
    for frame in range(120):
        moved.step(np.zeros(20), PlainShape(mouth_width=0.59), frame / 30)
    out = moved.step(np.zeros(20), PlainShape(mouth_width=0.45), 4.0)
    assert out[PLACE["pucker"]] > 2
    assert out[PLACE["smile"]] > -0.5


def test_a_smiling_avatar_says_what_the_driver_says() -> None:
    """Through the whole policy: closed while the driver rests between two words, its own again a while later."""
    config = PolicyConfig(smooth=0.0, return_s=0.0, breathing=0.0, neutral_window_s=0.3)
    rest = motion(mouth_open=0.5 * SMILING.mouth_open, smile=smile_of(SMILING))
    moved = MotionPolicy(config, DIRECTIONS, rest, SMILING)
    calm, talking = PlainShape(mouth_width=0.59), PlainShape(mouth_open=0.3, mouth_width=0.57)

    def gap(shape: PlainShape, frames: range) -> float:
        for frame in frames:
            out = moved.step(AT_REST, shape, frame * TICK)
        return float(out[PLACE["mouth open"]] / UNIT["mouth open"]) - LIPS_MEET

    own = 0.5 * SMILING.mouth_open - LIPS_MEET
    assert gap(calm, range(120)) == pytest.approx(own, abs=0.002)
    assert gap(talking, range(120, 150)) == pytest.approx(0.15, abs=0.01)
    assert gap(calm, range(150, 151)) < 0.2 * own
    assert gap(calm, range(151, 500)) == pytest.approx(own, abs=0.002)
