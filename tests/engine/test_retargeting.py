"""The driver's expression on avatars that smile, or whose lids go another way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from lia_live.engine.bounds import Axes
from lia_live.engine.policy import Mode, MotionPolicy, PolicyConfig
from lia_live.engine.retargeting import LIPS_MEET, Retargeting
from lia_live.engine.tracked import MEASURED, Tracked, smile_of
from lia_live.model.directions import Direction
from lia_live.model.labels import LIDS
from lia_live.puppet.theta import NAMES
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
OWN_GAP, OWN_SMILE = 0.5 * SMILING.mouth_open - LIPS_MEET, smile_of(SMILING)
SERIOUS = PlainShape(mouth_width=0.59)
PLAIN = PolicyConfig(smooth=0.0, return_s=0.0, breathing=0.0, neutral_window_s=0.3)


def motion(**measures: float) -> np.ndarray:
    """By names of directions, an underscore for a blank, in the terms of ``MEASURED``."""
    out = np.zeros(20)
    for name, value in measures.items():
        out[PLACE[name.replace("_", " ")]] = value * UNIT[name.replace("_", " ")]
    return out


def about(
    moves: Sequence[np.ndarray],
    avatar: PlainShape | None = SMILING,
    neutral: np.ndarray = AT_REST,
    strength: float = 1.0,
    tick: float = TICK,
) -> np.ndarray:
    """(T, 2): gap (eye distances) and smile (gestures) of an avatar, its own included, moment after moment."""
    retargeting = Retargeting(AXES)
    own = np.zeros(2)
    if avatar is not None:
        own = np.array([max(0.5 * avatar.mouth_open - LIPS_MEET, 0), smile_of(avatar)])
    found = []
    for move in moves:
        out = retargeting.about(move, strength, neutral, avatar, tick)
        found.append([out[PLACE[name]] / UNIT[name] for name in ("mouth open", "smile")])
    return np.array(found) + own


def test_at_rest_a_portrait_stays_as_it_is() -> None:
    assert about([AT_REST] * 100) == pytest.approx(np.tile([OWN_GAP, OWN_SMILE], (100, 1)))
    trembling = [motion(mouth_open=0.008 * (-1) ** tick, smile=-0.02) for tick in range(60)]
    for strength in (1.0, 2.0):
        gaps, smiles = about(trembling, strength=strength).T
        assert gaps == pytest.approx(OWN_GAP, abs=0.017), "what a tracker trembles by is no speech"
        assert smiles == pytest.approx(OWN_SMILE - 0.02 * strength)


@pytest.mark.parametrize("strength", [1.0, 2.0])
def test_a_smile_gives_way_to_speech(strength: float) -> None:
    """The lips are soon as far apart as the driver's, and not that far beside their own."""
    gap, smile = about([motion(mouth_open=0.12)] * 30, strength=strength)[-1]
    assert gap == pytest.approx(0.12 * strength, abs=0.005)
    assert 0.1 * OWN_SMILE < smile < 0.2 * OWN_SMILE, "a little of it stays"


def test_an_o_is_an_o() -> None:
    """A mouth that gets narrower is busy, too: it need not open."""
    gap, smile = about([motion(mouth_open=0.05, smile=-0.5)] * 30)[-1]
    assert gap == pytest.approx(0.05, abs=0.005)
    assert smile < -0.15


def test_the_first_moment_is_the_driver_s_already() -> None:
    """A clip may begin, and a picture be taken, in the middle of a word."""
    moves = [motion(mouth_open=0.15)] * 30
    first, last = about(moves)[[0, -1]]
    assert first == pytest.approx(last)


