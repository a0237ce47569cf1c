"""The decoder (spec section 6): flow and mask per level, warped source features, colour from them alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lia_live.model.config import LIAConfig
from lia_live.model.directions import MotionDictionary
from lia_live.model.layers import StyledConv, ToFlow, ToRGB, unit_normal


class ConstantInput(nn.Module):
    """The learned (1, C(4), 4, 4) start of the decoder."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = unit_normal(1, channels, 4, 4)


def identity_grid(resolution: int, like: Tensor) -> Tensor:
    """(1, r, r, 2) in [-1, 1], x first. Spaced end to end although sampling is not: see ``warp``."""
    axis = torch.linspace(-1, 1, resolution, device=like.device, dtype=torch.float32)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack((x, y), dim=-1)[None]


def warp(features: Tensor, flow: Tensor) -> Tensor:
    """Sample ``features`` (B, C, r, r) at identity + ``flow`` (B, 2, r, r), x first, in half pictures.

    The grid's end points lie on ±1 while ``align_corners=False``, so zero flow magnifies by r/(r-1) and
    blends zeros in at the border. The official weights were trained with it, hence so are ours.
    """
    grid = identity_grid(features.shape[-1], flow) + flow.permute(0, 2, 3, 1)
    return F.grid_sample(
        features.to(grid.dtype),
        grid,
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    )


class Synthesis(nn.Module):
    """Latent code and source features to picture."""

    def __init__(self, config: LIAConfig) -> None:
        super().__init__()
        c, n = config.channels, config.latent_dim
        self.direction = MotionDictionary(config)
        self.input = ConstantInput(c(4))
        self.conv1 = StyledConv(c(4), c(4), n)
        # never called; official checkpoints carry its keys
        self.to_rgb1 = ToRGB(c(4), upsample=False)
        self.convs = nn.ModuleList()
        self.to_flows = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        for r in config.resolutions():
            self.convs.append(StyledConv(c(r // 2), c(r), n, up=True))
            self.convs.append(StyledConv(c(r), c(r), n))
            self.to_flows.append(ToFlow(c(r), n))
            self.to_rgbs.append(ToRGB(c(r)))

    def forward(self, latent: Tensor, features: tuple[Tensor, ...]) -> tuple[Tensor, list[Tensor]]:
        """(B, latent_dim), maps 8..S -> picture (B, 3, S, S), raw flow and mask (B, 3, r, r) of every level."""
        pictures, raws = self.levels(latent, features)
        return pictures[-1], raws

    def levels(
        self, latent: Tensor, features: tuple[Tensor, ...]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """As ``forward``, with the picture (B, 3, r, r) that every level adds its colours to."""
        start = self.input.input.expand(latent.shape[0], -1, -1, -1)
        x = self.conv1(start.contiguous(memory_format=torch.channels_last), latent)
        raw: Tensor | None = None
        pictures: list[Tensor] = []
        raws: list[Tensor] = []
        for level, feature in enumerate(features):
            x = self.convs[2 * level](x, latent)  # (B, C(r), r, r)
            x = self.convs[2 * level + 1](x, latent)
            raw = self.to_flows[level](x, latent, raw)  # (B, 3, r, r)
            raws.append(raw)
            flow, mask = torch.tanh(raw[:, 0:2]), torch.sigmoid(raw[:, 2:3])
            to_rgb = self.to_rgbs[level]
            assert isinstance(to_rgb, ToRGB)
            if (
                level == len(features) - 1
            ):  # nothing reads what would be blended: warp the colours alone
                colour = warp(to_rgb.project(feature), flow)
            else:
                warped = warp(feature, flow).to(x.dtype)  # (B, C(r), r, r)
                colour = to_rgb.project(warped)
                x = torch.lerp(x, warped, mask.to(x.dtype))
            pictures.append(to_rgb(mask * colour, pictures[-1] if pictures else None))
        if not pictures:
            raise ValueError("features must hold at least one level")
        return pictures, raws
