"""The number of threads follows the machine. How it is decided: tests/test_timing.py."""

from __future__ import annotations

import numpy as np

from lia_live.render.adaptive import AdaptiveRenderer
from tests.doubles import ScriptedRenderer, scripted_avatar


def test_the_wrapper_measures_pictures_and_sets_threads() -> None:
    class Threaded(ScriptedRenderer):
        threads = 1  # type: ignore[assignment]
        given: list[int]

        def render(self, avatars, alpha):
            self.given.append(self.threads)
            now[0] += {1: 0.030, 2: 0.010}[self.threads] * len(avatars)
            return np.zeros((len(avatars), 64, 64, 3), np.uint8)

        def encode_motion(self, crops):
            return np.zeros((len(crops), self.config.motion_dim), np.float32)

    now = [0.0]
    inner = Threaded()
    inner.threads, inner.given = 1, []
    renderer = AdaptiveRenderer(inner, (1, 2), now=lambda: now[0])
    avatar = renderer.load_avatar(scripted_avatar().look)
    for count in [1, 2, 3] * 40:
        alpha = renderer.encode_motion(np.zeros((count, 64, 64, 3), np.uint8))
        assert renderer.render([avatar] * count, alpha).shape[0] == count
    renderer.render([], np.zeros((0, 20), np.float32))
    assert inner.given[0] == 1
    assert set(inner.given[-20:]) == {2}
    assert renderer.threads == 2
    assert (renderer.device, renderer.engine, renderer.precision) == ("cpu", "scripted", "fp32")
    assert renderer.config is inner.config
    assert renderer.description == inner.description
