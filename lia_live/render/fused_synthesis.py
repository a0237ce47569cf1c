"""``FastSynthesis`` for NVIDIA GPUs and batches of any avatars: cuDNN's convolutions, one Triton kernel behind each.

Weights are the network's alone, styles go onto the activations: one convolution serves a batch of avatars.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lia_live.model.layers import DEMODULATION_EPS, GAIN, StyledConv, ToFlow, ToRGB
from lia_live.model.lia import LIA, Look
from lia_live.model.synthesis import Synthesis
from lia_live.render.fast_synthesis import LEVELS_OF_GREY
from lia_live.render.folding import (
    Styles,
    activated,
    constant_input,
    numbers,
    styled_bias,
    styled_weight,
)
from lia_live.render.fused import Finish, Styled, activate, blur, finish, places
from lia_live.render.kernels import CHANNELS_LAST

FIR_GAIN = 4.0
"""Behind zero insertion."""


@dataclass(frozen=True)
class FusedAvatar:
    """What the renderer keeps of one avatar."""

    owner: object
    """The synthesis that made it; no other can read it."""
    start: Tensor
    """(4·4·C,) fp32: the constant input convolved with this avatar's style at zero coefficients."""
    styles: Tensor
    """(L·M,) fp32: all styles at zero coefficients, each padded with zeros to the longest."""
    features: Tensor
    """All maps but the finest, each (r, r, C) flattened, in the precision of the convolutions."""
    colours: Tensor
    """(S, S, 4) fp32: the finest map projected to three channels, ready to be coloured; the fourth is empty."""

    @property
    def tensors(self) -> list[Tensor]:
        """All that it holds, in an order that is the same for every avatar of a synthesis."""
        return [self.start, self.styles, self.features, self.colours]

    @property
    def bytes_held(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors)


