"""Coefficients to picture, everything constant folded (spec sections 6 and 11).

Per network: equalised scales, gains, the orthonormal directions, and what 20 coefficients do to every style.
Per avatar: what its latent code adds to the styles, its features in sampling layout, the finest level of
them already projected to three channels. Per frame: the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lia_live.model.layers import DEMODULATION_EPS, GAIN, LEAK, StyledConv, ToFlow, ToRGB
from lia_live.model.lia import LIA, Look
from lia_live.model.synthesis import Synthesis
from lia_live.render.folding import (
    Styles,
    activated,
    constant_input,
    numbers,
    styled_bias,
    styled_weight,
)
from lia_live.render.kernels import CHANNELS_LAST, Conv, UpConv, convolve
from lia_live.render.sampling import PlainSampler, Sampler, double, doubling_matrix, to_table

LEVELS_OF_GREY = 127.5
"""Half the uint8 range: colour is accumulated in these units, and 1 is added once at the end."""
HEAVY_WEIGHTS = 4
"""Weights are styled for each frame unless they are this many times more numbers than the activations."""


@dataclass(frozen=True)
class FastAvatar:
    """What the renderer keeps of one avatar."""

    owner: object
    """The synthesis that made it; no other can read it."""
    start: Tensor
    """(C(4)·16,): the constant input convolved with this avatar's style at zero coefficients."""
    styles: Tensor
    """(T,): all styles at zero coefficients."""
    features: tuple[Tensor, ...]
    """One a level, fp32: tables on a cpu (``sampling.to_table``), plain maps elsewhere; the last holds 3 channels,
    ready to be coloured."""

    @property
    def tensors(self) -> list[Tensor]:
        """All that it holds, in an order that is the same for every avatar of a synthesis."""
        return [self.start, self.styles, *self.features]

    @property
    def bytes_held(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors)


class FastSynthesis:
    """The decoder for live use. ``dtype``: of the 3x3 convolutions only."""

    def __init__(self, model: LIA, device: torch.device, dtype: torch.dtype, fused: bool) -> None:
        self.device = device
        decoder = model.dec
        config = model.config
        self._styles = Styles(model)
        first = self._styles.sizes[0]
        self._response = self._styles.response.float().to(device)  # (T, motion_dim)
        self._start = constant_input(decoder)  # (16·C(4), C(4))
        self._start_response = (self._start @ self._styles.response[:first]).float().to(device)
        self._first = _Demodulation(decoder.conv1, device)
        levels = config.resolutions()
        self._levels = [
            _Level(decoder, index, r, device, dtype, fused, last=index == len(levels) - 1)
            for index, r in enumerate(levels)
        ]
        self._dtype = dtype
        self._model_levels = levels

    def load(self, look: Look) -> FastAvatar:
        """Prepare an avatar of batch 1."""
        styles = self._styles.of(look.latent[0])
        *coarse, finest = (f.detach().float().to(self.device) for f in look.features)
        colours = self._levels[-1].colour_weight  # (3, C)
        projected = F.conv2d(finest, colours[:, :, None, None])
        return FastAvatar(
            owner=self,
            start=(self._start @ styles[: self._styles.sizes[0]]).float().to(self.device),
            styles=styles.float().to(self.device),
            features=(
                *(
                    to_table(feature) if level.rows else feature.contiguous()
                    for feature, level in zip(coarse, self._levels[:-1], strict=True)
                ),
                projected.contiguous(),
            ),
        )

    def __call__(self, avatar: FastAvatar, alpha: Tensor) -> Tensor:
        """(motion_dim,) float32 -> (S, S, 3) uint8 RGB, on the device."""
        colour = self.planes(avatar, alpha)[3:]
        return colour.clamp_(0, 255).round_().to(torch.uint8).permute(1, 2, 0)

    def stacked(self, avatars: Sequence[Tensor], alpha: Tensor) -> Tensor:
        """Avatars' ``tensors``, stacked, (B, motion_dim) -> (B, S, S, 3) uint8, one after the other."""
        found = []
        for row, *held in zip(alpha, *avatars, strict=True):
            start, styles, *features = held
            found.append(self(FastAvatar(self, start, styles, tuple(features)), row))
        return torch.stack(found)

    def planes(self, avatar: FastAvatar, alpha: Tensor) -> Tensor:
        """(motion_dim,) -> (6, S, S): raw flow x and y (doubled), raw mask, red, green, blue in 0..255."""
        styles = torch.addmv(avatar.styles, self._response, alpha).split(self._styles.sizes)
        x = torch.addmv(avatar.start, self._start_response, alpha)
        x = x.view(1, 4, 4, -1).permute(0, 3, 1, 2)  # (1, C, 4, 4) channels last
        x = self._first.activate(x, styles[0])
        planes: Tensor | None = None
        for index, (level, feature) in enumerate(zip(self._levels, avatar.features, strict=True)):
            x, planes = level(
                x,
                planes,
                feature,
                styles[2 * index + 1],
                styles[2 * index + 2],
                styles[self._styles.first_flow + index],
            )
        assert planes is not None
        return planes


