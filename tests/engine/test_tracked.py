"""What the tracker measures takes its place in the motion code, in the units that networks were trained in."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lia_live.engine.bounds import Axes
from lia_live.engine.policy import Mode, MotionPolicy, PolicyConfig
from lia_live.engine.tracked import MEASURED, POSE, Tracked
from lia_live.model.directions import Direction
from lia_live.puppet.rig import Rig
from lia_live.puppet.theta import NAMES, THETA, TRACKED
from lia_live.track import expression, find_faces
from lia_live.train.teacher import ALPHA_GAIN, label_directions
from tests.doubles import PlainShape
from tests.track.faces import astronaut, hopper

DIRECTIONS = label_directions(20)
PLACE = {name: index for index, name in enumerate(NAMES)}
CODE = np.linspace(-1, 1, 20)


def tracked(directions: tuple[Direction, ...] = DIRECTIONS) -> Tracked:
    return Tracked(Axes(directions))


def test_training_tells_what_the_tracker_measures_in_the_same_units() -> None:
    assert {NAMES[label] for label in TRACKED} == set(MEASURED)
    for label in TRACKED:
        assert MEASURED[NAMES[label]][0] == THETA[label].scale


@pytest.mark.parametrize("picture", [astronaut, hopper])
def test_a_photograph_measured_live_has_the_labels_it_would_train_with(picture) -> None:
    photograph = picture()
    points = find_faces(photograph)[0].landmarks
    side = max(photograph.shape[:2])
    own = Rig(torch.from_numpy(points)[None], side).own[0] * ALPHA_GAIN
    found = tracked()(CODE, expression(points))
    near = {"mouth open": 0.2, "blink left": 1.2, "blink right": 1.2, "gaze x": 0.4, "gaze y": 0.8}
    near |= {"smile": 1.5, "pucker": 0.1}
    for name, within in near.items():
        assert found[PLACE[name]] == pytest.approx(float(own[PLACE[name]]), abs=within), name
    posed = [PLACE[name] for name in POSE]
    others = [index for index in range(20) if index not in (*TRACKED, *posed)]
    np.testing.assert_array_equal(found[others], CODE[others])


@pytest.mark.parametrize(("label", "least", "most"), [("yaw", 1.3, 1.6), ("pitch", 0.8, 1.2)])
def test_turns_and_nods_are_the_mean_of_two_readings(label: str, least: float, most: float) -> None:
    """Of a head that turns by one unit of the label, the tracker's half: signs and units are the rig's."""
    photograph = hopper()
    side = max(photograph.shape[:2])
    rig = Rig(torch.from_numpy(find_faces(photograph)[0].landmarks)[None], side)
    place = PLACE[label]
    found = []
    for way in (-1.0, 1.0):
        theta = rig.own.clone()
        theta[:, place] += way
        points = (rig.pose(torch.tensor([0]), theta)[0, :478] * side).numpy()
        found.append(tracked()(np.zeros(20), expression(points))[place])
        encoded = tracked()(np.full(20, 2.0), expression(points))[place]
        assert encoded == pytest.approx(found[-1] + 1), "the encoder's half"
    assert least < (found[1] - found[0]) / ALPHA_GAIN < most
    assert POSE[label][0] == THETA[place].scale


def test_who_comes_next_has_not_looked_anywhere() -> None:
    follow = tracked()
    follow(CODE, PlainShape(gaze_x=0.03))
    follow.forget()
    shut = PlainShape(eye_open_left=0.1, eye_open_right=0.1)
    assert follow(CODE, shut)[PLACE["gaze x"]] == CODE[PLACE["gaze x"]]


@pytest.mark.parametrize("mode", ["relative", "absolute"])
def test_lips_that_nobody_measures_are_as_encoded(mode: Mode) -> None:
    config = PolicyConfig(mode=mode, smooth=0.0, return_s=0.0, breathing=0.0, neutral_window_s=0.3)
    for avatar, shape in (
        (PlainShape(), None),
        (None, PlainShape()) if mode == "absolute" else (None, None),
    ):
        moved = MotionPolicy(config, DIRECTIONS, np.zeros(20), avatar)
        for frame in range(120):
            moved.step(np.zeros(20), shape, frame / 30)
        alpha = np.zeros(20)
        alpha[[PLACE["smile"], PLACE["pucker"]]] = -1.0, 1.5
        out = moved.step(alpha, shape, 4.0)
        assert out[PLACE["smile"]] == pytest.approx(-1.0, abs=1e-3)
        assert out[PLACE["pucker"]] == pytest.approx(1.5, abs=1e-3)
    broken = tracked()(CODE, PlainShape(mouth_width=math.nan))
    for name in ("smile", "pucker"):
        assert broken[PLACE[name]] == CODE[PLACE[name]]


def test_a_neutral_found_in_absolute_mode_serves_relative_mode_too() -> None:
    """Also of an avatar whose shape nobody knows: the neutral is the driver's, as measured."""
    config = PolicyConfig(smooth=0.0, return_s=0.0, breathing=0.0, neutral_window_s=0.3)
    shape = PlainShape(mouth_width=0.7, brow_raise=0.36, gaze_x=0.02, yaw=6.0)
    moved = MotionPolicy(replace(config, mode="absolute"), DIRECTIONS, np.zeros(20))
    for frame in range(120):
        moved.step(np.full(20, 0.3), shape, frame / 30)
    moved.update(config)
    for frame in range(120, 360):  # the way from one mode to the other
        out = moved.step(np.full(20, 0.3), shape, frame / 30)
    np.testing.assert_allclose(out, 0, atol=1e-3)


