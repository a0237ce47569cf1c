"""The parity network and fixture, built once a session: 45 M numbers take seconds."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lia_live.model import LIA, LIAConfig, Look
from tests.model.recipe import DATA, state_dict


@cache
def official_state(size: int) -> dict[str, Tensor]:
    """An official checkpoint's "gen", drawn by the recipe. Not to be written to."""
    return state_dict(size)


@cache
def parity_network() -> LIA:
    """The 256 network with the recipe's weights, eval mode."""
    with torch.device("meta"):
        network = LIA(LIAConfig())
    network.load_state_dict(official_state(256), strict=True, assign=True)
    return network.eval().requires_grad_(False)


@cache
def fixture() -> dict[str, Any]:
    """Outputs of the reference model (spec section 17)."""
    with np.load(DATA / "lia_parity_256.npz") as file:
        return {name: file[name] for name in file.files}


def picture(name: str) -> Tensor:
    """src, drv0 or drv1 -> (1, 3, 256, 256), by the fixture's own rounding."""
    pixels = (fixture()[f"{name}_u8"].astype(np.float64) / 255).astype(np.float32)
    return torch.from_numpy(pixels).sub(0.5).mul(2).permute(2, 0, 1)[None]


@cache
def parity_look() -> Look:
    """The source of the fixture, encoded."""
    with torch.no_grad():
        return parity_network().encode_appearance(picture("src"))
