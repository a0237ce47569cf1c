from __future__ import annotations

import numpy as np
import torch

from lia_live.model import LIA, Direction, LIAConfig, to_pixels, to_tensor
from lia_live.model.pixels import portrait_tensor


def test_every_grey_survives_the_round_trip():
    greys = np.arange(256, dtype=np.uint8).reshape(16, 16)
    pixels = np.stack((greys, greys[::-1], greys.T), axis=-1)
    assert np.array_equal(to_pixels(to_tensor(pixels))[0], pixels)


def test_range_channel_order_and_batch():
    pixels = np.zeros((2, 4, 4, 3), np.uint8)
    pixels[1, 0, 3] = 255, 0, 0
    tensor = to_tensor(pixels)
    assert tensor.shape == (2, 3, 4, 4)
    assert tensor.dtype == torch.float32
    assert tensor[1, :, 0, 3].tolist() == [1.0, -1.0, -1.0]
    assert to_tensor(pixels[0]).shape == (1, 3, 4, 4)


def test_outside_values_are_clamped_and_no_picture_is_stretched():
    image = torch.tensor([-7.0, -1.0, -0.5, 0.5, 1.0, 7.0]).expand(1, 3, 2, 6)
    assert to_pixels(image)[0, 0, :, 0].tolist() == [0, 0, 64, 191, 255, 255]


def test_non_contiguous_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)[:, ::-1][:, :6]
    assert np.array_equal(to_pixels(to_tensor(pixels))[0], pixels)


def test_a_portrait_is_sharpened_by_what_sampling_between_pixels_takes() -> None:
    rng = np.random.default_rng(4)
    noise = rng.integers(90, 160, (64, 64, 3), np.uint8)
    flat = np.full((64, 64, 3), 120, np.uint8)

    def energy(picture: torch.Tensor) -> float:
        return float(picture.diff(dim=3).square().mean())

    def between(picture: torch.Tensor) -> torch.Tensor:  # a third of a pixel to the right
        return picture[..., 1:] * 0.33 + picture[..., :-1] * 0.67

    assert torch.allclose(portrait_tensor(flat), to_tensor(flat), atol=1e-6)
    plain, crisp = to_tensor(noise), portrait_tensor(noise)
    assert abs(float((crisp - plain).mean())) < 1e-3, "no brighter, no darker"
    assert energy(between(plain)) < 0.7 * energy(plain)
    assert energy(between(crisp)) > 1.4 * energy(between(plain))
    assert portrait_tensor(rng.integers(0, 256, (2, 32, 32, 3), np.uint8)).abs().max() <= 1


@torch.no_grad()
def test_official_networks_get_portraits_as_they_are() -> None:
    torch.manual_seed(0)
    model = LIA(LIAConfig(size=32, width=0.0625, latent_dim=32))
    pixels = np.random.default_rng(4).integers(0, 256, (32, 32, 3), np.uint8)
    plain, crisp = (
        model.encode_appearance(picture) for picture in (to_tensor(pixels), portrait_tensor(pixels))
    )
    assert torch.equal(model.encode_portrait(pixels).latent, plain.latent)
    model.directions = (Direction("yaw"), *model.directions[1:])
    assert torch.equal(model.encode_portrait(pixels).latent, crisp.latent)
    assert not torch.equal(crisp.latent, plain.latent)