@pytest.mark.parametrize("tick", [1 / 60, 1 / 30, 1 / 10])
def test_lips_meet_between_words_and_smile_again_after_them(tick: float) -> None:
    def seconds(move: np.ndarray, count: float) -> list[np.ndarray]:
        return [move] * round(count / tick)

    quiet, said = seconds(AT_REST, 1), seconds(motion(mouth_open=0.12), 0.5)
    word = about(quiet + said, tick=tick)
    assert word[-1][0] == pytest.approx(0.12, abs=0.006), "half a second"
    begun = len(quiet) + max(round(0.1 / tick), 1)
    assert word[begun - 1][0] > 0.14, "a tenth of a second is not enough"
    gap, _ = about(quiet + said + seconds(AT_REST, 0.1), tick=tick)[-1]
    assert gap < 0.2 * OWN_GAP
    calm = about(quiet + said + seconds(AT_REST, 10), tick=tick)[-1]
    assert calm == pytest.approx([OWN_GAP, OWN_SMILE], abs=0.01)


def test_it_goes_and_comes_without_a_jump() -> None:
    opening = np.concatenate([np.zeros(5), np.linspace(0, 0.2, 12), np.full(20, 0.2)])
    moves = [motion(mouth_open=gap) for gap in opening]
    steps = np.abs(np.diff(about([*moves, *moves[::-1], *[AT_REST] * 60]), axis=0))
    assert steps[:, 0].max() < 0.04, "eye distances a frame"
    assert steps[:, 1].max() < 0.25, "of a smile a frame"


def test_a_mouth_that_only_just_begins_to_move_is_hardly_busy() -> None:
    """Flat at both ends: no threshold that shows."""
    ways = np.array([about([motion(mouth_open=gap)])[0, 1] for gap in np.linspace(0, 0.1, 101)])
    assert (np.diff(ways) <= 1e-12).all()
    assert ways[:12] == pytest.approx(OWN_SMILE)
    assert ways[20] > 0.95 * OWN_SMILE
    assert np.abs(np.diff(ways)).max() < 0.03


def test_a_drivers_smile_on_one_that_smiles_is_no_grin() -> None:
    ways = np.array([about([motion(smile=by)])[0, 1] for by in np.linspace(0, 1.2, 20)])
    assert (np.diff(ways) > 0).all(), "the more the more"
    assert ways[-1] < 1.35
    assert about([motion(smile=0.7)], SERIOUS)[0, 1] == pytest.approx(0.7), "as it is"


def test_a_driver_who_smiles_with_teeth_does_not_make_the_avatar_serious() -> None:
    """Lips that part in a smile are no speech."""
    ways = [about([motion(mouth_open=0.06, smile=by)] * 30)[-1, 1] for by in (0.0, 0.2, 0.4, 0.6)]
    assert ways == sorted(ways)
    assert ways[-1] > OWN_SMILE
    gap, _ = about([motion(mouth_open=0.12, smile=0.6)] * 30)[-1]
    assert gap == pytest.approx(0.12, abs=0.005), "and yet as far apart as the driver's"


def test_a_driver_whose_neutral_smiles_is_not_asked_twice() -> None:
    """What both smile is given up by the driver's turning serious, not by talking as well."""
    neutral = Tracked(AXES).still(np.zeros(20), SMILING)
    serious = Tracked(AXES).still(np.zeros(20), SERIOUS) - neutral
    gap, smile = about([serious] * 60, neutral=neutral)[-1]
    assert smile == pytest.approx(0.0, abs=0.02)
    assert gap == pytest.approx(0.5 * SMILING.mouth_open - LIPS_MEET - 0.17, abs=0.01)
    talking = serious + motion(mouth_open=0.1)
    gap, smile = about([talking] * 60, neutral=neutral)[-1]
    assert gap == pytest.approx(OWN_GAP - 0.07, abs=0.01), (
        "0.1 between the lips, of which LIPS_MEET is none"
    )
    assert smile == pytest.approx(0.0, abs=0.02)
    shouting = motion(mouth_open=0.15)
    gap, smile = about([shouting] * 60, neutral=neutral)[-1]
    assert gap == pytest.approx(OWN_GAP + 0.15, abs=0.005), "from where both are"
    assert smile == pytest.approx(OWN_SMILE, abs=0.005)


def test_who_stops_smiling_is_not_busy() -> None:
    neutral = Tracked(AXES).still(np.zeros(20), PlainShape(mouth_width=0.64))
    serious = Tracked(AXES).still(np.zeros(20), SERIOUS) - neutral
    gap, smile = about([serious] * 60, neutral=neutral)[-1]
    assert gap == pytest.approx(OWN_GAP, abs=0.002)
    assert smile == pytest.approx(OWN_SMILE - 0.05 / 0.17, abs=0.002)


