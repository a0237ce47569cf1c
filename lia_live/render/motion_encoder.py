"""Picture to motion coefficients, everything constant folded: what runs on every camera frame."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn

from lia_live.model.layers import GAIN, Blur, EqualConv2d, EqualLinear, FusedLeakyReLU, ResBlock
from lia_live.model.lia import LIA
from lia_live.render.kernels import CHANNELS_LAST, Conv

Part = TypeVar("Part", bound=nn.Module)


class MotionEncoder:
    """The encoder and its motion head (spec sections 4, 11), without the features that only an avatar needs.

    Exact: scales, sqrt(2) gains and biases are folded into the weights (a leaky ReLU passes positive factors
    through); everything after the last activation is one affine map, folded in float64.
    """

    def __init__(self, model: LIA, device: torch.device, dtype: torch.dtype, fused: bool) -> None:
        self.device, self.dtype = device, dtype
        config = model.config
        convs = list(model.enc.net_app.convs)
        first, head = convs[0], convs[-1]
        assert isinstance(first, nn.Sequential) and isinstance(head, EqualConv2d)
        weight, bias = activated(first)
        size = config.size
        self._first = Conv(
            (weight / 127.5).to(device, dtype), bias.to(device, dtype), fused=fused,
            input_shape=(1, 3, size, size),
        )  # fmt: skip
        self._blocks = [
            _Block(block, size >> index, device, dtype, fused)
            for index, block in enumerate(b for b in convs if isinstance(b, ResBlock))
        ]
        matrix, offset = _affine(head, model.enc.fc)
        self._matrix = matrix.float().to(device)  # (4 * 4 * C, motion_dim)
        self._offset = offset.float().to(device)

    def __call__(self, pixels: Tensor) -> Tensor:
        """(N, S, S, 3) uint8 RGB on the device -> (N, motion_dim) float32."""
        x = pixels.permute(0, 3, 1, 2)  # (N, 3, S, S), channels last as it came
        x = self._first(
            x.to(self.dtype, memory_format=CHANNELS_LAST).sub_(127.5)
        )  # exact in bf16 too
        for block in self._blocks:
            x = block(x)
        flat = x.permute(0, 2, 3, 1).reshape(x.shape[0], -1).float()  # (N, 4 * 4 * C)
        return torch.addmm(self._offset, flat, self._matrix)


class _Block:
    """One ResBlock: (N, C_in, r, r) -> (N, C_out, r/2, r/2)."""

    def __init__(
        self, block: ResBlock, size: int, device: torch.device, dtype: torch.dtype, fused: bool
    ) -> None:
        def conv(weight: Tensor, bias: Tensor | None, side: int, **options: int) -> Conv:
            groups = options.get("groups", 1)
            shape = (1, weight.shape[1] * groups, side, side)
            weight, bias = (
                weight.to(device, dtype),
                None if bias is None else bias.to(device, dtype),
            )
            return Conv(
                weight, bias, leaky=bias is not None, fused=fused, input_shape=shape, **options
            )

        weight, bias = activated(block.conv1)
        inputs = weight.shape[0]
        self._conv1 = conv(weight, bias, size, padding=1)
        kernel = _kernel(block.conv2).expand(inputs, 1, 4, 4)
        self._blur = conv(kernel, None, size, padding=2, groups=inputs)
        # (conv2 + skip) / sqrt(2): on conv2 it cancels the activation's gain
        weight, bias = activated(block.conv2, gain=1.0)
        self._conv2 = conv(weight, bias, size + 1, stride=2)
        kernel = _kernel(block.skip).expand(inputs, 1, 4, 4)
        self._skip_blur = conv(kernel, None, size, padding=1, stride=2, groups=inputs)
        skip = _only(block.skip, EqualConv2d)
        self._skip = conv(scaled(skip) / math.sqrt(2), None, size // 2)

    def __call__(self, x: Tensor) -> Tensor:
        main = self._conv2(self._blur(self._conv1(x)))
        return self._skip.plus(self._skip_blur(x), main)


def scaled(conv: EqualConv2d) -> Tensor:
    """The weight as it acts, float64 on cpu."""
    return conv.weight.detach().double().cpu() * conv.scale


def activated(layer: nn.Module, gain: float = GAIN) -> tuple[Tensor, Tensor]:
    """Weight and bias (C_out,) of a convolution layer, with the activation's gain folded in; float64, cpu."""
    bias = _only(layer, FusedLeakyReLU).bias.detach().double().cpu().flatten()
    return scaled(_only(layer, EqualConv2d)) * gain, bias * gain


def _kernel(layer: nn.Module) -> Tensor:
    return _only(layer, Blur).kernel.detach().double().cpu()[None, None]


def _affine(head: EqualConv2d, layers: nn.Sequential) -> tuple[Tensor, Tensor]:
    """The 4x4 convolution and the five linear layers as one map of the (4, 4, C) positions, float64."""
    convolution = scaled(head)  # (latent, C, 4, 4)
    matrix = convolution.permute(2, 3, 1, 0).flatten(0, 2)  # (4 * 4 * C, latent)
    offset = torch.zeros(matrix.shape[1], dtype=torch.float64)
    for layer in _linears(layers):
        weight = layer.weight.detach().double().cpu() * layer.scale
        matrix, offset = matrix @ weight.T, offset @ weight.T + layer.bias.detach().double().cpu()
    return matrix, offset


def _linears(layers: nn.Sequential) -> Iterator[EqualLinear]:
    for layer in layers:
        assert isinstance(layer, EqualLinear)
        yield layer


def _only(layer: nn.Module, kind: type[Part]) -> Part:
    (found,) = (part for part in layer.children() if isinstance(part, kind))
    return found
