"""The layers LIA is built from (spec section 3). Attribute names are the official state_dict's.

All tensors are float, (B, C, H, W), channels last in memory. Every scale, FIR pad and gain below is part of the
trained weights' meaning: changing one breaks parity, which ``tests/model/test_parity.py`` would say.

Under autocast the large maps and the convolutions are in the lower precision; styles, demodulation, flow and
colour stay in the parameters' own. Leaky ReLU passes positive factors through, so gains are folded into weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lia_live.model.halving import halve

LEAK = 0.2
"""Slope of every leaky ReLU."""
GAIN = math.sqrt(2.0)
"""Keeps the variance through a leaky ReLU."""
DEMODULATION_EPS = 1e-8


def fir_kernel(gain: float = 1.0) -> Tensor:
    """The (4, 4) binomial low-pass: outer([1, 3, 3, 1]) / 64, times ``gain`` (4 after zero insertion)."""
    taps = (1.0, 3.0, 3.0, 1.0)
    return torch.tensor([[a * b / 64.0 * gain for b in taps] for a in taps])


def unit_normal(*shape: int) -> nn.Parameter:
    """A weight before training. On the device "meta" (a file follows) it is its shape alone.

    Arithmetic on that device makes torch import its compiler: more than a second of every start.
    """
    start = torch.empty(shape)
    return nn.Parameter(start if start.is_meta else start.normal_())


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


def folds(x: Tensor) -> bool:
    """Whether the FIR is folded into the convolution beside it: the same sum, one kernel instead of two or three.

    On a CPU both take as long, and the larger convolution rounds bf16 differently.
    """
    return x.is_cuda


def with_fir(weight: Tensor) -> Tensor:
    """(O, I, k, k) -> (O, I, k + 3, k + 3): the convolution with ``weight`` before or behind the FIR as one."""
    # a cache is no part of a compiled graph
    spread = _spread if torch.compiler.is_compiling() else _kept_spread
    both: Tensor = weight.flatten(2) @ spread(weight.shape[-1], weight.device)
    return both.view(*weight.shape[:2], weight.shape[-1] + 3, weight.shape[-1] + 3)


def _spread(size: int, device: torch.device) -> Tensor:
    """(k², (k + 3)²): every tap of a k x k kernel, filtered. Made on the device: nothing is copied there."""
    place = torch.arange(size + 3, device=device) - torch.arange(size, device=device)[:, None]
    inner, outer = (place == 1) | (place == 2), (place == 0) | (place == 3)
    row = inner * 0.375 + outer * 0.125  # (k, k + 3): 1, 3, 3, 1 from the diagonal on
    return torch.kron(row, row)


@lru_cache(maxsize=8)
def _kept_spread(size: int, device: torch.device) -> Tensor:
    return _spread(size, torch.device("cpu")).to(device)  # copied: there when any stream reads it


def exact(x: Tensor) -> torch.autocast:
    """Where autocast does not reach: half a pixel at the border is lost in bf16."""
    return torch.autocast(x.device.type, enabled=False)


def mix(x: Tensor, weight: Tensor) -> Tensor:
    """1x1 convolution to a few planes: (B, C, r, r), (B or 1, P, C) -> (B, P, r, r)."""
    rows = x.permute(0, 2, 3, 1).flatten(1, 2)  # (B, r², C), no copy if channels last
    mixed = rows @ weight.to(x.dtype).transpose(1, 2)  # (B, r², P)
    planes: Tensor = mixed.transpose(1, 2).unflatten(2, x.shape[2:])
    return planes


class EqualConv2d(nn.Module):
    """Convolution whose unit-normal weight is scaled by 1/sqrt(fan-in) at run time."""

    def __init__(
        self, inputs: int, outputs: int, size: int, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__()
        self.weight = unit_normal(outputs, inputs, size, size)
        self.scale = 1 / math.sqrt(inputs * size**2)
        self.stride = stride
        self.padding = padding

    def forward(self, x: Tensor, bias: Tensor | None = None, gain: float = 1.0) -> Tensor:
        """gain · (conv(x) + bias), bias (1, C_out, 1, 1)."""
        return F.conv2d(x, *self._scaled(bias, gain), self.stride, self.padding)

    def halving(self, x: Tensor, pad: int, bias: Tensor | None = None, gain: float = 1.0) -> Tensor:
        """The same at every second place of ``x`` filtered with ``pad`` zeros on each side, in one kernel."""
        weight, bias = self._scaled(bias, gain)
        return F.conv2d(x, with_fir(weight), bias, stride=2, padding=pad)

    def _scaled(self, bias: Tensor | None, gain: float) -> tuple[Tensor, Tensor | None]:
        return self.weight * (self.scale * gain), None if bias is None else bias.flatten() * gain


class EqualLinear(nn.Module):
    """Affine map with the same run-time scale; the bias is not scaled. Never in lower precision."""

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = unit_normal(outputs, inputs)
        self.bias = nn.Parameter(torch.full((outputs,), bias))
        self.scale = 1 / math.sqrt(inputs)

    def forward(self, x: Tensor) -> Tensor:
        with exact(x):
            return F.linear(x.to(self.weight.dtype) * self.scale, self.weight, self.bias)


class FusedLeakyReLU(nn.Module):
    """sqrt(2) · leaky ReLU(x + bias), for an x that the caller has already given the bias and the gain.

    Works in place: a convolution does not need its own output to find its gradient.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu_(x, LEAK)


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


