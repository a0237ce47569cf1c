"""The Triton kernels as functions of tensors. Maps are (B, r, r, C) contiguous."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

BLUR_CHANNELS, BLUR_SIDE = 64, 8
NUMBERS_AT_ONCE = 2048
"""Of a tile that one program holds, in the kernels that read all channels of some places."""


@cache
def fused_works(device: torch.device) -> bool:
    """Whether Triton runs on ``device``: a card that it knows, and a C compiler, which it wants as well."""
    if device.type != "cuda" or torch.version.cuda is None:
        return False
    try:
        if torch.cuda.get_device_capability(device)[0] < 8:
            return False
        with torch.cuda.device(device):  # Triton launches on the current one
            ones = torch.ones((1, 8, 8, 16), device=device)
            return bool((blur(ones, pad=2)[0, 4, 4] == 1).all())
    except Exception:  # it raises anything: from a missing compiler to a driver that is too old
        return False


@dataclass(frozen=True)
class Styled:
    """What turns a modulated convolution's sum into the next one's input: style · leaky(demod · sum + bias)."""

    demod: Tensor
    """(B, C), rows at any distance."""
    bias: Tensor
    """(C,)"""
    style: Tensor
    """(B, C), rows at any distance."""


def places(x: Tensor) -> Tensor:
    """(B, C, r, r) -> (B, r, r, C) contiguous: a view of what lies channels last."""
    return x.permute(0, 2, 3, 1).contiguous()


def lift(pixels: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, S, S, 3) uint8, (3, C), (C,) -> (B, S, S, C): 1x1 convolution of pixels - 127.5, activated."""
    from lia_live.render import triton_kernels

    channels, count = weight.shape[1], pixels.numel() // 3
    out = pixels.new_empty((*pixels.shape[:3], channels), dtype=dtype)
    block = _power(channels)
    at_once = max(1, 2 * NUMBERS_AT_ONCE // block)
    triton_kernels.lift[(_parts(count, at_once),)](
        pixels, weight, bias, out, count, channels, BC=block, PIX=at_once
    )
    return out


def activate(
    x: Tensor, bias: Tensor | None = None, *, styled: Styled | None = None, dtype: torch.dtype | None = None
) -> Tensor:  # fmt: skip
    """leaky(x + bias) in place; or ``styled``, as ``dtype``."""
    from lia_live.render import triton_kernels

    batch, channels = x.shape[0], x.shape[-1]
    count = x.shape[1] * x.shape[2]
    out = x if styled is None else torch.empty_like(x, dtype=dtype)
    if styled is None:
        assert bias is not None
        styled = Styled(bias[None], bias, bias[None])  # two of them are not read
        with_styles = False
    else:
        with_styles = True
    block = _power(channels)
    at_once = max(1, NUMBERS_AT_ONCE // block)
    triton_kernels.activate[(_parts(count, at_once), batch)](
        x, out, styled.bias, styled.demod, styled.style, styled.demod.stride(0),
        styled.style.stride(0), count, channels, STYLED=with_styles, BC=block, PIX=at_once,
    )  # fmt: skip
    return out


def blur(
    x: Tensor, *, pad: int, stride: int = 1, gain: float = 1.0,
    before: Tensor | None = None, after: Styled | None = None,
) -> Tensor:  # fmt: skip
    """The 4x4 FIR. ``before``: a bias, what is filtered is leaky(x + bias); ``after``: what becomes of the result."""
    from lia_live.render import triton_kernels

    batch, side, _, channels = x.shape
    side_out = (side + 2 * pad - 4) // stride + 1
    out = x.new_empty((batch, side_out, side_out, channels))
    block = min(BLUR_CHANNELS, _power(channels))
    tiles = _parts(side_out, BLUR_SIDE)
    bias = before if after is None else after.bias
    demod, style = (x, x) if after is None else (after.demod, after.style)
    triton_kernels.blur[(tiles * tiles, _parts(channels, block), batch)](
        x, out, x if bias is None else bias, demod, style, demod.stride(0), style.stride(0),
        side, side_out, tiles, channels, BEFORE=before is not None, AFTER=after is not None,
        STRIDE=stride, PAD=pad, GAIN=gain, BC=block, SIDE=BLUR_SIDE,
    )  # fmt: skip
    return out


@dataclass(frozen=True)
class Finish:
    """The constants of a level behind its second convolution."""

    bias: Tensor
    """(C,)"""
    flow: Tensor
    """(3, C): flow x and y, doubled, and mask."""
    colour: Tensor
    """(3, C)"""
    colour_bias: Tensor
    """(3,)"""
    offsets: Tensor
    """(6,) of the planes."""


def finish(
    y: Tensor, features: Tensor, coarse: Tensor | None, level: Finish,
    demod: Tensor, flow_style: Tensor, next_style: Tensor | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """What ``triton_kernels.finish`` says. ``next_style`` None: the last level, whose first result is the picture.

    Returns (x or picture, planes).
    """
    from lia_live.render import triton_kernels

    batch, r, _, channels = y.shape
    last = next_style is None
    if last:
        out = y.new_empty((batch, r, r, 3), dtype=torch.uint8)
        planes = out
    else:
        out = torch.empty_like(y)
        planes = y.new_empty((batch, 6, r, r), dtype=torch.float32)
    block = _power(channels)
    at_once = max(1, min(r * r, NUMBERS_AT_ONCE // block))
    triton_kernels.finish[(r * r // at_once, batch)](
        y, features, planes if coarse is None else coarse, planes, out, out,
        demod, level.bias, level.flow, flow_style, flow_style if last else next_style,
        level.colour, level.colour_bias, level.offsets, features.stride(0), demod.stride(0),
        flow_style.stride(0),
        r, channels, FIRST=coarse is None, LAST=last, BC=block, PIX=at_once,
    )  # fmt: skip
    return out, planes


def _power(count: int) -> int:
    """The next power of two."""
    return 1 << (count - 1).bit_length()


def _parts(count: int, size: int) -> int:
    return -(-count // size)
