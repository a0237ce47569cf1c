"""The motion policy, moved by hand: neutral, strength, edits, and what is shown without a face."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lia_live.engine.policy import Mode, MotionPolicy, PolicyConfig
from lia_live.errors import ConfigError
from lia_live.model.directions import Direction
from tests.doubles import PlainShape

STEP = 1 / 30
NAMES = ("roll", "x", "y", "scale", "jaw x", "free 1", "free 2", "free 3")
LABELLED = tuple(Direction(name, -10, 10) for name in NAMES)
UNLABELLED = Direction.unlabelled(len(NAMES))
REST = np.linspace(-1, 1, len(NAMES))
FRONTAL = PlainShape()
RAW = PolicyConfig(smooth=0.0, return_s=0.0, breathing=0.0)


def policy(
    config: PolicyConfig = RAW, directions: tuple[Direction, ...] = LABELLED
) -> MotionPolicy:
    return MotionPolicy(config, directions, REST)


def code(value: float) -> np.ndarray:
    return np.full(len(NAMES), value, np.float32)


def drive(
    moved: MotionPolicy,
    seconds: float,
    start: float = 0.0,
    alpha: Callable[[float], np.ndarray | None] = lambda now: code(0.0),
    shape: Callable[[float], PlainShape | None] = lambda now: FRONTAL,
) -> list[np.ndarray]:
    """Frames at 30 a second from ``start``; what came out."""
    times = start + STEP * np.arange(round(seconds / STEP))
    return [moved.step(alpha(now), shape(now), now) for now in times]


# Before anybody came


def test_before_the_first_face_the_avatar_is_at_rest() -> None:
    for directions in (LABELLED, UNLABELLED):
        moved = policy(PolicyConfig(), directions)
        for out in drive(moved, 5, alpha=lambda now: None):
            np.testing.assert_array_equal(out, REST.astype(np.float32))
        assert moved.settled
        assert not moved.face
        assert not moved.calibrated


# Relative, absolute, strength, edits


def test_relative_motion_is_the_drivers_about_the_avatars_own() -> None:
    moved = policy()
    drive(moved, 2.5, alpha=lambda now: code(3.0))
    assert moved.calibrated
    out = moved.step(code(4.5), FRONTAL, 2.5)
    np.testing.assert_allclose(out, REST + 1.5, atol=1e-5)


def test_the_first_face_leaves_the_avatar_where_it_was() -> None:
    moved = policy(PolicyConfig())
    np.testing.assert_allclose(moved.step(code(7.0), FRONTAL, 0.0), REST, atol=1e-6)


@pytest.mark.parametrize("strength", [0.0, 0.5, 2.0])
def test_strength_multiplies_motion_and_leaves_rest(strength: float) -> None:
    modes: tuple[tuple[Mode, np.ndarray], ...]
    modes = (("relative", np.zeros(8)), ("absolute", REST))
    for mode, origin in modes:
        moved = policy(replace(RAW, mode=mode, strength=strength))
        drive(moved, 2.5)
        out = moved.step(code(1.0), FRONTAL, 2.5)
        np.testing.assert_allclose(out, REST + strength * (1.0 - origin), atol=1e-5)


def test_absolute_takes_the_drivers_code_as_it_is() -> None:
    moved = policy(replace(RAW, mode="absolute"))
    np.testing.assert_allclose(moved.step(code(2.5), FRONTAL, 0.0), 2.5, atol=1e-6)


def test_edits_are_added_to_motion_and_to_rest() -> None:
    edits = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, -1.0)
    moved = policy(replace(RAW, edits=edits))
    np.testing.assert_allclose(moved.step(None, None, 0.0), REST + edits, atol=1e-6)
    np.testing.assert_allclose(moved.step(code(0.0), FRONTAL, STEP), REST + edits, atol=1e-6)


@pytest.mark.parametrize("alpha", [None, code(0.0)])
def test_a_slider_moves_the_face_while_dragged(alpha: np.ndarray | None) -> None:
    moved = policy()
    drive(moved, 2.5, alpha=lambda now: alpha)
    path = []
    for step in range(30):
        moved.update(replace(moved.config, edits=(0.1 * step,) * 8))
        assert not moved.settled
        path.append(moved.step(alpha, FRONTAL, 2.5 + step * STEP)[0])
    steps = np.diff(path)
    assert steps[1:].min() > 0.02
    assert steps.max() < 0.12
    out = drive(moved, 1, start=3.5, alpha=lambda now: alpha)[-1]
    np.testing.assert_allclose(out, REST + 2.9, atol=1e-5)


def test_no_driver_can_leave_the_range_that_was_trained() -> None:
    moved = policy(replace(RAW, mode="absolute", strength=2.0))
    for value in (-1e6, -30.0, 30.0, 1e6):
        assert np.abs(moved.step(code(value), FRONTAL, 0.0)).max() <= 10.0


def test_what_is_not_one_code_counts_as_no_face() -> None:
    moved = policy()
    drive(moved, 2.5)
    held = moved.step(code(1.0), FRONTAL, 2.5)
    wrong = [code(np.nan), code(np.inf), np.zeros(3), np.zeros((1, 8)), np.zeros((8, 8))]
    for index, alpha in enumerate(wrong):
        out = moved.step(alpha, FRONTAL, 2.5 + index * STEP)
        np.testing.assert_array_equal(out, held)
    assert moved.rejected == len(wrong)
    assert not moved.face


# The neutral


def test_the_neutral_is_the_frontal_open_eyed_closed_mouthed_moment() -> None:
    def shape(now: float) -> PlainShape:
        if now < 0.5:
            return PlainShape(yaw=25)
        if now < 0.9:
            return PlainShape(mouth_open=0.6)
        if now < 1.2:
            return PlainShape(eye_open_left=0.08, eye_open_right=0.08)
        return FRONTAL if now < 1.5 else PlainShape(yaw=-20, mouth_width=0.8)

    moved = policy()
    drive(moved, 2.5, alpha=lambda now: code(5.0 if 1.2 <= now < 1.5 else now), shape=shape)
    assert moved.calibrated
    assert moved.neutral_score > 0.7
    drive(moved, 1.0, start=2.5, alpha=lambda now: code(5.0))  # let the better neutral take over
    np.testing.assert_allclose(moved.step(code(5.0), FRONTAL, 3.6), REST, atol=1e-3)


@pytest.mark.parametrize("often, seldom, taken", [(0.46, 0.55, 1.0), (0.74, 0.55, 2.0)])
def test_lips_that_are_narrow_most_of_the_time_are_so_at_rest_but_a_smile_is_none(
    often: float, seldom: float, taken: float
) -> None:
    """Code 1 at the usual width, 2 at the one that is seldom, 3 while the mouth is open."""
    samples = [(code(1.0), PlainShape(mouth_width=often))] * 12
    samples += [(code(2.0), PlainShape(mouth_width=seldom))] * 5
    samples += [(code(3.0), PlainShape(mouth_width=0.5, mouth_open=0.5))] * 9
    moved = policy()
    moved.learn_neutral(samples)
    np.testing.assert_allclose(moved.step(code(taken), FRONTAL, 0.0), REST, atol=1e-6)


def test_of_two_good_moments_the_one_like_the_avatar_is_taken() -> None:
    avatar = PlainShape(yaw=9, mouth_open=0.1)
    moved = MotionPolicy(RAW, LABELLED, REST, avatar)

    def shape(now: float) -> PlainShape:
        return PlainShape(yaw=6, mouth_open=0.05) if 0.5 < now < 1 else PlainShape(yaw=-6)

    drive(moved, 3.5, alpha=lambda now: code(2.0 if 0.5 < now < 1 else 0.0), shape=shape)
    np.testing.assert_allclose(moved.step(code(2.0), FRONTAL, 3.6), REST, atol=0.01)


def test_a_driver_who_looks_away_is_waited_for() -> None:
    moved = policy()
    drive(moved, 4, shape=lambda now: PlainShape(yaw=50))
    assert not moved.calibrated
    assert moved.neutral_score < 0.1
    drive(moved, 0.2, start=4)
    assert moved.calibrated
    assert moved.neutral_score > 0.8


def test_without_landmarks_a_neutral_is_found_too() -> None:
    moved = policy()
    drive(moved, 2.5, alpha=lambda now: code(np.sin(now)), shape=lambda now: None)
    assert moved.calibrated


def test_a_better_neutral_takes_over_without_a_jump() -> None:
    moved = policy()
    outs = drive(
        moved,
        3,
        alpha=lambda now: code(0.0),
        shape=lambda now: PlainShape(yaw=30) if now < 1 else FRONTAL,
    )
    outs += drive(moved, 1, start=3, alpha=lambda now: code(0.0))
    assert np.abs(np.diff(np.stack(outs), axis=0)).max() < 0.3


def test_calibrate_takes_a_new_neutral_within_half_a_second() -> None:
    moved = policy()
    drive(moved, 2.5)
    moved.calibrate()
    assert not moved.calibrated
    drive(moved, 1.6, start=2.5, alpha=lambda now: code(4.0))
    assert moved.calibrated
    np.testing.assert_allclose(moved.step(code(4.0), FRONTAL, 4.2), REST, atol=1e-3)


def test_a_neutral_can_be_learnt_beforehand() -> None:
    moved = policy()
    samples = [(code(2.0), PlainShape(yaw=40)), (code(3.0), FRONTAL), (code(np.nan), FRONTAL)]
    assert moved.learn_neutral(samples) > 0.6
    assert moved.calibrated
    np.testing.assert_allclose(moved.step(code(3.0), FRONTAL, 0.0), REST, atol=1e-6)
    assert policy().learn_neutral([]) == 0.0


# Face lost and found


def lost(config: PolicyConfig) -> tuple[MotionPolicy, float, np.ndarray]:
    """A policy whose driver has just gone; the time, and the last pose."""
    moved = policy(config)
    drive(moved, 2.5)
    last = moved.step(code(2.0), FRONTAL, 2.5)
    assert not np.allclose(last, REST)
    return moved, 2.5, last


def test_lost_it_holds_then_eases_then_rests() -> None:
    moved, gone, last = lost(RAW)
    outs = drive(moved, 3, start=gone + STEP, alpha=lambda now: None)
    share = np.array([np.mean((o - REST) / (last - REST)) for o in outs])
    after = STEP * np.arange(len(outs))
    np.testing.assert_allclose(share[after < 0.49], 1.0, atol=1e-6)
    np.testing.assert_allclose(share[np.abs(after - 1.0) < STEP / 2], 0.5, atol=0.06)
    np.testing.assert_allclose(share[after > 1.52], 0.0, atol=1e-6)
    assert np.all(np.diff(share) <= 1e-6)
    assert np.abs(np.diff(share)).max() < 0.06  # smoothstep: 1.5 / 30 at its steepest
    assert moved.settled


def test_it_breathes_only_where_directions_have_names() -> None:
    config = replace(RAW, breathing=0.06)
    for directions, breathes in ((LABELLED, True), (UNLABELLED, False)):
        moved = policy(config, directions)
        drive(moved, 2.5)
        outs = np.stack(drive(moved, 12, start=2.5, alpha=lambda now: None)) - REST
        calm = outs[60:]
        assert bool(np.abs(calm).max() > 0.02) is breathes
        assert np.abs(calm).max() < 0.1
        assert np.abs(np.diff(outs, axis=0)).max() < 0.01
        assert moved.settled is not breathes


def test_the_way_back_to_the_driver_is_smooth() -> None:
    moved, gone, _ = lost(replace(RAW, return_s=0.4))
    before = drive(moved, 3, start=gone + STEP, alpha=lambda now: None)
    back = drive(moved, 1, start=gone + 3 + STEP, alpha=lambda now: code(-2.0))
    path = np.stack([before[-1], *back])
    assert np.abs(np.diff(path, axis=0)).max() < 0.3  # of a way of 2
    np.testing.assert_allclose(path[-1], REST - 2.0, atol=1e-3)


def test_a_dropout_of_one_frame_is_hardly_seen() -> None:
    moved, gone, last = lost(replace(RAW, return_s=0.4))
    held = moved.step(None, None, gone + STEP)
    np.testing.assert_array_equal(held, last)
    out = drive(moved, 0.2, start=gone + 2 * STEP, alpha=lambda now: code(2.5))
    np.testing.assert_allclose(out[-1], last + 0.5, atol=1e-3)


def test_lost_again_on_the_way_back_it_holds_what_it_shows() -> None:
    moved, gone, _ = lost(replace(RAW, return_s=0.4))
    drive(moved, 3, start=gone + STEP, alpha=lambda now: None)
    shown = drive(moved, 0.2, start=gone + 3, alpha=lambda now: code(-2.0))[-1]
    np.testing.assert_array_equal(moved.step(None, None, gone + 3.2), shown)


# Avatars and settings


def test_another_avatar_keeps_the_drivers_neutral() -> None:
    moved = policy()
    drive(moved, 2.5, alpha=lambda now: code(3.0))
    other = REST[::-1].copy()
    moved.set_rest(other)
    np.testing.assert_allclose(moved.step(code(4.0), FRONTAL, 2.5), other + 1.0, atol=1e-5)
    assert moved.calibrated


def test_another_avatar_while_nobody_is_there() -> None:
    moved, gone, last = lost(RAW)
    other = REST[::-1].copy()
    moved.step(None, None, gone + STEP)
    moved.set_rest(other)
    np.testing.assert_allclose(
        moved.step(None, None, gone + 2 * STEP), other + (last - REST), atol=1e-5
    )
    out = drive(moved, 3, start=gone, alpha=lambda now: None)[-1]
    np.testing.assert_allclose(out, other, atol=1e-5)


def test_settings_change_from_the_next_step_on_and_a_new_mode_glides() -> None:
    moved = policy(replace(RAW, return_s=0.4))
    drive(moved, 2.5, alpha=lambda now: code(3.0))
    before = moved.step(code(3.0), FRONTAL, 2.5)
    moved.update(replace(moved.config, mode="absolute"))
    path = np.stack([before, *drive(moved, 1, start=2.5, alpha=lambda now: code(3.0))])
    assert np.abs(np.diff(path, axis=0)).max() < 0.6  # of a way of up to 4
    np.testing.assert_allclose(path[-1], 3.0, atol=1e-3)


def test_time_never_goes_back() -> None:
    moved, gone, last = lost(RAW)
    moved.step(None, None, gone + 5)
    np.testing.assert_allclose(moved.step(None, None, gone), last, atol=1e-6)  # held from its now


def test_smoothing_calms_a_trembling_driver() -> None:
    noise = np.random.default_rng(0).normal(size=(400, 8)) * 0.1
    spread = []
    for smooth in (0.0, 0.5):
        moved = policy(replace(RAW, smooth=smooth))
        outs = [moved.step(row, FRONTAL, i * STEP) for i, row in enumerate(noise)]
        spread.append(np.stack(outs)[100:].std(axis=0).mean())
    assert spread[1] < 0.6 * spread[0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("strength", 2.1),
        ("strength", -0.1),
        ("strength", float("nan")),
        ("smooth", 1.5),
        ("hold_s", -1.0),
        ("ease_s", 11.0),
        ("breathing", 1.0),
        ("neutral_window_s", 31.0),
        ("mode", "sideways"),
        ("edits", (float("inf"),)),
    ],
)
def test_wrong_settings_are_named(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"engine\.{field}"):
        PolicyConfig(**{field: value})


def test_edits_must_fit_the_directions() -> None:
    with pytest.raises(ConfigError, match=r"engine\.edits must have 8 numbers"):
        policy(PolicyConfig(edits=(1.0,)))
    with pytest.raises(ConfigError, match=r"engine\.edits"):
        policy().update(PolicyConfig(edits=(1.0,) * 9))


def test_a_rest_that_is_not_a_code_is_refused() -> None:
    for rest in (np.zeros(3), np.full(8, np.nan)):
        with pytest.raises(ValueError, match="rest"):
            MotionPolicy(RAW, LABELLED, rest)
