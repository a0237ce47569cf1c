"""The two halves of the network as graphs, said once in words that every graph engine has its own way to do.

The torch engine runs the same arithmetic call by call; OpenVINO and ONNX want it drawn first and run later.
Everything that no frame changes is folded (``folding``). Maps are (N, C, r, r), vectors (N, K) float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from lia_live.model.layers import (
    DEMODULATION_EPS,
    GAIN,
    EqualConv2d,
    ResBlock,
    StyledConv,
    ToFlow,
    ToRGB,
)
from lia_live.model.lia import LIA
from lia_live.render.folding import (
    Styles,
    activated,
    blur_kernel,
    modulated,
    numbers,
    only,
    scaled,
    styled_bias,
    styled_weight,
)

Value = TypeVar("Value")


class Ops(Protocol[Value]):
    """What a graph is drawn with. ``Value``: an edge of the engine's graph. Weights come in float64, on the cpu."""

    def convolution(
        self, x: Value, weight: Tensor, bias: Tensor | None = None, *, stride: int = 1, padding: int = 0,
        leaky: bool = False,
    ) -> Value:  # fmt: skip
        """leaky(conv(x, weight) + bias); weight (C_out, C_in, k, k), bias (C_out,). The heavy work."""
        ...

    def up_convolution(self, x: Value, weight: Tensor) -> Value:
        """Transposed, stride 2: weight (C_in, C_out, 3, 3), r -> 2r + 1. Heavy too."""
        ...

    def blur(self, x: Value, kernel: Tensor, channels: int, *, stride: int, padding: int) -> Value:
        """The same (1, 1, 4, 4) filter on every channel."""
        ...

    def add(self, a: Value, b: Value) -> Value:
        """Two maps, or two vectors."""
        ...

    def styled(self, x: Value, style: Value) -> Value:
        """x · style, a vector of one number a channel."""
        ...

    def activation(self, x: Value, scale: Value, bias: Tensor) -> Value:
        """leaky(scale · x + bias); scale a vector, bias (C,)."""
        ...

    def affine(self, vector: Value, matrix: Tensor, offset: Tensor | None = None) -> Value:
        """(N, K) -> (N, J): vector @ matrix + offset, matrix (K, J)."""
        ...

    def demodulation(self, style: Value, energy: Tensor, eps: float) -> Value:
        """1 / sqrt(style² @ energy + eps); energy (C_in, C_out)."""
        ...

    def split(self, vector: Value, sizes: Sequence[int]) -> list[Value]:
        """(N, T) -> one (N, size) each."""
        ...

    def planes(self, x: Value, weight: Tensor, bias: Tensor) -> Value:
        """1x1 convolution to a few planes, float32: weight (P, C), bias (P,)."""
        ...

    def projected(self, sampled: Value, weight: Tensor) -> Value:
        """The same for what ``sample`` returned."""
        ...

    def double(self, planes: Value, resolution: int) -> Value:
        """(N, P, r, r) -> (N, P, 2r, 2r), float32: zero insertion and the FIR."""
        ...

    def sample(self, feature: Value, raw: Value, resolution: int, *, channels: int) -> Value:
        """Features where identity + tanh(raw[:, :2]) points, float32: ``model.synthesis.warp``.

        ``feature``: in the engine's own layout.
        """
        ...

    def mask(self, raw: Value) -> Value:
        """sigmoid(raw[:, 2]), (N, 1, r, r)."""
        ...

    def masked(self, x: Value, mask: Value) -> Value:
        """mask · x."""
        ...

    def blend(self, x: Value, warped: Value, mask: Value) -> Value:
        """x + mask · (warped - x)."""
        ...

    def coloured(self, planes: Value, bias: Tensor, offset: Tensor) -> Value:
        """leaky(planes + bias) + offset, float32; both (3,)."""
        ...


def encoder(ops: Ops[Value], model: LIA, picture: Value, unit: float) -> tuple[Value, list[Value]]:
    """(N, 3, S, S) in [-unit, unit] -> the 4x4 map that the heads read, and the feature maps, coarse to fine.

    Gains pass through a leaky ReLU and are in the weights before it (spec section 11).
    """
    first, *blocks, _ = model.enc.net_app.convs
    weight, bias = activated(first)
    x = ops.convolution(picture, weight / unit, bias, leaky=True)
    maps = [x]
    for block in blocks:
        assert isinstance(block, ResBlock)
        x = _halved(ops, block, x)
        maps.append(x)
    return x, maps[-2::-1]


