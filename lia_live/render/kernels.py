"""Convolutions with constants folded in and the leaky ReLU fused behind.

On x86 torch's oneDNN operators take weights in the library's own layout and apply the activation while the
result is still in registers; elsewhere the same arithmetic runs as ordinary torch calls.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lia_live.model.layers import LEAK

CHANNELS_LAST = torch.channels_last


_ARITHMETIC = {
    torch.bfloat16: "_is_mkldnn_bf16_supported",
    torch.float16: "_is_mkldnn_fp16_supported",
}
"""Who knows whether oneDNN has this type on this processor; fp32 it always has."""


def onednn_works(device: torch.device, dtype: torch.dtype = torch.float32) -> bool:
    """Whether torch has the fused oneDNN operators and they run on ``device`` in ``dtype``."""
    return (
        device.type == "cpu"
        and torch.backends.mkldnn.is_available()
        and all(
            hasattr(torch.ops.mkldnn, name)
            for name in ("_convolution_pointwise", "_convolution_transpose_pointwise")
        )
        and (dtype not in _ARITHMETIC or _says_yes(_ARITHMETIC[dtype]))
    )


def _says_yes(name: str) -> bool:
    return hasattr(torch.ops.mkldnn, name) and bool(getattr(torch.ops.mkldnn, name)())


class Conv:
    """leaky(conv(x, weight) + bias), the activation optional. Weights (C_out, C_in/groups, k, k)."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        leaky: bool = True,
        fused: bool,
        input_shape: tuple[int, int, int, int],
    ) -> None:
        self.bias = bias
        self.stride, self.padding, self.groups = [stride] * 2, [padding] * 2, groups
        self.leaky, self.fused = leaky, fused
        self.weight = weight.contiguous(memory_format=CHANNELS_LAST)
        if fused:
            self.weight = torch.ops.mkldnn._reorder_convolution_weight(
                weight.contiguous(), self.padding, self.stride, [1, 1], groups, list(input_shape)
            )

    def __call__(self, x: Tensor) -> Tensor:
        return convolve(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.groups,
            self.leaky,
            self.fused,
        )

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        """conv(x) + other; no activation."""
        if self.fused:
            added: Tensor = torch.ops.mkldnn._convolution_pointwise.binary(
                x, other, self.weight, self.bias, self.padding, self.stride, [1, 1], self.groups,
                "add", None, None, [], None,
            )  # fmt: skip
            return added
        return F.conv2d(
            x, self.weight, self.bias, self.stride, self.padding, groups=self.groups
        ).add_(other)


class UpConv:
    """Transposed 3x3 convolution of stride 2 with a fixed weight (C_in, C_out, 3, 3): r -> 2r + 1."""

    def __init__(
        self, weight: Tensor, *, fused: bool, input_shape: tuple[int, int, int, int]
    ) -> None:
        self.fused = fused
        self.weight = weight.contiguous()
        if fused:
            self.weight = torch.ops.mkldnn._reorder_convolution_transpose_weight(
                self.weight, [0, 0], [0, 0], [2, 2], [1, 1], 1, list(input_shape)
            )

    def __call__(self, x: Tensor) -> Tensor:
        if self.fused:
            out: Tensor = torch.ops.mkldnn._convolution_transpose_pointwise(
                x, self.weight, None, [0, 0], [0, 0], [2, 2], [1, 1], 1, "none", [], ""
            )
            return out
        return F.conv_transpose2d(x, self.weight, stride=2)


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    groups: int,
    leaky: bool,
    fused: bool,
) -> Tensor:
    """One convolution, activated or not. ``weight`` may be packed (``Conv``) or plain."""
    if fused:
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, weight, bias, padding, stride, [1, 1], groups,
            "leaky_relu" if leaky else "none", [LEAK] if leaky else [], "",
        )  # fmt: skip
        return out
    out = F.conv2d(x, weight, bias, stride, padding, groups=groups)
    return F.leaky_relu_(out, LEAK) if leaky else out