class FusedSynthesis:
    """The decoder. ``dtype``: of the convolutions and of the features; all else is fp32."""

    def __init__(self, model: LIA, device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        decoder = model.dec
        self._styles = Styles(model)
        styled = [decoder.conv1, *(c for c in decoder.convs if isinstance(c, StyledConv))]
        self._rows, self._longest = len(styled), max(self._styles.sizes)
        self._response = self._padded(self._styles.response).float().T.contiguous().to(device)
        first = self._styles.sizes[0]
        self._start = constant_input(decoder)  # (16·C(4), C(4))
        start_response = self._start @ self._styles.response[:first]
        self._start_response = start_response.float().T.contiguous().to(device)
        # 1/d² = energy · style² + eps, d = sqrt(2) / norm of a modulated filter: of all of them in one product
        energy = torch.zeros(self._rows, self._longest, self._longest, dtype=torch.float64)
        for row, layer in enumerate(styled):
            of_one = styled_weight(layer.conv).square().sum((2, 3)).T / GAIN**2  # (C_in, C_out)
            energy[row, : of_one.shape[0], : of_one.shape[1]] = of_one
        self._energy = energy.float().to(device)
        self._eps = torch.full((1, 1, 1), DEMODULATION_EPS / GAIN**2, device=device)
        self._bias = (styled_bias(decoder.conv1) * GAIN).float().to(device)
        self._channels = [model.config.channels(r) for r in model.config.resolutions()]
        self._resolutions = model.config.resolutions()
        last = len(self._resolutions) - 1
        self._levels = [
            _Level(decoder, index, device, dtype, last=index == last) for index in range(last + 1)
        ]

    def load(self, look: Look) -> FusedAvatar:
        """Prepare an avatar of batch 1."""
        styles = self._styles.of(look.latent[0])
        *coarse, finest = (f.detach().float().to(self._device) for f in look.features)
        projected = F.conv2d(finest, self._levels[-1].finish.colour[:, :, None, None])
        flat = [f[0].permute(1, 2, 0).to(self._dtype).flatten() for f in coarse]
        return FusedAvatar(
            owner=self,
            start=(self._start @ styles[: self._styles.sizes[0]]).float().to(self._device),
            styles=self._padded(styles[:, None])[:, 0].float().to(self._device),
            features=torch.cat(flat),
            colours=F.pad(projected, (0, 0, 0, 0, 0, 1))[0].permute(1, 2, 0).contiguous(),
        )

    def __call__(self, avatars: Sequence[Tensor], alpha: Tensor) -> Tensor:
        """Avatars' ``tensors`` stacked, (B, motion_dim) float32 -> (B, S, S, 3) uint8 RGB, on the device."""
        start, base, features, colours = avatars
        batch = len(alpha)
        styles = torch.addmm(base, alpha, self._response)  # (B, L·M)
        squares = styles[:, : self._rows * self._longest].square()
        squares = squares.view(batch, self._rows, self._longest).transpose(0, 1)
        demods = torch.baddbmm(self._eps, squares, self._energy).rsqrt_()  # (13, B, M)
        x = torch.addmm(start, alpha, self._start_response).view(batch, 4, 4, -1)
        styled = Styled(demods[0], self._bias, self._row(styles, 1))
        x = activate(x, styled=styled, dtype=self._dtype)
        planes: Tensor | None = None
        at = 0
        for index, (level, r) in enumerate(zip(self._levels, self._resolutions, strict=True)):
            if level.last:
                feature, following = colours, None
            else:
                size = r * r * self._channels[index]
                feature = features[:, at : at + size].unflatten(1, (r, r, -1))
                at += size
                following = self._row(styles, 2 * index + 3)
            x, planes = level(
                x, feature, planes, demods[2 * index + 1], demods[2 * index + 2],
                self._row(styles, 2 * index + 2),
                self._row(styles, self._styles.first_flow + index), following,
            )  # fmt: skip
        return x

    def _row(self, styles: Tensor, index: int) -> Tensor:
        """(B, L·M) -> (B, M): one style of all avatars."""
        return styles[:, index * self._longest : (index + 1) * self._longest]

    def _padded(self, rows: Tensor) -> Tensor:
        """(T, N), all styles one after the other -> (L·M, N), each padded with zeros."""
        parts = rows.split(self._styles.sizes)
        return torch.cat([F.pad(p, (0, 0, 0, self._longest - len(p))) for p in parts])


class _Level:
    """One resolution: two styled convolutions, flow and mask, warp, colour."""

    def __init__(
        self, decoder: Synthesis, index: int, device: torch.device, dtype: torch.dtype, *, last: bool
    ) -> None:  # fmt: skip
        self.last = last
        up, flat = decoder.convs[2 * index], decoder.convs[2 * index + 1]
        flow, colour = decoder.to_flows[index], decoder.to_rgbs[index]
        assert isinstance(up, StyledConv) and isinstance(flat, StyledConv)
        assert isinstance(flow, ToFlow) and isinstance(colour, ToRGB)
        weight = styled_weight(up.conv).transpose(0, 1).to(device, dtype)  # (C_in, C_out, 3, 3)
        self._up = weight.contiguous(memory_format=CHANNELS_LAST)
        weight = styled_weight(flat.conv).to(device, dtype)
        self._flat = weight.contiguous(memory_format=CHANNELS_LAST)
        self._up_bias = (styled_bias(up) * GAIN).float().to(device)
        # tanh(x) = 2·sigmoid(2x) - 1: with the flow rows doubled, a sigmoid squashes flow and mask alike
        twice = torch.tensor([2.0, 2.0, 1.0], dtype=torch.float64)
        weight, bias = activated(colour.conv, GAIN * LEVELS_OF_GREY)
        offset = numbers(colour.bias).flatten() * LEVELS_OF_GREY
        if last:
            offset = offset + LEVELS_OF_GREY
        offsets = torch.cat((numbers(flow.bias).flatten() * twice, offset))
        self.finish = Finish(
            bias=(styled_bias(flat) * GAIN).float().to(device),
            flow=(styled_weight(flow.conv)[:, :, 0, 0] * twice[:, None]).float().to(device),
            colour=weight[:, :, 0, 0].float().contiguous().to(device),
            colour_bias=bias.float().to(device),
            offsets=offsets.float().to(device),
        )

    def __call__(
        self, x: Tensor, feature: Tensor, coarser: Tensor | None, up_demod: Tensor,
        flat_demod: Tensor, flat_style: Tensor, flow_style: Tensor, next_style: Tensor | None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Styled input (B, r/2, r/2, C), planes (B, 6, r/2, r/2) -> the next level's (or the picture), at r."""
        x = places(F.conv_transpose2d(x.permute(0, 3, 1, 2), self._up, stride=2))  # r + 1
        x = blur(x, pad=1, gain=FIR_GAIN, after=Styled(up_demod, self._up_bias, flat_style))
        x = places(F.conv2d(x.permute(0, 3, 1, 2), self._flat, padding=1))
        return finish(x, feature, coarser, self.finish, flat_demod, flow_style, next_style)