def _halved(ops: Ops[Value], block: ResBlock, x: Value) -> Value:
    """(N, C_in, r, r) -> (N, C_out, r/2, r/2)."""
    weight, bias = activated(block.conv1)
    channels = weight.shape[0]
    main = ops.convolution(x, weight, bias, padding=1, leaky=True)
    main = ops.blur(main, blur_kernel(block.conv2), channels, stride=1, padding=2)
    # (conv2 + skip) / sqrt(2): on conv2 it cancels the activation's gain
    weight, bias = activated(block.conv2, gain=1.0)
    main = ops.convolution(main, weight, bias, stride=2, leaky=True)
    skip = ops.blur(x, blur_kernel(block.skip), channels, stride=2, padding=1)
    skip = ops.convolution(skip, scaled(only(block.skip, EqualConv2d)) / math.sqrt(2))
    return ops.add(skip, main)


def synthesis(
    ops: Ops[Value], model: LIA, styles: Value, start: Value, features: Sequence[Value]
) -> Value:
    """Picture (N, 3, S, S), about [-1, 1], float32, not clamped.

    ``styles``: (N, T), all of them (``folding.Styles``). ``start``: (N, C(4), 4, 4), what conv1 makes of the
    constant at these styles (``folding.constant_input``), not yet demodulated. ``features``: coarse to fine, the
    finest already projected to colour (``projection``).
    """
    decoder, config = model.dec, model.config
    table = Styles(model)
    each = ops.split(styles, table.sizes)
    x = _activated(ops, decoder.conv1, start, each[0])
    raw: Value | None = None
    colour: Value | None = None
    levels = config.resolutions()
    for level, r in enumerate(levels):
        up, flat = decoder.convs[2 * level], decoder.convs[2 * level + 1]
        assert isinstance(up, StyledConv) and isinstance(flat, StyledConv)
        up_style, flat_style = each[2 * level + 1], each[2 * level + 2]
        x = ops.styled(x, up_style)
        x = ops.up_convolution(x, styled_weight(up.conv).transpose(0, 1))  # (N, C, r + 1, r + 1)
        kernel = numbers(up.conv.blur.kernel)[None, None]
        x = ops.blur(x, kernel, config.channels(r), stride=1, padding=1)  # (N, C, r, r)
        x = _activated(ops, up, x, up_style)
        x = ops.convolution(ops.styled(x, flat_style), styled_weight(flat.conv), padding=1)
        x = _activated(ops, flat, x, flat_style)
        to_flow, to_rgb = decoder.to_flows[level], decoder.to_rgbs[level]
        assert isinstance(to_flow, ToFlow) and isinstance(to_rgb, ToRGB)
        steered = ops.styled(x, each[table.first_flow + level])
        weight = styled_weight(modulated(to_flow))[:, :, 0, 0]
        own = ops.planes(steered, weight, numbers(to_flow.bias).flatten())
        raw = own if raw is None else ops.add(own, ops.double(raw, r // 2))
        mask = ops.mask(raw)
        last = r == config.size
        width = 3 if last else config.channels(r)
        warped = ops.sample(features[level], raw, r, channels=width)
        weight, bias = activated(to_rgb.conv)
        shown = warped if last else ops.projected(warped, weight[:, :, 0, 0])
        shown = ops.coloured(ops.masked(shown, mask), bias, numbers(to_rgb.bias).flatten())
        colour = shown if colour is None else ops.add(shown, ops.double(colour, r // 2))
        if not last:  # the finest blend is never read
            x = ops.blend(x, warped, mask)
    assert colour is not None
    return colour


def _activated(ops: Ops[Value], styled: StyledConv, x: Value, style: Value) -> Value:
    """The end of a styled convolution: demodulation, bias, activation, with the activation's gain inside."""
    energy = styled_weight(styled.conv).square().sum((2, 3)) / GAIN**2  # (C_out, C_in)
    scale = ops.demodulation(style, energy.T, DEMODULATION_EPS / GAIN**2)
    return ops.activation(x, scale, styled_bias(styled) * GAIN)


def projection(model: LIA) -> Tensor:
    """(3, C(S)): the finest features' way to colour, which may be gone before they are warped."""
    last = model.dec.to_rgbs[-1]
    assert isinstance(last, ToRGB)
    weight, _ = activated(last.conv)
    return weight[:, :, 0, 0]


def by_channel(places: Tensor) -> Tensor:
    """(16·C, ...) of ``folding.constant_input``, places first -> channels first, as maps lie: (C·16, ...)."""
    return places.view(16, -1, *places.shape[1:]).transpose(0, 1).flatten(0, 1)


def identity(resolution: int) -> Tensor:
    """(1, 2, r, r): the identity grid in [-1, 1], x first."""
    axis = torch.linspace(-1, 1, resolution, dtype=torch.float64)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack((x, y))[None]
