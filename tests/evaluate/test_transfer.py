"""Absolute transfer: the network's own pictures, whatever the batch; its trembling under noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lia_live
from lia_live.evaluate import look_at, reconstruct
from lia_live.evaluate.transfer import NOISE_SD, jitter, neutral_l1, noisy
from lia_live.model import to_pixels, to_tensor
from tests.doubles import tiny_model
from tests.evaluate.crops import astronaut, moved


def pictures(count: int) -> list[np.ndarray]:
    random = np.random.default_rng(2)
    return list(random.integers(0, 256, (count, 64, 64, 3)).astype(np.uint8))


def test_it_is_the_network_frame_by_frame():
    model, (source, *driving) = tiny_model(), pictures(6)
    made = reconstruct(model, look_at(model, source), driving, batch=4)
    assert len(made) == 5
    for picture, driver in zip(made, driving, strict=True):
        with torch.no_grad():
            alone = to_pixels(model(to_tensor(source), to_tensor(driver)))[0]
        assert np.abs(picture.astype(int) - alone).max() <= 1, "rounding of a batch"
    assert reconstruct(model, look_at(model, source), []) == []


def test_no_gradients_are_kept():
    model, (source, driver) = tiny_model(), pictures(2)
    reconstruct(model, look_at(model, source), [driver])
    assert all(weight.grad is None for weight in model.parameters())


def test_neutral_is_the_source_driven_by_itself():
    model, (source,) = tiny_model(), pictures(1)
    with torch.no_grad():
        own = to_pixels(model(to_tensor(source), to_tensor(source)))[0]
    assert neutral_l1(model, look_at(model, source), source) == pytest.approx(
        np.abs(own / 255 - source / 255).mean(), abs=2e-3
    )


def test_other_sizes_are_refused():
    with pytest.raises(lia_live.ConfigError):
        look_at(tiny_model(), np.zeros((32, 32, 3), np.uint8))


def test_the_noise_is_fresh_and_as_strong_as_said():
    grey = np.full((64, 64, 3), 128, np.uint8)
    one, other = noisy(grey, 2)
    assert (one != other).mean() > 0.8
    assert (one.astype(float) - grey).std() == pytest.approx(NOISE_SD, rel=0.05)
    assert (noisy(grey, 1)[0] == one).all(), "the same every time"
    assert noisy(np.zeros_like(grey), 1)[0].max() < 40, "dark stays dark"


class Deaf(lia_live.LIA):
    """Shows the portrait whatever drives it."""

    def render(self, look, alpha):
        return to_tensor(astronaut()).expand(len(alpha), -1, -1, -1)


class Shaky(lia_live.LIA):
    """Moves the portrait by a pixel to and fro, one frame after the other."""

    def render(self, look, alpha):
        swayed = [moved(astronaut(), 2.0 * (index % 2)) for index in range(len(alpha))]
        return torch.cat([to_tensor(picture) for picture in swayed])


def small_256(kind: type[lia_live.LIA]) -> lia_live.LIA:
    return kind(lia_live.LIAConfig(size=256, width=0.0625, latent_dim=32)).eval()


def test_constant_outputs_do_not_tremble():
    model = small_256(Deaf)
    made, driver = jitter(model, look_at(model, astronaut()), astronaut())
    assert made == 0
    assert 0 < driver < 0.6, "only the landmarks err"


def test_what_trembles_is_measured_in_pixels():
    model = small_256(Shaky)
    made, _ = jitter(model, look_at(model, astronaut()), astronaut())
    assert made == pytest.approx(1.0, abs=0.25), "two pixels to and fro deviate by one"
