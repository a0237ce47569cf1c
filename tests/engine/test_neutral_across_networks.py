"""The driver's neutral outlives a switch to another network, whose codes mean something else."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lia_live.engine import PolicyConfig
from lia_live.engine.glimpses import KEPT
from lia_live.engine.networks import LiveNetwork
from lia_live.engine.observer import Observer
from lia_live.engine.performer import Performer, PreparedAvatar, prepare
from lia_live.engine.view import View
from lia_live.frame import Frame
from lia_live.model import Direction, Framing, LIAConfig
from tests.doubles import PlainShape, ScriptedRenderer, ScriptedTracker, scripted_avatar
from tests.engine.live import CONFIG, DIRECTIONS

STEP = 1 / 30
QUIET = PolicyConfig(smooth=0.0, return_s=0.0, breathing=0.0)


def level(frame_level: float) -> np.ndarray:
    return np.full((72, 96, 3), frame_level, np.uint8)


def live_network(
    code: Any, config: LIAConfig = CONFIG, directions: tuple[Direction, ...] = DIRECTIONS
) -> LiveNetwork:
    """A network in whose codes a picture of level n reads ``code(n)``."""
    renderer = ScriptedRenderer(config=config, code=lambda crop: float(code(float(crop.mean()))))
    return LiveNetwork(renderer, directions, View(config, CONFIG))


class Stage:
    """Observer and performer as the loop puts them together, moved by hand."""

    def __init__(self, network: LiveNetwork, rest: float = 0.0, **config: Any) -> None:
        first = self.avatar(network, rest)
        self.tracker = ScriptedTracker(CONFIG.size)
        self.shape = PlainShape()
        self.observer = Observer(self.tracker, network, lambda landmarks: self.shape)
        self.performer = Performer(first, replace(QUIET, **config))
        self.policy = self.performer.policy
        self.now = 0.0
        self.count = 0

    @staticmethod
    def avatar(network: LiveNetwork, rest: float) -> PreparedAvatar:
        return prepare(scripted_avatar(rest=rest), network, None)

    def see(self, frame_level: float, frames: int = 1) -> float:
        """The driver's frames; the first coefficient of the last code."""
        for _ in range(frames):
            observation = self.observer.observe(Frame(level(frame_level), self.now, self.count))
            code = self.performer.pose(observation, self.now)
            if observation.alpha is not None:
                self.observer.keep(self.policy.neutral_times)
            self.now += STEP
            self.count += 1
        return float(code[0])

    def switch(self, network: LiveNetwork, rest: float) -> None:
        self.performer.switch(self.avatar(network, rest), self.observer.turn_to(network))


@pytest.fixture
def first() -> LiveNetwork:
    return live_network(lambda n: n / 100)


@pytest.fixture
def other() -> LiveNetwork:
    """Codes turned round, on another scale, with another zero."""
    return live_network(lambda n: 7 - n / 50)


def test_the_neutral_is_the_same_face_in_the_other_networks_codes(
    first: LiveNetwork, other: LiveNetwork
) -> None:
    stage = Stage(first)
    assert stage.see(100, 70) == pytest.approx(0.0, abs=1e-6)
    assert stage.policy.calibrated
    assert stage.see(200, 10) == pytest.approx(1.0, abs=1e-6)
    stage.switch(other, rest=0.5)
    assert stage.policy.calibrated  # at once, nobody has to sit still again
    assert stage.policy.neutral_score > 0.9
    # 0.5 of its own rest, and what the other network says of the way from level 100 to level 200.
    assert stage.see(200) == pytest.approx(0.5 - 2.0, abs=1e-6)
    assert stage.see(100) == pytest.approx(0.5, abs=1e-6)


def test_to_and_fro_is_the_same_again_and_encoded_once(
    first: LiveNetwork, other: LiveNetwork
) -> None:
    stage = Stage(first)
    stage.see(100, 70)
    stage.switch(other, rest=0.5)
    calls: list[int] = []
    for network in (first, other):
        network.renderer.before_encode = lambda crops: calls.append(1)  # type: ignore[attr-defined]
    for network, rest, moved in ((first, 0.0, 1.0), (other, 0.5, -1.5), (first, 0.0, 1.0)):
        stage.switch(network, rest)
        assert calls == []  # what it made of these frames is known
        assert stage.see(200) == pytest.approx(moved, abs=1e-6)
        assert calls == [1]
        calls.clear()