@pytest.mark.parametrize("own", [0.0, 0.06, math.nan])
def test_closed_lips_move_as_they_are_told(own: float) -> None:
    avatar = PlainShape(mouth_open=own, mouth_width=math.nan, eye_open_left=math.nan)
    told = motion(mouth_open=0.2, smile=-0.3, brow_raise=0.5, blink_right=0.6)
    retargeting = Retargeting(AXES)
    for who in (avatar, None):
        for _ in range(30):
            out = retargeting.about(told, 1.0, AT_REST, who, TICK)
        np.testing.assert_allclose(out, told)


@pytest.mark.parametrize(("before", "most"), [(0, 0.35), (30, 0.51)])
def test_the_further_the_driver_opens_the_further_it_opens(before: int, most: float) -> None:
    """While its smile has not given way, where gaps would add up to a yawn, and when it has."""

    def gap(by: float) -> float:
        retargeting = Retargeting(AXES)
        for move in [AT_REST, *[motion(mouth_open=0.3)] * before]:
            retargeting.about(move, 1.0, AT_REST, SMILING, TICK)
        out = retargeting.about(motion(mouth_open=by), 1.0, AT_REST, SMILING, 0.0)
        return float(out[PLACE["mouth open"]] / UNIT["mouth open"])

    gaps = [gap(by) for by in np.linspace(-0.05, 0.5, 30)]
    assert (np.diff(gaps) > 0).all()
    assert gaps[-1] - gap(0.0) < most
    assert gap(0.0) - gap(-0.05) == pytest.approx(0.05), "closing is as it was"


@pytest.mark.parametrize("drivers", [0.2, 0.28, 0.4])
@pytest.mark.parametrize("avatars", [0.18, 0.28, 0.36])
def test_lids_go_the_share_of_their_way(drivers: float, avatars: float) -> None:
    """A driver whose eyes are narrow, or wide, shuts the avatar's wholly, and half by half.

    A rig's lids are shut where its label is 1, and as far from it as their opening is of an ordinary one's.
    """
    config = replace(PLAIN, mode="relative")
    rest = motion(blink_left=1 - avatars / 0.28, blink_right=1 - avatars / 0.28)
    avatar = PlainShape(eye_open_left=avatars, eye_open_right=avatars)
    moved = MotionPolicy(config, DIRECTIONS, rest, avatar)

    def closure(opening: float, frames: range) -> np.ndarray:
        shape = PlainShape(eye_open_left=opening, eye_open_right=opening)
        for frame in frames:
            out = moved.step(AT_REST, shape, frame * TICK)
        return np.array([out[PLACE[eye]] / UNIT[eye] for eye in ("blink left", "blink right")])

    assert closure(drivers, range(120)) == pytest.approx(1 - avatars / 0.28, abs=1e-4)
    half = closure((drivers + LIDS[0]) / 2, range(120, 121))
    assert half == pytest.approx(1 - avatars / 0.28 / 2, abs=1e-4)
    # the range of the network's codes is soft at its end
    assert closure(LIDS[0], range(121, 122)) == pytest.approx(1, abs=0.06)


def test_each_eye_goes_its_own_way() -> None:
    """Left and right of a direction are the picture's, of a shape the person's own."""
    avatar = PlainShape(eye_open_left=0.14, eye_open_right=0.28)
    told = motion(blink_left=1.0, blink_right=1.0)
    out = Retargeting(AXES).about(told, 1.0, AT_REST, avatar, TICK)
    assert out[PLACE["blink left"]] == pytest.approx(UNIT["blink left"])
    assert out[PLACE["blink right"]] == pytest.approx(0.5 * UNIT["blink right"])


