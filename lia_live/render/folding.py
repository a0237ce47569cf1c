"""What the layers' own numbers amount to: scales, gains and constants folded, float64 on the cpu."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lia_live.model.layers import (
    GAIN,
    Blur,
    EqualConv2d,
    EqualLinear,
    FusedLeakyReLU,
    ModulatedConv2d,
    StyledConv,
    ToFlow,
)
from lia_live.model.lia import LIA
from lia_live.model.synthesis import Synthesis

Part = TypeVar("Part", bound=nn.Module)


def numbers(parameter: Tensor) -> Tensor:
    """A parameter as float64 on the cpu, out of reach of gradients."""
    return parameter.detach().double().cpu()


def scaled(conv: EqualConv2d) -> Tensor:
    """The weight as it acts."""
    return numbers(conv.weight) * conv.scale


def activated(layer: nn.Module, gain: float = GAIN) -> tuple[Tensor, Tensor]:
    """Weight and bias (C_out,) of a convolution layer, with the activation's gain folded in."""
    bias = numbers(only(layer, FusedLeakyReLU).bias).flatten()
    return scaled(only(layer, EqualConv2d)) * gain, bias * gain


def blur_kernel(layer: nn.Module) -> Tensor:
    """(1, 1, 4, 4) of the one blur in ``layer``."""
    return numbers(only(layer, Blur).kernel)[None, None]


def only(layer: nn.Module, kind: type[Part]) -> Part:
    """The one child of that kind."""
    (found,) = (part for part in layer.children() if isinstance(part, kind))
    return found


def motion_head(layers: nn.Sequential, size: int) -> tuple[Tensor, Tensor]:
    """The five linear layers as one map: (latent, motion_dim), (motion_dim,). ``size``: of the latent code."""
    matrix = torch.eye(size, dtype=torch.float64)
    offset = torch.zeros(size, dtype=torch.float64)
    for layer in _linears(layers):
        weight = numbers(layer.weight) * layer.scale
        matrix, offset = matrix @ weight.T, offset @ weight.T + numbers(layer.bias)
    return matrix, offset


def whole_head(model: LIA) -> tuple[Tensor, Tensor]:
    """The encoder's last convolution and the motion head in one: (motion_dim, C, 4, 4), (motion_dim,)."""
    head = model.enc.net_app.convs[-1]
    assert isinstance(head, EqualConv2d)
    matrix, offset = motion_head(model.enc.fc, model.config.latent_dim)
    return torch.einsum("lm,lcyx->mcyx", matrix, scaled(head)), offset


def _linears(layers: nn.Sequential) -> Iterator[EqualLinear]:
    for layer in layers:
        assert isinstance(layer, EqualLinear)
        yield layer


# The decoder


def styled_weight(conv: ModulatedConv2d) -> Tensor:
    """(C_out, C_in, k, k) as it acts before modulation."""
    return numbers(conv.weight)[0] * conv.scale


def modulated(layer: nn.Module) -> ModulatedConv2d:
    """The convolution inside a layer that a style steers."""
    assert isinstance(layer, StyledConv | ToFlow)
    return layer.conv


def styled_bias(styled: StyledConv) -> Tensor:
    """(C_out,)"""
    return numbers(styled.activate.bias).flatten()


def modulation(conv: ModulatedConv2d) -> tuple[Tensor, Tensor]:
    """Style as an affine map of the latent code: (C_in, latent), (C_in,)."""
    layer = conv.modulation
    return numbers(layer.weight) * layer.scale, numbers(layer.bias)


def constant_input(decoder: Synthesis) -> Tensor:
    """(16·C_out, C_in), places first: what each input channel of the constant adds to each place of conv1."""
    weight = styled_weight(decoder.conv1.conv)  # (C_out, C_in, 3, 3)
    constant = numbers(decoder.input.input)  # (1, C_in, 4, 4)
    patches = F.unfold(constant, 3, padding=1).view(constant.shape[1], 9, 16)  # (C_in, 9, 16)
    return torch.einsum("oik,ikp->poi", weight.flatten(2), patches).flatten(0, 1)


class Styles:
    """Every style of the decoder as one affine map: of the latent code, and so of the coefficients."""

    def __init__(self, model: LIA) -> None:
        decoder = model.dec
        styled = [decoder.conv1, *decoder.convs]
        self.first_flow = len(styled)
        """Position of the first ``to_flow``'s style; before it the styled convolutions' in order."""
        rows, offsets = zip(
            *(modulation(modulated(layer)) for layer in (*styled, *decoder.to_flows)), strict=True
        )
        self.sizes = [row.shape[0] for row in rows]
        """Length of each style; together T."""
        self.rows = torch.cat(rows)  # (T, latent)
        self.offsets = torch.cat(offsets)  # (T,)
        self.basis = numbers(decoder.direction.basis())  # (latent, motion_dim)
        self.response = self.rows @ self.basis
        """(T, motion_dim): what a coefficient does to every style."""

    def of(self, latent: Tensor) -> Tensor:
        """(latent,) -> (T,): every style of an avatar at zero coefficients."""
        return self.rows @ numbers(latent) + self.offsets
