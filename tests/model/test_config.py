from __future__ import annotations

import pytest
import torch

from lia_live.errors import ConfigError
from lia_live.model import LIA, Framing, LIAConfig
from tests.model.recipe import manifest


def test_official_channels():
    config = LIAConfig(size=512)
    assert [config.channels(r) for r in (4, 8, 16, 32, 64, 128, 256, 512)] == [
        512, 512, 512, 512, 256, 128, 64, 32,
    ]  # fmt: skip
    assert config.resolutions() == (8, 16, 32, 64, 128, 256, 512)


def test_width_scales_both_sides_in_steps_of_eight():
    config = LIAConfig(width=0.25)
    assert [config.channels(r) for r in (8, 64, 128, 256)] == [128, 64, 32, 16]
    assert LIAConfig(width=0.0625).channels(256) == 8


@pytest.mark.parametrize("size", [256, 512])
def test_official_keys_and_shapes(size):
    with torch.device("meta"):
        state = LIA(LIAConfig(size=size)).state_dict()
    assert {key: list(value.shape) for key, value in state.items()} == manifest(size)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", 100),
        ("size", 16),
        ("width", 0.01),
        ("width", 3.0),
        ("latent_dim", 4),
        ("motion_dim", 0),
        ("motion_dim", 513),
    ],
)
def test_out_of_range_names_the_field(field, value):
    with pytest.raises(ConfigError, match=f"model.{field}"):
        LIAConfig(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"), [("kind", "body"), ("eye_distance", 1.0), ("eye_x", -0.1), ("eye_y", 1.1)]
)
def test_framing_out_of_range_names_the_field(field, value):
    with pytest.raises(ConfigError, match=f"framing.{field}"):
        Framing(**{field: value})


def test_wrong_picture_and_coefficients_are_told():
    network = LIA(LIAConfig(size=32, width=0.0625, latent_dim=8, motion_dim=4))
    with pytest.raises(ConfigError, match=r"\(B, 3, 32, 32\)"):
        network.encode_motion(torch.zeros(1, 3, 64, 64))
    look = network.encode_appearance(torch.zeros(1, 3, 32, 32))
    with pytest.raises(ConfigError, match=r"\(B, 4\)"):
        network.render(look, torch.zeros(1, 20))