def test_lids_shut_as_one_but_for_a_wink() -> None:
    """Of a turned head the far eye is read as less shut than it is."""
    avatar = PlainShape(eye_open_left=0.28, eye_open_right=0.28)

    def closures(left: float, right: float) -> list[float]:
        told = motion(blink_left=left, blink_right=right)
        out = Retargeting(AXES).about(told, 1.0, AT_REST, avatar, TICK)
        return [float(out[PLACE[eye]] / UNIT[eye]) for eye in ("blink left", "blink right")]

    assert closures(0.6, 0.8) == pytest.approx([0.7, 0.7])
    assert closures(0.0, 0.9) == pytest.approx([0.0, 0.9]), "a wink"
    between = np.array([closures(0.2, 0.2 + apart) for apart in np.linspace(0, 0.7, 60)])
    assert (np.diff(between[:, 1] - between[:, 0]) >= -1e-9).all()
    assert np.abs(np.diff(between, axis=0)).max() < 0.06, "without a jump"


def test_a_wrong_measure_of_lids_does_not_make_them_flutter() -> None:
    def ratio(told: float, neutral: float, own: float) -> float:
        avatar = PlainShape(eye_open_left=own, eye_open_right=own)
        rest = motion(blink_left=neutral, blink_right=neutral)
        both = motion(blink_left=told, blink_right=told)
        out = Retargeting(AXES).about(both, 1.0, rest, avatar, TICK)
        return float(out[PLACE["blink left"]] / UNIT["blink left"] / told)

    assert ratio(0.05, 0.95, 0.28) == pytest.approx(1 / 0.35), "a driver who looks asleep"
    assert ratio(0.5, 0.0, 1.5) == pytest.approx(0.45 / 0.28), "a picture that cannot be"
    assert ratio(0.5, 0.0, 0.0) == pytest.approx(0.11 / 0.28)
    assert ratio(-0.2, 0.5, 0.2) == pytest.approx(1), (
        "eyes that open wider have no end to their way"
    )


def test_without_labels_every_motion_stays_and_none_changes_in_place() -> None:
    told = np.linspace(-1, 1, 20)
    unlabelled = Retargeting(Axes(Direction.unlabelled(20)))
    for _ in range(5):
        np.testing.assert_array_equal(unlabelled.about(told, 1.0, AT_REST, SMILING, TICK), told)
    np.testing.assert_array_equal(unlabelled.narrowed(told, None), told)
    kept = told.copy()
    Retargeting(AXES).about(told, 1.0, AT_REST, SMILING, TICK)
    np.testing.assert_array_equal(told, kept)


def test_a_network_whose_directions_stand_elsewhere_or_lack_some() -> None:
    names = ["smile", "yaw", "mouth open"]
    for kept in (names, ["mouth open"], ["smile"]):
        directions = tuple(DIRECTIONS[PLACE[name]] for name in kept)
        retargeting = Retargeting(Axes(directions))
        told = np.array([motion(mouth_open=0.12)[PLACE[name]] for name in kept])
        for _ in range(30):
            out = retargeting.about(told, 1.0, np.zeros(len(kept)), SMILING, TICK)
        if "mouth open" in kept:
            place = kept.index("mouth open")
            assert out[place] / UNIT["mouth open"] == pytest.approx(0.12 - OWN_GAP, abs=0.005)
        if kept == names:
            assert out[1] == 0
            assert out[0] < 0


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
    moved = MotionPolicy(replace(PLAIN, mode=mode), DIRECTIONS, AT_REST, SERIOUS)
    for frame in range(120):
        moved.step(AT_REST, SERIOUS, frame * TICK)
    out = moved.step(AT_REST, PlainShape(mouth_width=0.45), 4.0)
    assert out[PLACE["pucker"]] > 2
    assert out[PLACE["smile"]] > -0.5


class Conversation:
    """Somebody who looks calm first, before a smiling avatar; the whole policy."""

    TALKING = PlainShape(mouth_open=0.3, mouth_width=0.57)

    def __init__(self, config: PolicyConfig = PLAIN, tick: float = TICK) -> None:
        self.tick = tick
        rest = motion(mouth_open=0.5 * SMILING.mouth_open, smile=OWN_SMILE)
        self.policy = MotionPolicy(config, DIRECTIONS, rest, SMILING)
        self.frame = 0
        self.go_on(SERIOUS, 120)

    def go_on(self, shape: PlainShape | None, frames: int) -> tuple[float, float]:
        """Gap and smile of the avatar at the end."""
        for _ in range(frames):
            alpha = None if shape is None else AT_REST
            self.out = self.policy.step(alpha, shape, self.frame * self.tick)
            self.frame += 1
        gap, smile = (self.out[PLACE[name]] / UNIT[name] for name in ("mouth open", "smile"))
        return float(gap) - LIPS_MEET, float(smile)


