"""The network step by step as the paper has it: slow, and what the fast formulation is measured against.

Same parameters, same function as ``lia_live.model``; nothing folded, nothing skipped, every gain and scale where
it is written down. Tests compare gradients with it, ``throughput`` compares times.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lia_live.model.encoder import AppearanceEncoder
from lia_live.model.layers import (
    DEMODULATION_EPS,
    GAIN,
    LEAK,
    EqualConv2d,
    EqualLinear,
    FusedLeakyReLU,
    ModulatedConv2d,
    ResBlock,
    StyledConv,
    ToFlow,
    ToRGB,
    fir,
    fir_kernel,
    fir_upsample,
)
from lia_live.model.synthesis import Synthesis, warp
from lia_live.train.teacher import Teacher


class PlainTeacher(Teacher):
    """A ``Teacher`` that computes the plain way."""

    def _encode(self, picture: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        return encode(self.model.enc.net_app, picture)

    def _decode(self, w: Tensor, features: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        return decode(self.model.dec, w, features)


def encode(net: AppearanceEncoder, picture: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """(B, 3, S, S) -> latent (B, latent_dim), features for r = 8, 16, ..., S, as ``net`` itself."""
    first, *blocks, head = net.convs
    maps = [_leaky(_conv(picture, first), first)]
    for block in blocks:
        assert isinstance(block, ResBlock)
        x = maps[-1]
        main = _leaky(_conv(x, block.conv1), block.conv1)
        main = _leaky(_conv(_blurred(main, 2), block.conv2, stride=2), block.conv2)
        maps.append((main + _conv(_blurred(x, 1), block.skip, stride=2)) / math.sqrt(2))
    latent = _conv(maps[-1], head, padding=0).flatten(1)
    return latent, tuple(reversed(maps[:-1]))


def decode(
    net: Synthesis, w: Tensor, features: tuple[Tensor, ...]
) -> tuple[list[Tensor], list[Tensor]]:
    """(B, latent_dim), features -> picture (B, 3, r, r), raw flow and mask of every level, as ``net`` itself."""
    x = _styled(net.input.input.expand(w.shape[0], -1, -1, -1), w, net.conv1)
    kernel = fir_kernel(4.0).to(w)
    raws: list[Tensor] = []
    pictures: list[Tensor] = []
    for level, feature in enumerate(features):
        to_flow, to_rgb = net.to_flows[level], net.to_rgbs[level]
        assert isinstance(to_flow, ToFlow) and isinstance(to_rgb, ToRGB)
        x = _styled(_styled(x, w, net.convs[2 * level]), w, net.convs[2 * level + 1])
        raw = _modulated(x, w, to_flow.conv, demodulate=False).to(w.dtype) + to_flow.bias
        if raws:
            raw = raw + fir_upsample(raws[-1], kernel)
        raws.append(raw)
        mask = torch.sigmoid(raw[:, 2:3])
        warped = warp(feature.to(w.dtype), torch.tanh(raw[:, :2])) * mask
        colour = _leaky(_conv(warped, to_rgb.conv), to_rgb.conv) + to_rgb.bias
        pictures.append(colour + fir_upsample(pictures[-1], kernel) if pictures else colour)
        x = warped + (1 - mask) * x
    return pictures, raws


def _blurred(x: Tensor, pad: int) -> Tensor:
    return fir(x, fir_kernel().to(x), pad)


def _conv(x: Tensor, layer: nn.Module, stride: int = 1, padding: int | None = None) -> Tensor:
    """The layer's convolution alone; padded to keep the size unless strided."""
    (conv,) = (part for part in layer.modules() if isinstance(part, EqualConv2d))
    if padding is None:
        padding = conv.weight.shape[-1] // 2 if stride == 1 else 0
    return F.conv2d(x, conv.weight * conv.scale, stride=stride, padding=padding)


def _leaky(x: Tensor, layer: nn.Module) -> Tensor:
    (activate,) = (part for part in layer.modules() if isinstance(part, FusedLeakyReLU))
    return F.leaky_relu(x + activate.bias, LEAK) * GAIN


def _styled(x: Tensor, w: Tensor, layer: nn.Module) -> Tensor:
    assert isinstance(layer, StyledConv)
    return _leaky(_modulated(x, w, layer.conv), layer)


def _modulated(x: Tensor, w: Tensor, conv: ModulatedConv2d, demodulate: bool = True) -> Tensor:
    style = _linear(w, conv.modulation)  # (B, C_in)
    weight = conv.weight[0] * conv.scale
    x = x * style[:, :, None, None]
    if conv.up:
        x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    else:
        x = F.conv2d(x, weight, padding=conv.padding)
    if demodulate:
        energy = style.square() @ weight.square().sum((2, 3)).T  # (B, C_out)
        x = x * torch.rsqrt(energy + DEMODULATION_EPS)[:, :, None, None].to(x.dtype)
    return fir(x, fir_kernel(4.0).to(x), 1) if conv.up else x


def _linear(x: Tensor, layer: EqualLinear) -> Tensor:
    return F.linear(x, layer.weight * layer.scale, layer.bias)
