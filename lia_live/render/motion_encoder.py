"""Picture to motion coefficients, everything constant folded: what runs on every camera frame."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lia_live.model.layers import EqualConv2d, ResBlock
from lia_live.model.lia import LIA
from lia_live.render.folding import activated, blur_kernel, only, scaled, whole_head
from lia_live.render.kernels import CHANNELS_LAST, Conv


class MotionEncoder:
    """The encoder and its motion head (spec sections 4, 11), without the features that only an avatar needs.

    Exact: scales, sqrt(2) gains and biases are folded into the weights (a leaky ReLU passes positive factors
    through); everything after the last activation is one affine map, folded in float64.
    """

    def __init__(self, model: LIA, device: torch.device, dtype: torch.dtype, fused: bool) -> None:
        self.device, self.dtype = device, dtype
        config = model.config
        convs = list(model.enc.net_app.convs)
        weight, bias = activated(convs[0])
        size = config.size
        self._first = Conv(
            (weight / 127.5).to(device, dtype), bias.to(device, dtype), fused=fused,
            input_shape=(1, 3, size, size),
        )  # fmt: skip
        self._blocks = [
            _Block(block, size >> index, device, dtype, fused)
            for index, block in enumerate(b for b in convs if isinstance(b, ResBlock))
        ]
        head, offset = whole_head(model)
        matrix = head.permute(2, 3, 1, 0).flatten(0, 2)  # (4 * 4 * C, motion_dim)
        self._matrix = matrix.float().to(device)
        self._offset = offset.float().to(device)

    def __call__(self, pixels: Tensor) -> Tensor:
        """(N, S, S, 3) uint8 RGB on the device -> (N, motion_dim) float32."""
        x = pixels.permute(0, 3, 1, 2)  # (N, 3, S, S), channels last as it came
        x = self._first(
            x.to(self.dtype, memory_format=CHANNELS_LAST).sub_(127.5)
        )  # exact in bf16 too
        for block in self._blocks:
            x = block(x)
        flat = x.permute(0, 2, 3, 1).flatten(1).float()  # (N, 4 * 4 * C)
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
        kernel = blur_kernel(block.conv2).expand(inputs, 1, 4, 4)
        self._blur = conv(kernel, None, size, padding=2, groups=inputs)
        # (conv2 + skip) / sqrt(2): on conv2 it cancels the activation's gain
        weight, bias = activated(block.conv2, gain=1.0)
        self._conv2 = conv(weight, bias, size + 1, stride=2)
        kernel = blur_kernel(block.skip).expand(inputs, 1, 4, 4)
        self._skip_blur = conv(kernel, None, size, padding=1, stride=2, groups=inputs)
        skip = only(block.skip, EqualConv2d)
        self._skip = conv(scaled(skip) / math.sqrt(2), None, size // 2)

    def __call__(self, x: Tensor) -> Tensor:
        main = self._conv2(self._blur(self._conv1(x)))
        return self._skip.plus(self._skip_blur(x), main)
