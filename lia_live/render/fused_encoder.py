"""``MotionEncoder`` for NVIDIA GPUs and batches: convolutions by cuDNN, one Triton kernel for what lies between two."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lia_live.model.layers import EqualConv2d, ResBlock
from lia_live.model.lia import LIA
from lia_live.render.folding import activated, only, scaled, whole_head
from lia_live.render.fused import activate, blur, lift, places
from lia_live.render.kernels import CHANNELS_LAST


class FusedEncoder:
    """(N, S, S, 3) uint8 RGB on the device -> (N, motion_dim) float32. Folded as ``MotionEncoder`` is."""

    def __init__(self, model: LIA, device: torch.device, dtype: torch.dtype) -> None:
        self._dtype = dtype
        convs = list(model.enc.net_app.convs)
        weight, bias = activated(convs[0])  # (C, 3, 1, 1)
        self._first = (weight[:, :, 0, 0] / 127.5).T.float().contiguous().to(device)  # (3, C)
        self._first_bias = bias.float().to(device)
        self._blocks = [_Block(b, device, dtype) for b in convs if isinstance(b, ResBlock)]
        head, offset = whole_head(model)
        matrix = head.permute(2, 3, 1, 0).flatten(0, 2)  # (4 * 4 * C, motion_dim)
        self._matrix = matrix.float().to(device)
        self._offset = offset.float().to(device)

    def __call__(self, pixels: Tensor) -> Tensor:
        x = lift(pixels, self._first, self._first_bias, self._dtype)  # (N, S, S, C)
        for block in self._blocks:
            x = block(x)
        return torch.addmm(self._offset, x.flatten(1).float(), self._matrix)


class _Block:
    """One ResBlock: (N, r, r, C_in) -> (N, r/2, r/2, C_out)."""

    def __init__(self, block: ResBlock, device: torch.device, dtype: torch.dtype) -> None:
        def weight_of(weight: Tensor) -> Tensor:
            return weight.to(device, dtype).contiguous(memory_format=CHANNELS_LAST)

        weight, bias = activated(block.conv1)
        self._weight1, self._bias1 = weight_of(weight), bias.float().to(device)
        # (conv2 + skip) / sqrt(2): on conv2 it cancels the activation's gain
        weight, bias = activated(block.conv2, gain=1.0)
        self._weight2, self._bias2 = weight_of(weight), bias.float().to(device)
        skip = scaled(only(block.skip, EqualConv2d))[:, :, 0, 0] / math.sqrt(2)
        self._skip = skip.T.contiguous().to(device, dtype)  # (C_in, C_out)

    def __call__(self, x: Tensor) -> Tensor:
        main = places(F.conv2d(x.permute(0, 3, 1, 2), self._weight1, padding=1))
        main = blur(main, pad=2, before=self._bias1)  # (N, r + 1, r + 1, C_in)
        main = places(F.conv2d(main.permute(0, 3, 1, 2), self._weight2, stride=2))
        activate(main, self._bias2)
        beside = blur(x, pad=1, stride=2).flatten(0, 2)  # (N * (r/2)², C_in)
        main.flatten(0, 2).addmm_(beside, self._skip)
        return main
