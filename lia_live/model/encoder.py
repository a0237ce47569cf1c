"""The encoder E and the motion head (spec section 4). One set of weights serves avatar and driver."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lia_live.model.config import LIAConfig
from lia_live.model.layers import ConvLayer, EqualConv2d, EqualLinear, ResBlock


class AppearanceEncoder(nn.Module):
    """Picture to latent code, keeping a feature map per level."""

    def __init__(self, config: LIAConfig) -> None:
        super().__init__()
        c = config.channels
        self.convs = nn.ModuleList([ConvLayer(3, c(config.size), 1)])
        resolution = config.size
        while resolution > 4:
            self.convs.append(ResBlock(c(resolution), c(resolution // 2)))
            resolution //= 2
        self.convs.append(EqualConv2d(c(4), config.latent_dim, 4))

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(B, 3, S, S) in [-1, 1] -> latent (B, latent_dim), features (B, C(r), r, r) for r = 8, 16, ..., S."""
        x = x.contiguous(memory_format=torch.channels_last)
        maps: list[Tensor] = []
        for conv in self.convs:
            x = conv(x)
            maps.append(x)
        latent = maps[-1].reshape(x.shape[0], -1)
        return latent, tuple(reversed(maps[:-2]))  # the 4x4 map and the code itself are not warped


class Encoder(nn.Module):
    """``net_app`` encodes appearance; ``fc`` reads the motion coefficients off the code."""

    def __init__(self, config: LIAConfig) -> None:
        super().__init__()
        n = config.latent_dim
        self.net_app = AppearanceEncoder(config)
        # No activation between them: one affine map, factored because the official weights are.
        self.fc = nn.Sequential(
            *[EqualLinear(n, n) for _ in range(4)], EqualLinear(n, config.motion_dim)
        )
