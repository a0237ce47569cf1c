"""A device that fails in the middle: the cpu takes over aloud, and gives back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lia_live.errors import ConfigError
from lia_live.render.safeguard import LONGEST_RETRY_S, SafeguardedRenderer, is_device_fault
from lia_live.render.torch_renderer import TorchRenderer
from tests.render.networks import CONFIGS, look_of, pictures, random_network


class Failing(TorchRenderer):
    """Works on the cpu, but fails as a GPU does while ``fault`` is set."""

    fault: Exception | None = None
    device = "cuda:0"

    def load_avatar(self, look):
        if self.fault is not None:
            raise self.fault
        return super().load_avatar(look)

    def encode_motion(self, crops):
        if self.fault is not None:
            raise self.fault
        return super().encode_motion(crops)

    def render(self, avatars, alpha):
        if self.fault is not None:
            raise self.fault
        return super().render(avatars, alpha)

    def __init__(self, network):
        super().__init__(network, threads=1)
        self.device = "cuda:0"


class Stage:
    """A safeguarded renderer, a clock moved by hand, and what was said."""

    def __init__(self):
        self.network = random_network(CONFIGS["tiny"])
        self.gpu = Failing(self.network)
        self.said: list[str] = []
        self.time = 0.0
        self.opened = 0
        self.renderer = SafeguardedRenderer(
            self.gpu, self.open_spare, self.said.append, lambda: self.time
        )
        self.crop = pictures(self.network.config, 1)
        self.look = look_of(self.network, self.crop[0])
        self.alpha = np.ones((1, 4), np.float32)

    def open_spare(self):
        self.opened += 1
        return TorchRenderer(self.network, threads=1)


MEMORY = torch.OutOfMemoryError("CUDA out of memory")
LOST = RuntimeError("CUDA error: unspecified launch failure")


@pytest.mark.parametrize("fault", [MEMORY, LOST], ids=["memory", "lost"])
def test_the_cpu_takes_over_aloud_and_gives_back(fault):
    stage = Stage()
    avatar = stage.renderer.load_avatar(stage.look)
    wanted = stage.renderer.render([avatar], stage.alpha)
    assert stage.renderer.device == "cuda:0" and stage.opened == 0
    stage.gpu.fault = fault
    assert np.array_equal(stage.renderer.render([avatar], stage.alpha), wanted)
    assert stage.renderer.encode_motion(stage.crop).shape == (1, 4)
    assert stage.renderer.device == "cpu" and stage.opened == 1
    assert stage.renderer.description.startswith("cpu")
    assert len(stage.said) == 1 and len(stage.said[0].splitlines()) == 2
    late = stage.renderer.load_avatar(stage.look)  # meets the spare alone
    stage.gpu.fault = None
    stage.time = 9.0
    stage.renderer.render([late], stage.alpha)
    assert stage.renderer.device == "cpu"  # not tried yet
    stage.time = 11.0
    assert np.array_equal(stage.renderer.render([late], stage.alpha), wanted)
    assert stage.renderer.device == "cuda:0"
    assert len(stage.said) == 2 and "works again" in stage.said[1]


def test_a_gpu_that_stays_away_is_asked_ever_more_rarely_and_complained_of_once():
    stage = Stage()
    stage.gpu.fault = LOST
    avatar = stage.renderer.load_avatar(
        stage.look
    )  # fails there, and is loaded where it is rendered
    for _ in range(3000):
        stage.renderer.render([avatar], stage.alpha)
        stage.time += 1.0
    assert len(stage.said) == 1
    assert stage.renderer._wait_s == LONGEST_RETRY_S


def test_other_errors_are_the_callers():
    stage = Stage()
    avatar = stage.renderer.load_avatar(stage.look)
    with pytest.raises(ConfigError):
        stage.renderer.render([avatar], np.zeros((2, 4), np.float32))
    stage.gpu.fault = RuntimeError("shape mismatch")
    with pytest.raises(RuntimeError, match="shape"):
        stage.renderer.render([avatar], stage.alpha)
    assert stage.said == []
    stage.gpu.fault = None
    with pytest.raises(ConfigError, match="another renderer"):
        stage.renderer.render([stage.gpu.load_avatar(stage.look)], stage.alpha)
    assert not is_device_fault(ValueError("CUDA error"))