def test_a_smiling_avatar_says_what_the_driver_says() -> None:
    talk = Conversation()
    assert talk.go_on(SERIOUS, 1) == pytest.approx((OWN_GAP, OWN_SMILE), abs=0.005)
    assert talk.go_on(Conversation.TALKING, 30)[0] == pytest.approx(0.15, abs=0.01)
    assert talk.go_on(SERIOUS, 1)[0] < 0.2 * OWN_GAP, "closed between two words"
    assert talk.go_on(SERIOUS, 300) == pytest.approx((OWN_GAP, OWN_SMILE), abs=0.005)


def test_the_policy_tells_how_much_time_passed() -> None:
    """A second after a word, whatever the frame rate."""
    ends = []
    for rate in (60, 10):
        talk = Conversation(tick=1 / rate)
        talk.go_on(Conversation.TALKING, rate)
        ends.append(talk.go_on(SERIOUS, rate))
    assert ends[0] == pytest.approx(ends[1], abs=0.003)


def test_another_network_knows_a_smile_by_another_place() -> None:
    talk = Conversation()
    order = [*range(10, 20), *range(10)]
    directions = tuple(DIRECTIONS[index] for index in order)
    rest = motion(mouth_open=0.5 * SMILING.mouth_open, smile=OWN_SMILE)[order]
    talk.policy.set_network(directions, rest, SMILING, [])
    for frame in range(240):
        shape = SERIOUS if frame < 200 else Conversation.TALKING
        out = talk.policy.step(AT_REST, shape, 10 + frame * TICK)
    place = order.index(PLACE["mouth open"])
    assert out[place] / UNIT["mouth open"] - LIPS_MEET == pytest.approx(0.15, abs=0.01)


@pytest.mark.parametrize("config", [PLAIN, PolicyConfig(smooth=0.0, breathing=0.0)])
def test_a_frame_without_a_face_does_not_make_it_grin(config: PolicyConfig) -> None:
    talk = Conversation(config)
    said = talk.go_on(Conversation.TALKING, 30)
    talk.go_on(None, 1)
    for _ in range(15):
        assert talk.go_on(Conversation.TALKING, 1) == pytest.approx(said, abs=0.03)
    talk.go_on(None, 300)
    assert talk.go_on(SERIOUS, 60) == pytest.approx((OWN_GAP, OWN_SMILE), abs=0.005)


def test_what_was_said_before_another_mode_is_forgotten_meanwhile() -> None:
    talk = Conversation()
    talk.go_on(Conversation.TALKING, 30)
    talk.policy.update(replace(PLAIN, mode="absolute"))
    talk.go_on(SERIOUS, 300)
    talk.policy.update(PLAIN)
    assert talk.go_on(SERIOUS, 1) == pytest.approx((OWN_GAP, OWN_SMILE), abs=0.02)


def test_another_avatar_gives_up_its_own_smile_and_not_the_last_ones() -> None:
    """Also when the driver is gone and a pose is held."""
    talk = Conversation(replace(PLAIN, hold_s=5.0))
    gap, _ = talk.go_on(Conversation.TALKING, 30)
    talk.go_on(None, 3)
    talk.policy.set_rest(motion(mouth_open=LIPS_MEET), SERIOUS)
    held, smile = talk.go_on(None, 1)
    assert held == pytest.approx(gap, abs=0.02)
    assert smile == pytest.approx(smile_of(Conversation.TALKING), abs=0.05)


def test_without_strength_it_is_its_picture() -> None:
    talk = Conversation(replace(PLAIN, strength=0.0))
    assert talk.go_on(Conversation.TALKING, 30) == pytest.approx((OWN_GAP, OWN_SMILE), abs=1e-4)