class HalvingBlur(Blur):
    """The FIR in front of a 1x1 convolution of stride 2: only the samples that it reads are computed."""

    def __init__(self) -> None:
        super().__init__(pad=1)

    def forward(self, x: Tensor) -> Tensor:
        return halve(x, self.kernel)


class Upsample(nn.Module):
    """(B, C, r, r) -> (B, C, 2r, 2r) through the FIR."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", fir_kernel(4.0))

    def forward(self, x: Tensor) -> Tensor:
        with exact(x):
            return fir_upsample(x, self.kernel)


class ConvLayer(nn.Sequential):
    """Blur (if ``down``), convolution, activation; the positions are the state_dict's indices."""

    def __init__(self, inputs: int, outputs: int, size: int, *, down: bool = False) -> None:
        if down:
            before: list[nn.Module] = [Blur(pad=(size + 1) // 2)]  # r + 1 for 3x3
            conv = EqualConv2d(inputs, outputs, size, stride=2)
        else:
            before = []
            conv = EqualConv2d(inputs, outputs, size, padding=size // 2)
        super().__init__(*before, conv, FusedLeakyReLU(outputs))

    def parts(self) -> tuple[EqualConv2d, FusedLeakyReLU]:
        """What follows the blur."""
        conv, activate = self[-2], self[-1]
        assert isinstance(conv, EqualConv2d) and isinstance(activate, FusedLeakyReLU)
        return conv, activate

    def forward(self, x: Tensor, gain: float = GAIN) -> Tensor:
        conv, activate = self.parts()
        blurs = all_of(Blur, self)
        if blurs and folds(x):
            x = conv.halving(x, blurs[0].pad, activate.bias, gain)
        else:
            for blur in blurs:
                x = blur(x)
            x = conv(x, activate.bias, gain)
        activated: Tensor = activate(x)
        return activated


class ResBlock(nn.Module):
    """(B, C_in, r, r) -> (B, C_out, r/2, r/2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = ConvLayer(inputs, inputs, 3)
        self.conv2 = ConvLayer(inputs, outputs, 3, down=True)
        self.skip = nn.Sequential(HalvingBlur(), EqualConv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(conv2(conv1(x)) + skip(x)) / sqrt(2)"""
        main: Tensor = self.conv2(self.conv1(x), gain=GAIN / math.sqrt(2))
        blur, conv = self.skip
        assert isinstance(blur, Blur) and isinstance(conv, EqualConv2d)
        gain = 1 / math.sqrt(2)
        beside = conv.halving(x, blur.pad, gain=gain) if folds(x) else conv(blur(x), gain=gain)
        out: Tensor = main + beside
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
        up: bool = False,
    ) -> None:
        super().__init__()
        self.weight = unit_normal(1, outputs, inputs, size, size)
        self.modulation = EqualLinear(latent_dim, inputs, bias=1.0)
        self.scale = 1 / math.sqrt(inputs * size**2)
        self.padding = size // 2
        self.up = up
        if up:
            self.blur = Blur(pad=1, gain=4.0)

    def forward(self, x: Tensor, latent: Tensor, bias: Tensor, gain: float) -> Tensor:
        """gain · (conv(x) + bias), bias (1, C_out, 1, 1)."""
        style = self.modulation(latent)  # (B, C_in)
        weight = self.weight[0] * self.scale  # (C_out, C_in, k, k)
        x = x * style[:, :, None, None].to(x.dtype)
        if self.up and folds(x):
            both = with_fir(4.0 * weight).transpose(0, 1)
            x = F.conv_transpose2d(x, both, stride=2, padding=2)  # (B, C_out, 2r, 2r)
        elif self.up:
            # (B, C_out, 2r + 1, 2r + 1)
            x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
            x = self.blur(x)  # (B, C_out, 2r, 2r)
        else:
            x = F.conv2d(x, weight, padding=self.padding)
        scale = gain * demodulation(style, weight)[:, :, None, None]
        return torch.addcmul((bias * gain).to(x.dtype), x, scale.to(x.dtype))

    def styled_weight(self, latent: Tensor) -> Tensor:
        """(B, C_out, C_in) of a 1x1 convolution that is not demodulated."""
        style = self.modulation(latent)  # (B, C_in)
        weight: Tensor = self.weight[:, :, :, 0, 0] * self.scale * style[:, None]
        return weight


def demodulation(style: Tensor, weight: Tensor) -> Tensor:
    """(B, C_in), (C_out, C_in, k, k) already scaled -> (B, C_out): one over the norm of each modulated filter."""
    with exact(style):
        energy = weight.square().sum((2, 3))  # (C_out, C_in)
        return torch.rsqrt(style.square() @ energy.T + DEMODULATION_EPS)


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
        x = self.noise(self.conv(x, latent, self.activate.bias, GAIN))
        activated: Tensor = self.activate(x)
        return activated


class ToRGB(nn.Module):
    """Warped features to colour, added to the coarser picture: (B, C, r, r) -> (B, 3, r, r).

    ``project`` and ``forward`` are two steps because warping and masking may come in between: they act on
    places, the projection on channels.
    """

    def __init__(self, channels: int, *, upsample: bool = True) -> None:
        super().__init__()
        if upsample:
            self.upsample = Upsample()
        self.conv = ConvLayer(channels, 3, 1)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def project(self, x: Tensor) -> Tensor:
        """(B, C, r, r) -> (B, 3, r, r) in the parameters' precision, not yet biased or activated."""
        conv, _ = self.conv.parts()
        return mix(x, conv.weight[None, :, :, 0, 0] * conv.scale).to(self.bias.dtype)

    def forward(self, projected: Tensor, coarser: Tensor | None) -> Tensor:
        _, activate = self.conv.parts()
        rgb: Tensor = activate((projected + activate.bias) * GAIN) + self.bias
        return rgb if coarser is None else rgb + self.upsample(coarser)


class ToFlow(nn.Module):
    """Decoder features to the raw flow and mask: (B, C, r, r) -> (B, 3, r, r), neither tanh nor sigmoid yet."""

    def __init__(self, channels: int, latent_dim: int) -> None:
        super().__init__()
        self.upsample = Upsample()
        self.conv = ModulatedConv2d(channels, 3, 1, latent_dim)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor, latent: Tensor, coarser: Tensor | None) -> Tensor:
        raw = mix(x, self.conv.styled_weight(latent)).to(self.bias.dtype) + self.bias
        return raw if coarser is None else raw + self.upsample(coarser)
