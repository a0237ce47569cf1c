"""The loop around a real (tiny, untrained) network and its real renderer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data

from lia_live.avatar import Avatar
from lia_live.engine import Animator, Pipeline, PipelineConfig, PolicyConfig
from lia_live.frame import Frame, Pixels
from lia_live.model import LIA, to_pixels, to_tensor
from lia_live.render import Renderer, open_renderer
from tests.doubles import ListSink, ListSource, ScriptedAvatar, ScriptedTracker, tiny_model

RNG = np.random.default_rng(3)
PICTURES = [RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(4)]
STRAIGHT = PolicyConfig(mode="absolute", smooth=0.0, return_s=0.0)


@pytest.fixture(scope="module")
def model() -> LIA:
    return tiny_model()


@pytest.fixture(scope="module")
def renderer(model: LIA) -> Iterator[Renderer]:
    yield open_renderer(model, threads=1, precision="fp32")


@torch.no_grad()
def avatar_of(model: LIA, picture: Pixels, name: str = "real") -> Any:
    return ScriptedAvatar(name, model.encode_appearance(to_tensor(picture[None])), picture)


@torch.no_grad()
def test_absolute_animation_is_the_networks_own_forward(model: LIA, renderer: Renderer) -> None:
    """A driver inside the trained range: animate() is ``model(source, driving)``, to a level or two."""
    source, *drivers = PICTURES
    animator = Animator(
        renderer,
        avatar_of(model, source),
        policy=STRAIGHT,
        tracker=ScriptedTracker(64),
        directions=model.directions,
        shape_of=None,
    )
    for number, driver in enumerate(drivers):
        out = animator.animate(Frame(driver, number / 30, number)).pixels
        expected = to_pixels(model(to_tensor(source[None]), to_tensor(driver[None])))[0]
        assert np.abs(out.astype(int) - expected).max() <= 3
    animator.close()


@torch.no_grad()
def test_at_rest_the_avatar_is_its_own_reconstruction(model: LIA, renderer: Renderer) -> None:
    source = PICTURES[0]
    animator = Animator(
        renderer,
        avatar_of(model, source),
        tracker=ScriptedTracker(64, lambda frame: False),
        directions=model.directions,
        shape_of=None,
    )
    out = animator.animate(Frame(PICTURES[1], 0.0, 0)).pixels
    expected = to_pixels(model(to_tensor(source[None]), to_tensor(source[None])))[0]
    assert np.abs(out.astype(int) - expected).max() <= 3


def test_the_live_loop_with_a_real_renderer(model: LIA, renderer: Renderer) -> None:
    sink = ListSink((64, 64))
    run = Pipeline(
        ListSource(PICTURES, fps=30, loop=True),
        ScriptedTracker(64),
        renderer,
        [avatar_of(model, PICTURES[0]), avatar_of(model, PICTURES[1], "two")],
        [sink],
        PipelineConfig(policy=STRAIGHT, badge=False),
        directions=model.directions,
        shape_of=None,
    )
    snapshot = run.run(duration=1.5)
    assert snapshot["faults"] == {}
    assert snapshot["engine"] == renderer.engine
    assert snapshot["frames_out"] >= 20
    assert 0 < snapshot["model_ms"]["p50"] < 60
    assert len({picture.tobytes() for picture in sink.pictures}) >= 4


def test_portrait_tracker_network_and_policy_together(model: LIA) -> None:
    """The public way in, with nothing replaced: a face is found, lost, and found again."""
    portrait = data.astronaut()
    empty = np.full_like(portrait, 90)
    states, outs = [], []
    with Animator(model, Avatar.from_image(portrait, model), threads=1) as animator:
        for number in range(16):
            shown = empty if 6 <= number < 10 else np.roll(portrait, number, axis=1)
            outs.append(animator.animate(Frame(np.ascontiguousarray(shown), number / 30, number)))
            states.append(animator.policy.face)
        assert 0.3 < animator.policy.neutral_score <= 1
    assert states[:6] == [True] * 6
    assert not any(states[7:10])
    assert states[-1]
    assert {out.pixels.shape for out in outs} == {(64, 64, 3)}
    assert len({out.pixels.tobytes() for out in outs}) > 5
