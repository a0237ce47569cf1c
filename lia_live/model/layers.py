"""The layers LIA is built from (spec section 3). Attribute names are the official state_dict's.

All tensors are float NCHW. Every scale, FIR pad and gain below is part of the trained weights' meaning:
changing one breaks parity, which ``tests/model/test_parity.py`` would say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAK = 0.2
"""Slope of every leaky ReLU."""
GAIN = math.sqrt(2.0)
"""Keeps the variance through a leaky ReLU."""
DEMODULATION_EPS = 1e-8


def fir_kernel(gain: float = 1.0) -> Tensor:
    """The (4, 4) binomial low-pass: outer([1, 3, 3, 1]) / 64, times ``gain`` (4 after zero insertion)."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return torch.outer(taps, taps) / 64.0 * gain


def fir(x: Tensor, kernel: Tensor, pad: int) -> Tensor:
    """Filter each channel: (B, C, r, r) -> (B, C, r + 2·pad - 3, r + 2·pad - 3), zeros outside."""
    channels = x.shape[1]
    weight = kernel.to(x.dtype).expand(channels, 1, 4, 4)
    return F.conv2d(x, weight, padding=pad, groups=channels)


def fir_upsample(x: Tensor, kernel: Tensor) -> Tensor:
    """Zero insertion, pad (2, 1) and the filter in one: (B, C, r, r) -> (B, C, 2r, 2r)."""
    channels = x.shape[1]
    weight = kernel.to(x.dtype).expand(channels, 1, 4, 4)
    return F.conv_transpose2d(x, weight, stride=2, padding=1, groups=channels)


class EqualConv2d(nn.Module):
    """Convolution whose unit-normal weight is scaled by 1/sqrt(fan-in) at run time."""

    def __init__(
        self, inputs: int, outputs: int, size: int, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.scale = 1 / math.sqrt(inputs * size**2)
        self.stride = stride
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, stride=self.stride, padding=self.padding)


class EqualLinear(nn.Module):
    """Affine map with the same run-time scale; the bias is not scaled."""

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.full((outputs,), bias))
        self.scale = 1 / math.sqrt(inputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias)


class FusedLeakyReLU(nn.Module):
    """sqrt(2) · leaky ReLU(x + bias)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x + self.bias, LEAK) * GAIN


Kind = TypeVar("Kind", bound=nn.Module)


def all_of(kind: type[Kind], modules: Iterable[nn.Module]) -> list[Kind]:
    """Those of ``modules`` that are of one kind, in order and with their type known."""
    return [module for module in modules if isinstance(module, kind)]


class Blur(nn.Module):
    """The FIR low-pass with ``pad`` zeros on each side; ``gain`` 4 behind a transposed convolution."""

    kernel: Tensor

    def __init__(self, pad: int, gain: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("kernel", fir_kernel(gain))
        self.pad = pad

    def forward(self, x: Tensor) -> Tensor:
        return fir(x, self.kernel, self.pad)


class Upsample(nn.Module):
    """(B, C, r, r) -> (B, C, 2r, 2r) through the FIR."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", fir_kernel(4.0))

    def forward(self, x: Tensor) -> Tensor:
        return fir_upsample(x, self.kernel)


def conv_layer(
    inputs: int, outputs: int, size: int, *, down: bool = False, activate: bool = True
) -> nn.Sequential:
    """Blur (if ``down``), convolution, activation; the positions are the state_dict's indices."""
    parts: list[nn.Module] = []
    if down:
        parts.append(Blur(pad=(size + 1) // 2))  # 3x3: 2, 1x1: 1
        parts.append(EqualConv2d(inputs, outputs, size, stride=2))
    else:
        parts.append(EqualConv2d(inputs, outputs, size, padding=size // 2))
    if activate:
        parts.append(FusedLeakyReLU(outputs))
    return nn.Sequential(*parts)


class ResBlock(nn.Module):
    """(B, C_in, r, r) -> (B, C_out, r/2, r/2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = conv_layer(inputs, inputs, 3)
        self.conv2 = conv_layer(inputs, outputs, 3, down=True)
        self.skip = conv_layer(inputs, outputs, 1, down=True, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = (self.conv2(self.conv1(x)) + self.skip(x)) / math.sqrt(2)
        return out


class ModulatedConv2d(nn.Module):
    """Convolution whose input channels are scaled by a style and whose outputs are demodulated.

    Written as scale-in, shared convolution, scale-out: equal to per-sample weights, kinder to batches.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        latent_dim: int,
        *,
        demodulate: bool = True,
        up: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, size, size))
        self.modulation = EqualLinear(latent_dim, inputs, bias=1.0)
        self.scale = 1 / math.sqrt(inputs * size**2)
        self.padding = size // 2
        self.demodulate = demodulate
        self.up = up
        if up:
            self.blur = Blur(pad=1, gain=4.0)

    def forward(self, x: Tensor, latent: Tensor) -> Tensor:
        style = self.modulation(latent)  # (B, C_in)
        weight = self.weight[0] * self.scale  # (C_out, C_in, k, k)
        x = x * style[:, :, None, None]
        if self.up:
            # (B, C_out, 2r + 1, 2r + 1)
            x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
        else:
            x = F.conv2d(x, weight, padding=self.padding)
        if self.demodulate:
            x = x * demodulation(style, weight)[:, :, None, None].to(x.dtype)
        return self.blur(x) if self.up else x  # up: (B, C_out, 2r, 2r)


def demodulation(style: Tensor, weight: Tensor) -> Tensor:
    """(B, C_in), (C_out, C_in, k, k) already scaled -> (B, C_out): one over the norm of each modulated filter."""
    energy = weight.float().square().sum((2, 3))  # (C_out, C_in)
    return torch.rsqrt(style.float().square() @ energy.T + DEMODULATION_EPS)


class Noise(nn.Module):
    """An identity. The official network never passes noise, but its checkpoints carry the key."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x


class StyledConv(nn.Module):
    """Modulated 3x3 convolution, (no) noise, activation."""

    def __init__(self, inputs: int, outputs: int, latent_dim: int, *, up: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(inputs, outputs, 3, latent_dim, up=up)
        self.noise = Noise()
        self.activate = FusedLeakyReLU(outputs)

    def forward(self, x: Tensor, latent: Tensor) -> Tensor:
        activated: Tensor = self.activate(self.noise(self.conv(x, latent)))
        return activated


class ToRGB(nn.Module):
    """Warped features to colour, added to the coarser picture: (B, C, r, r) -> (B, 3, r, r)."""

    def __init__(self, channels: int, *, upsample: bool = True) -> None:
        super().__init__()
        if upsample:
            self.upsample = Upsample()
        self.conv = conv_layer(channels, 3, 1)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor, coarser: Tensor | None) -> Tensor:
        rgb: Tensor = self.conv(x) + self.bias
        return rgb if coarser is None else rgb + self.upsample(coarser)


class ToFlow(nn.Module):
    """Decoder features to the raw flow and mask: (B, C, r, r) -> (B, 3, r, r), neither tanh nor sigmoid yet."""

    def __init__(self, channels: int, latent_dim: int) -> None:
        super().__init__()
        self.upsample = Upsample()
        self.conv = ModulatedConv2d(channels, 3, 1, latent_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor, latent: Tensor, coarser: Tensor | None) -> Tensor:
        # float: bf16 would be half a pixel at the border
        raw: Tensor = self.conv(x, latent).float() + self.bias
        return raw if coarser is None else raw + self.upsample(coarser)
