"""Avatars switched and settings changed while the loop runs; the loop on one thread (``Animator``)."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from lia_live.engine import PipelineConfig
from lia_live.engine.animator import Animator
from lia_live.errors import ConfigError
from lia_live.frame import Frame
from tests.doubles import (
    ListSink,
    ListSource,
    ScriptedRenderer,
    ScriptedTracker,
    camera_picture,
    scripted_avatar,
    shows_camera,
)
from tests.engine.live import BLUE, CONFIG, DIRECTIONS, GREEN, QUICK, camera, corner, pipeline


def test_avatars_switch_without_a_hitch() -> None:
    """Loading one takes 0.4 s; neither the pictures nor the renderings notice."""
    renderer = ScriptedRenderer(load_s=0.4)
    sink = ListSink()
    avatars = [scripted_avatar(), scripted_avatar("blue", BLUE), scripted_avatar("b2", (60, 60, 0))]
    run = pipeline(camera(60), renderer=renderer, avatars=avatars, sinks=[sink])
    timers = [
        threading.Timer(0.1, run.switch_avatar, (1,)),
        threading.Timer(1.0, run.switch_avatar, (2,)),
        threading.Timer(1.2, run.step_avatar, (1,)),
    ]
    for timer in timers:
        timer.start()
    snapshot = run.run(duration=1.5)
    colours = [corner(picture) for picture in sink.pictures]
    changes = [colours[0]] + [b for a, b in pairwise(colours) if a != b]
    assert changes == [GREEN, BLUE, (60, 60, 0), GREEN]
    for times in (sink.times, renderer.times):
        gaps = np.diff(times)
        assert np.percentile(gaps, 95) < 0.06
        assert gaps.max() < 0.25
    assert snapshot["avatar"] == "green"
    assert run.avatar == 0


def test_an_avatar_that_cannot_be_loaded_leaves_the_present_one_on() -> None:
    broken = scripted_avatar("broken")
    broken.look = None
    run = pipeline(avatars=[scripted_avatar(), scripted_avatar("blue", BLUE)])

    def prepare(avatar: Any) -> Any:
        raise RuntimeError("wrong model")

    run._shelf._prepare = prepare
    threading.Timer(0.1, run.switch_avatar, (1,)).start()
    snapshot = run.run(duration=0.4)
    assert snapshot["avatar"] == "green"
    assert "blue cannot be used: wrong model" in snapshot["notes"]["avatar"]
    with pytest.raises(ConfigError, match="no avatar 6"):
        run.switch_avatar(5)


def test_avatars_switch_while_nobody_is_there() -> None:
    sink = ListSink()
    run = pipeline(
        ListSource([None], loop=True, fps=100),
        avatars=[scripted_avatar(), scripted_avatar("blue", BLUE)],
        sinks=[sink],
    )
    threading.Timer(0.2, run.switch_avatar, (1,)).start()
    run.run(duration=0.6)
    assert corner(sink.pictures[-1]) == BLUE


def test_controls_reach_policy_tracker_and_output() -> None:
    tracker, renderer, sink = ScriptedTracker(CONFIG.size), ScriptedRenderer(), ListSink((64, 64))
    run = pipeline(tracker=tracker, renderer=renderer, sinks=[sink], badge=False)

    def turn() -> None:
        run.calibrate()
        run.mirror_in = True
        run.mirror_out = True
        run.set_edits([9.0] * CONFIG.motion_dim)
        assert run.set_strength(9.0) == 2.0
        run.set_smooth(0.5)
        run.set_mode("absolute")

    threading.Timer(0.2, turn).start()
    run.run(duration=0.8)
    assert tracker.recalibrated == 1
    assert (run.mirror_in, run.mirror_out) == (True, True)
    config = run._policy.config
    assert (config.strength, config.smooth, config.mode) == (2.0, 0.5, "absolute")
    bar = (sink.pictures[-1][4] == 255).all(axis=-1)
    assert bar[-1]  # mirrored: the bar begins at the right
    assert bar.sum() == 64
    with pytest.raises(ConfigError, match=r"engine\.smooth"):
        run.set_smooth(3.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [("fps", 0.5), ("fps", float("nan")), ("idle_after_s", 0.0), ("background", "beach")],
)
def test_wrong_settings_are_named(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"engine\.{field}"):
        PipelineConfig(**{field: value})


# The animator


def test_the_animator_is_the_loop_on_one_thread() -> None:
    tracker = ScriptedTracker(CONFIG.size, lambda frame: frame.number != 2)
    with Animator(
        ScriptedRenderer(code=lambda crop: float(crop.mean()) / 10),
        scripted_avatar(),
        policy=QUICK,
        tracker=tracker,
        directions=DIRECTIONS,
        shape_of=None,
    ) as animator:
        outs = [
            animator.animate(Frame(np.full((72, 96, 3), 10 * n, np.uint8), n / 30, n))
            for n in range(4)
        ]
        assert animator.policy.face
    assert [out.number for out in outs] == [0, 1, 2, 3]
    assert [out.captured_at for out in outs] == [n / 30 for n in range(4)]
    assert outs[0].pixels.shape == (CONFIG.size, CONFIG.size, 3)
    assert tracker.closed == 1
    assert not any(shows_camera(out.pixels) for out in outs)


def test_the_animator_raises_what_went_wrong() -> None:
    animator = Animator(
        ScriptedRenderer(before_render=lambda: np.zeros((1, 3, 3, 3), np.uint8)),
        scripted_avatar(),
        tracker=ScriptedTracker(CONFIG.size),
        shape_of=None,
    )
    with pytest.raises(ValueError, match="rendered picture"):
        animator.animate(Frame(camera_picture(), 0.0, 0))
    animator.close()
