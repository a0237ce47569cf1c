"""Small networks and pictures that every engine is tried on, and what the plain model makes of them."""

from __future__ import annotations

import numpy as np
import torch

from lia_live.model import LIA, LIAConfig, Look, to_pixels, to_tensor

CONFIGS = {
    "tiny": LIAConfig(size=32, width=0.0625, latent_dim=16, motion_dim=4),
    "small": LIAConfig(size=64, width=0.25, latent_dim=64, motion_dim=20),
}


def random_network(config: LIAConfig, seed: int = 0) -> LIA:
    """Untrained, but with every parameter off its neutral value and flows of a few pixels."""
    generator = torch.Generator().manual_seed(seed)
    network = LIA(config).eval().requires_grad_(False)
    for name, parameter in network.named_parameters():
        drawn = torch.randn(parameter.shape, generator=generator)
        if name.endswith("modulation.bias"):
            drawn = 1 + 0.1 * drawn
        elif name.endswith("bias"):
            drawn = 0.1 * drawn
        elif name.startswith("dec.to_flows") and name.endswith("conv.weight"):
            drawn = 0.2 * drawn
        parameter.copy_(drawn)
    return network


def pictures(config: LIAConfig, count: int, seed: int = 1) -> np.ndarray:
    """Smooth colourful noise, (count, S, S, 3) uint8."""
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(coarse, size=(config.size,) * 2, mode="bicubic")
    return to_pixels(smooth * 2 - 1)


def look_of(network: LIA, picture: np.ndarray) -> Look:
    with torch.no_grad():
        return network.encode_appearance(to_tensor(picture))


def expected(network: LIA, look: Look, alpha: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        return network.render(look, torch.from_numpy(alpha))
