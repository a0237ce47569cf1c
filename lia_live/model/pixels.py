"""The one place where uint8 pictures become network tensors and back (spec section 9)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_tensor(pixels: NDArray[np.uint8], device: torch.device | str = "cpu") -> Tensor:
    """(S, S, 3) or (B, S, S, 3) uint8 RGB -> (B, 3, S, S) float32 in [-1, 1]."""
    batch = pixels[None] if pixels.ndim == 3 else pixels
    tensor = torch.from_numpy(np.ascontiguousarray(batch)).to(device)
    return tensor.permute(0, 3, 1, 2).float() / 127.5 - 1.0


def to_pixels(image: Tensor) -> NDArray[np.uint8]:
    """(B, 3, S, S) -> (B, S, S, 3) uint8 RGB by the fixed map; values outside [-1, 1] are clamped.

    The reference demo stretches contrast by the whole clip's own minimum and maximum: neither causal nor stable.
    """
    scaled = image.detach().float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy()