def test_few_frames_are_kept_and_none_after_the_end(first: LiveNetwork) -> None:
    stage = Stage(first)
    stage.see(100, 70)
    assert len(stage.observer._glimpses.kept()) == KEPT
    stage.observer.close()
    assert stage.observer._glimpses.kept() == []


def test_a_search_goes_on_under_the_other_network(first: LiveNetwork, other: LiveNetwork) -> None:
    """Half a second of a turned head, the switch, then a straight one: the better neutral is still found."""
    stage = Stage(first)
    stage.shape = PlainShape(yaw=25.0)
    stage.see(200, 15)
    assert not stage.policy.calibrated
    stage.switch(other, rest=0.0)
    assert not stage.policy.calibrated
    assert stage.see(200) == pytest.approx(0.0, abs=1e-6)  # meanwhile the one so far
    stage.shape = PlainShape()
    stage.see(100, 60)
    assert stage.policy.calibrated
    assert stage.see(100) == pytest.approx(0.0, abs=1e-2)
    assert stage.see(200) == pytest.approx(-2.0, abs=1e-2)


def test_a_neutral_asked_for_is_taken_under_the_other_network(
    first: LiveNetwork, other: LiveNetwork
) -> None:
    """X is pressed and the avatar switched before the next frame: the old neutral only serves until then."""
    stage = Stage(first)
    stage.see(100, 70)
    stage.policy.calibrate()
    stage.switch(other, rest=0.0)
    assert not stage.policy.calibrated
    stage.see(150, 40)
    assert stage.policy.calibrated
    assert stage.see(150) == pytest.approx(0.0, abs=1e-3)


def test_an_asked_search_that_saw_nobody_yet_does_not_find_the_old_neutral(
    first: LiveNetwork, other: LiveNetwork
) -> None:
    stage = Stage(first)
    stage.see(100, 70)
    stage.policy._neutral.restart(stage.policy._rest, None)
    stage.switch(other, rest=0.0)
    stage.shape = PlainShape(yaw=8.0)  # worse than the old one, but it is what was asked for
    stage.see(150, 40)
    assert stage.see(150) == pytest.approx(0.0, abs=1e-3)


def test_a_mirrored_neutral_stays_mirrored(first: LiveNetwork) -> None:
    """The kept frames are looked at as they were looked at when the neutral was found."""
    leaning = np.full((72, 96, 3), 50, np.uint8)
    leaning[:, :48] = 150

    def left_minus_right(crop: Any) -> float:
        half = CONFIG.size // 2
        return float(crop[:, :half].mean() - crop[:, half:].mean()) / 100

    networks = [live_network(lambda n: 0.0) for _ in range(2)]
    for network in networks:
        network.renderer.code = left_minus_right  # type: ignore[attr-defined]
    stage = Stage(networks[0])
    stage.observer.mirror = True
    for number in range(70):
        observation = stage.observer.observe(Frame(leaning, number * STEP, number))
        stage.performer.pose(observation, number * STEP)
        stage.observer.keep(stage.policy.neutral_times)
    stage.observer.mirror = False
    seen = stage.observer.turn_to(networks[1])
    assert len(seen) == KEPT
    for one in seen:
        assert one.alpha is not None
        assert one.alpha[0] == pytest.approx(-1.0, abs=0.05)


def test_nobody_was_seen_before_the_switch(first: LiveNetwork, other: LiveNetwork) -> None:
    stage = Stage(first)
    stage.switch(other, rest=0.5)
    out = stage.performer.pose(None, 0.0)
    assert out[0] == pytest.approx(0.5)
    assert stage.see(100, 70) == pytest.approx(0.5, abs=1e-6)
    assert stage.policy.calibrated


