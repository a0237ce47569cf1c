"""The network against the reference implementation's outputs, and proof that the marks can fail."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lia_live.model import layers, synthesis
from lia_live.model.directions import MotionDictionary
from tests.model.official import fixture, parity_look, parity_network, picture

CODE = 1e-4
FEATURE = 5e-4
IMAGE_MAX, IMAGE_MEAN = 1e-3, 5e-6


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield


def difference(found: Tensor, name: str) -> np.ndarray:
    return np.abs(found.numpy().astype(np.float64) - fixture()[name])


def samples(values: Tensor) -> Tensor:
    """The 64 values that the fixture keeps of a large tensor."""
    flat = values.flatten()
    return flat[[(2 * i + 1) * len(flat) // 128 for i in range(64)]]


def image_passes(found: Tensor, name: str) -> bool:
    error = difference(found, name)
    return bool(error.max() <= IMAGE_MAX and error.mean() <= IMAGE_MEAN)


def driven() -> Tensor:
    """α of the second driving frame as the fixture has it."""
    return torch.from_numpy(fixture()["a_drv1"])[None]


def test_source_code_and_coefficients():
    look = parity_look()
    assert difference(look.latent[0], "z_s").max() <= 1e-5
    assert difference(look.motion[0], "a_src").max() <= CODE


@pytest.mark.parametrize("frame", ["drv0", "drv1"])
def test_driving_coefficients(frame):
    alpha = parity_network().encode_motion(picture(frame))
    assert difference(alpha[0], f"a_{frame}").max() <= CODE


def test_dictionary():
    assert difference(parity_network().dec.direction.basis(), "Q").max() <= 1e-6


@pytest.mark.parametrize("level", range(6))
def test_features(level):
    features = parity_look().features[level]
    assert features.shape[-1] == 8 << level
    assert difference(samples(features), f"feat{8 << level}_samples").max() <= FEATURE


def test_absolute_image_and_flows():
    network, look = parity_network(), parity_look()
    image, raws = network.dec(look.latent + network.dec.direction(driven()), look.features)
    assert image_passes(image[0], "out_abs")
    for raw in raws:
        r = raw.shape[-1]
        assert difference(samples(raw), f"abs_flowraw{r}_samples").max() <= FEATURE, r


def test_relative_image():
    start = torch.from_numpy(fixture()["a_drv0"])[None]
    image = parity_network().render(parity_look(), driven() - start + parity_look().motion)
    assert image_passes(image[0], "out_rel")


def test_reference_image():
    image = parity_network().render(parity_look(), torch.zeros(1, 20))
    assert image_passes(image[0, :, ::2, ::2], "out_ref")


# What follows breaks the real code in the ways that are easily got wrong; each must miss the marks.


def aligned_corners(monkeypatch):
    sample = F.grid_sample

    def wrong(features, grid, mode, padding_mode, align_corners):
        return sample(features, grid, mode, padding_mode, align_corners=True)

    monkeypatch.setattr(F, "grid_sample", wrong)


def positive_diagonal(monkeypatch):
    def wrong(self):
        q, r = torch.linalg.qr(self.weight)
        return q * torch.sign(torch.diagonal(r))

    monkeypatch.setattr(MotionDictionary, "basis", wrong)


def shifted_fir(monkeypatch):
    fir = layers.fir
    monkeypatch.setattr(layers, "fir", lambda x, k, pad: fir(F.pad(x, (1, -1, 1, -1)), k, pad))


def box_fir(monkeypatch):
    fir = layers.fir
    monkeypatch.setattr(layers, "fir", lambda x, k, pad: fir(x, k.mean().expand(4, 4), pad))


def bilinear_upsampling(monkeypatch):
    def wrong(x, kernel):
        return F.interpolate(x, scale_factor=2, mode="bilinear")

    monkeypatch.setattr(layers, "fir_upsample", wrong)


def added_noise(monkeypatch):
    generator = torch.Generator().manual_seed(0)

    def wrong(self, x):
        return x + self.weight * torch.randn(x.shape, generator=generator)

    monkeypatch.setattr(layers.Noise, "forward", wrong)


def pixel_centre_grid(monkeypatch):
    def wrong(resolution, like):
        axis = (torch.arange(resolution) * 2 + 1) / resolution - 1
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        return torch.stack((x, y), dim=-1)[None]

    monkeypatch.setattr(synthesis, "identity_grid", wrong)


def early_tanh(monkeypatch):
    forward = layers.ToFlow.forward

    def wrong(self, x, latent, coarser):
        own = forward(self, x, latent, None)
        own = torch.cat((torch.tanh(own[:, :2]), own[:, 2:]), dim=1)
        return own if coarser is None else own + self.upsample(coarser)

    monkeypatch.setattr(layers.ToFlow, "forward", wrong)


@pytest.mark.parametrize(
    "mistake",
    [
        aligned_corners,
        positive_diagonal,
        shifted_fir,
        box_fir,
        bilinear_upsampling,
        added_noise,
        pixel_centre_grid,
        early_tanh,
    ],
)
def test_mistake_misses_the_image_marks(mistake: Callable, monkeypatch):
    look = parity_look()
    mistake(monkeypatch)
    error = difference(parity_network().render(look, driven())[0], "out_abs")
    assert error.mean() > 100 * IMAGE_MEAN
    assert error.max() > IMAGE_MAX


def test_shifted_fir_misses_the_code_marks(monkeypatch):
    parity_look()  # before the code is broken
    shifted_fir(monkeypatch)
    latent = parity_network().encode_appearance(picture("src")).latent
    assert difference(latent[0], "z_s").max() > 100 * 1e-5