def test_left_and_right_of_the_picture() -> None:
    found = tracked()(CODE, PlainShape(eye_open_right=0.1, eye_open_left=0.28))
    assert found[PLACE["blink left"]] == pytest.approx(ALPHA_GAIN / 0.4)  # shut
    assert found[PLACE["blink right"]] == pytest.approx(0, abs=1e-9)  # an ordinary open eye


def test_a_coefficient_that_was_turned_up_goes_further() -> None:
    louder = tuple(Direction(d.name, d.low, d.high, d.neutral, 1.5 * d.scale) for d in DIRECTIONS)
    once, more = (tracked(d)(CODE, PlainShape(mouth_open=0.4)) for d in (DIRECTIONS, louder))
    assert more[PLACE["mouth open"]] == pytest.approx(1.5 * once[PLACE["mouth open"]])


def test_eyes_that_shut_look_where_they_looked() -> None:
    follow = tracked()
    looking = follow(CODE, PlainShape(gaze_x=0.03, gaze_y=-0.018))
    assert looking[PLACE["gaze x"]] == pytest.approx(ALPHA_GAIN)
    assert looking[PLACE["gaze y"]] == pytest.approx(-ALPHA_GAIN)
    shut = PlainShape(eye_open_left=0.1, eye_open_right=0.1, gaze_x=-0.2, gaze_y=0.1)
    blinking = follow(CODE, shut)
    assert blinking[PLACE["gaze x"]] == looking[PLACE["gaze x"]]
    assert follow.still(CODE, shut)[PLACE["gaze x"]] == CODE[PLACE["gaze x"]]
    assert follow.still(CODE, PlainShape())[PLACE["gaze x"]] == 0, "no memory, and none left behind"
    assert follow(CODE, shut)[PLACE["gaze y"]] == looking[PLACE["gaze y"]]


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_without_a_measure_the_encoders_word_stands(broken: float) -> None:
    np.testing.assert_array_equal(tracked()(CODE, None), CODE)
    found = tracked()(CODE, PlainShape(mouth_open=broken))
    assert found[PLACE["mouth open"]] == CODE[PLACE["mouth open"]]
    unlabelled = tracked(Direction.unlabelled(20))
    np.testing.assert_array_equal(unlabelled(CODE, PlainShape(mouth_open=0.7)), CODE)


@pytest.mark.parametrize("mode", ["relative", "absolute"])
def test_the_avatar_follows_the_measured_mouth_and_not_the_encoded_one(mode: Mode) -> None:
    """By as much as the driver's mouth moved (relative), to where it is (absolute)."""
    config = PolicyConfig(mode=mode, smooth=0.0, return_s=0.0, breathing=0.0, neutral_window_s=0.3)
    rest = np.full(20, 0.2)
    avatar = PlainShape(mouth_open=0.05)
    mouth, unit = PLACE["mouth open"], 0.5 / 0.15 * ALPHA_GAIN
    moved = MotionPolicy(config, DIRECTIONS, rest, avatar)
    for frame in range(120):
        moved.step(np.full(20, 0.5), PlainShape(mouth_open=0.03), frame / 30)
    encoded = np.full(20, 0.5)
    encoded[mouth] = -3.0
    out = moved.step(encoded, PlainShape(mouth_open=0.4), 4.0)
    expected = 0.2 + unit * (0.4 - (0.03 if mode == "relative" else 0.05))
    assert out[mouth] == pytest.approx(expected, abs=1e-3)
    blind = MotionPolicy(config, DIRECTIONS, rest, avatar)
    for frame in range(120):
        blind.step(np.full(20, 0.5), None, frame / 30)
    out = blind.step(np.full(20, 0.6), None, 4.0)
    assert out[mouth] == pytest.approx(0.3 if mode == "relative" else 0.6, abs=1e-3)


def test_a_neutral_that_was_learned_before_is_measured_too() -> None:
    config = PolicyConfig(smooth=0.0, return_s=0.0, breathing=0.0)
    moved = MotionPolicy(config, DIRECTIONS, np.zeros(20))
    moved.learn_neutral([(np.full(20, 0.5), PlainShape(mouth_open=0.03))] * 3)
    out = moved.step(np.full(20, 0.5), PlainShape(mouth_open=0.03), 0.0)
    np.testing.assert_allclose(out, 0, atol=1e-6)


def test_brows_and_smile_are_measured_in_gestures() -> None:
    at_rest = PlainShape(mouth_width=0.59, brow_raise=0.303, brow_inner=0.01)
    found = tracked()(CODE, at_rest)
    for name in ("smile", "pucker", "brow raise", "brow inner"):
        assert found[PLACE[name]] == pytest.approx(0, abs=1e-9), name
    moved = PlainShape(mouth_width=0.76, brow_raise=0.381, brow_inner=-0.02)
    found = tracked()(CODE, moved)
    whole = ALPHA_GAIN / 0.5
    assert found[PLACE["smile"]] == pytest.approx(whole)
    assert found[PLACE["brow raise"]] == pytest.approx(whole)
    assert found[PLACE["brow inner"]] == pytest.approx(-whole), "a frown"


def test_a_mouth_that_opens_smiles_no_less() -> None:
    """It becomes narrower by itself."""
    shut, wide = (
        tracked()(CODE, PlainShape(mouth_width=width, mouth_open=gap))[PLACE["smile"]]
        for width, gap in ((0.6, 0.0), (0.58, 0.4))
    )
    assert wide == pytest.approx(shut)