def test_a_fault_at_the_switch_begins_a_new_search(first: LiveNetwork) -> None:
    broken = live_network(lambda n: n / 100)
    stage = Stage(first)
    stage.see(100, 70)
    broken.renderer.before_encode = lambda crops: RuntimeError("broke")  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError):
        stage.observer.turn_to(broken)
    stage.performer.switch(stage.avatar(broken, 0.0), [])
    assert not stage.policy.calibrated
    broken.renderer.before_encode = None  # type: ignore[attr-defined]
    stage.see(120, 70)
    assert stage.policy.calibrated
    assert stage.see(120) == pytest.approx(0.0, abs=1e-6)


def test_a_lost_face_stays_lost_and_the_avatar_rests(
    first: LiveNetwork, other: LiveNetwork
) -> None:
    stage = Stage(first)
    stage.see(100, 70)
    stage.see(200, 5)
    stage.tracker._script = lambda frame: False
    stage.see(200, 2)
    stage.switch(other, rest=0.5)
    assert stage.see(200) == pytest.approx(0.5)
    stage.tracker._script = None
    assert stage.see(200, 30) == pytest.approx(-1.5, abs=1e-6)


def test_edits_stay_with_their_names(first: LiveNetwork) -> None:
    count = CONFIG.motion_dim
    named = tuple(Direction(f"way {index}") for index in range(count))
    turned = named[::-1]
    one = live_network(lambda n: 0.0, directions=named)
    two = live_network(lambda n: 0.0, directions=turned)
    few = live_network(
        lambda n: 0.0, replace(CONFIG, motion_dim=3), (*named[:2], Direction("nobody's"))
    )
    edits = tuple(float(index) / 10 for index in range(count))
    stage = Stage(one, edits=edits)
    stage.policy.update(replace(stage.policy.config, strength=1.5))  # still pending at the switch
    stage.switch(two, 0.0)
    assert stage.policy.config.edits == edits[::-1]
    assert stage.policy.config.strength == 1.5
    rest = np.zeros(3, np.float32)
    stage.policy.set_network(few.directions, rest, None, [])
    np.testing.assert_allclose(stage.policy.config.edits, (0.0, 0.1, 0.0))
    assert stage.policy.step(np.zeros(3), None, 9.0).shape == (3,)


def test_offline_the_neutral_learned_beforehand_is_kept_too(
    first: LiveNetwork, other: LiveNetwork
) -> None:
    from lia_live.engine import Animator

    frames = [Frame(level(100), n * STEP - 3, n) for n in range(20)]
    with Animator(
        first.renderer,
        scripted_avatar(),
        policy=QUIET,
        tracker=ScriptedTracker(CONFIG.size),
        directions=DIRECTIONS,
        shape_of=None,
    ) as animator:
        assert animator.learn_neutral(frames) > 0
        seen = animator._observer.turn_to(other)
    assert [float(one.alpha[0]) for one in seen if one.alpha is not None] == [5.0] * KEPT


def test_another_framing_sees_the_same_frame_cut_its_way() -> None:
    """From 720p at the tracker's square to a closer, larger one, and to the whole frame."""
    close = LIAConfig(
        size=128, width=0.0625, latent_dim=32, framing=Framing(eye_distance=0.5, eye_y=0.4)
    )
    whole = LIAConfig(size=32, width=0.0625, latent_dim=32, framing=Framing(kind="full"))
    stage = Stage(live_network(lambda n: n / 100))
    stage.see(100, 70)
    for config in (close, whole):
        network = live_network(lambda n: n / 10, config)
        stage.switch(network, rest=0.0)
        assert stage.policy.calibrated
        assert stage.see(110) == pytest.approx(1.0, abs=1e-6)


def test_the_switch_costs_the_loop_little(first: LiveNetwork, other: LiveNetwork) -> None:
    """No more encodings than kept frames; the policy's own part is well under a millisecond or two."""
    stage = Stage(first)
    stage.see(100, 70)
    calls: list[int] = []
    other.renderer.before_encode = lambda crops: calls.append(1)  # type: ignore[attr-defined]
    prepared = stage.avatar(other, 0.0)
    began = time.perf_counter()
    stage.performer.switch(prepared, stage.observer.turn_to(other))
    assert time.perf_counter() - began < 0.05
    assert len(calls) == KEPT