class _Demodulation:
    """d = sqrt(2) / norm of each modulated filter, and the activation that it belongs to."""

    def __init__(self, styled: StyledConv, device: torch.device) -> None:
        weight = styled_weight(styled.conv)
        energy = weight.square().sum((2, 3)) / GAIN**2  # (C_out, C_in)
        self.energy = energy.float().to(device)
        self.eps = torch.full((weight.shape[0],), DEMODULATION_EPS / GAIN**2, device=device)
        self.bias = (styled_bias(styled) * GAIN).float().to(device)

    def __call__(self, style: Tensor) -> Tensor:
        """(C_in,) -> (C_out,) float32."""
        return torch.addmv(self.eps, self.energy, style.square()).rsqrt_()

    def activate(self, x: Tensor, style: Tensor) -> Tensor:
        """leaky(d · x + bias) of a float32 (1, C, r, r)."""
        d = self(style)[:, None, None]
        return F.leaky_relu_(torch.addcmul(self.bias[:, None, None], x, d), LEAK)


class _Level:
    """One resolution: two styled convolutions, flow and mask, warp, colour."""

    def __init__(
        self, decoder: Synthesis, index: int, resolution: int, device: torch.device,
        dtype: torch.dtype, fused: bool, *, last: bool,
    ) -> None:  # fmt: skip
        up, flat = decoder.convs[2 * index], decoder.convs[2 * index + 1]
        assert isinstance(up, StyledConv) and isinstance(flat, StyledConv)
        self.dtype, self.fused, self.last = dtype, fused, last
        self.up, self.flat = _Demodulation(up, device), _Demodulation(flat, device)
        self.up_bias, self.flat_bias = self.up.bias.to(dtype), self.flat.bias.to(dtype)
        up_weight = styled_weight(up.conv).transpose(0, 1).float().to(device).contiguous()
        flat_weight = styled_weight(flat.conv).float().to(device)
        self.channels = flat_weight.shape[0]
        # Styles go onto the weights or onto the activations, whichever is less to multiply.
        self.styled_weights = flat_weight.numel() < HEAVY_WEIGHTS * self.channels * resolution**2
        if self.styled_weights:
            self.up_weight = up_weight  # (C_in, C_out, 3, 3)
            self.flat_weight = flat_weight.contiguous(memory_format=CHANNELS_LAST)
        else:
            shape = (1, up_weight.shape[0], resolution // 2, resolution // 2)
            self.up_conv = UpConv(up_weight.to(dtype), fused=fused, input_shape=shape)
            self.flat_conv = Conv(
                flat_weight.to(dtype), None, padding=1, leaky=False, fused=fused,
                input_shape=(1, self.channels, resolution, resolution),
            )  # fmt: skip
        self.fir = up.conv.blur.kernel.detach().float().to(device)[None, None]
        flow, colour = decoder.to_flows[index], decoder.to_rgbs[index]
        assert isinstance(flow, ToFlow) and isinstance(colour, ToRGB)
        # tanh(x) = 2·sigmoid(2x) - 1: with the flow rows doubled, one sigmoid squashes flow and mask alike
        twice = torch.tensor([2.0, 2.0, 1.0], dtype=torch.float64)[:, None]
        self.flow_weight = (
            (styled_weight(flow.conv)[:, :, 0, 0] * twice).float().to(device)
        )  # (3, C)
        flow_bias = numbers(flow.bias).view(3, 1) * twice
        weight, bias = activated(colour.conv, GAIN * LEVELS_OF_GREY)
        self.colour_weight = weight[:, :, 0, 0].float().to(device)  # (3, C)
        self.colour_bias = bias.float().to(device).view(3, 1)
        offset = numbers(colour.bias).view(3, 1) * LEVELS_OF_GREY
        if last:
            offset = offset + LEVELS_OF_GREY
        self.offsets = torch.cat((flow_bias, offset)).float().to(device)[..., None]  # (6, 1, 1)
        self.resolution = resolution
        self.sampler = Sampler(resolution, device)
        self.plain_sampler = PlainSampler(resolution, device)
        self.rows = device.type == "cpu"  # how features lie: as rows of channels, or as plain maps
        self.doubling = doubling_matrix(resolution // 2, device)

    def __call__(
        self, x: Tensor, coarser: Tensor | None, feature: Tensor,
        up_style: Tensor, flat_style: Tensor, flow_style: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Activations (1, C, r/2, r/2), planes (6, r/2, r/2) -> the same at r.

        The planes: raw flow x and y (doubled), raw mask, red, green, blue, accumulated from coarse to fine.
        """
        r = self.resolution
        x = self._convolve(x, up_style, flat_style)  # (1, C, r, r)
        rows = x.permute(0, 2, 3, 1).view(r * r, -1)  # (r², C), the same memory
        if coarser is None:
            planes = self.offsets.expand(6, r, r).clone()
        else:
            planes = double(coarser, self.doubling).add_(self.offsets)
        own = torch.mm((self.flow_weight * flow_style).to(self.dtype), rows.T)
        planes[:3] += own.view(3, r, r)
        squashed = torch.sigmoid(planes[:3])
        if self.last:
            colour = self.plain_sampler(feature, squashed).view(3, -1)  # projected when loaded
        else:
            if self.rows:
                warped = self.sampler(feature, squashed)  # (r², C)
            else:
                warped = self.plain_sampler(feature, squashed).flatten(1).T
            colour = torch.mm(self.colour_weight, warped.T)
            # the finest blend is never read
            blended = torch.addcmul(warped, rows.float(), (1 - squashed[2]).view(-1, 1))
            x = blended.reshape(1, r, r, -1).permute(0, 3, 1, 2)
        planes[3:] += F.leaky_relu_(colour.add_(self.colour_bias), LEAK).view(3, r, r)
        return x, planes

    def _convolve(self, x: Tensor, up_style: Tensor, flat_style: Tensor) -> Tensor:
        """(1, C, r/2, r/2) -> (1, C, r, r): the two styled convolutions."""
        if self.styled_weights:
            weight = (self.up_weight * up_style[:, None, None, None]).to(self.dtype)
            x = F.conv_transpose2d(x.to(self.dtype), weight, stride=2)  # (1, C, r + 1, r + 1)
        else:
            x = self.up_conv((x * up_style[:, None, None]).to(self.dtype))
        fir = self.fir * self.up(up_style)[:, None, None, None]  # (C, 1, 4, 4)
        x = convolve(
            x, fir.to(self.dtype), self.up_bias, [1, 1], [1, 1], self.channels, True, self.fused
        )
        if self.styled_weights:
            scale = torch.outer(self.flat(flat_style), flat_style)  # (C_out, C_in)
            weight = (self.flat_weight * scale[:, :, None, None]).to(self.dtype)
            return convolve(x, weight, self.flat_bias, [1, 1], [1, 1], 1, True, self.fused)
        x = self.flat_conv(x * flat_style[:, None, None].to(self.dtype))
        return self.flat.activate(x.float(), flat_style).to(self.dtype)
