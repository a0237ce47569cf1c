"""The one place where uint8 pictures become network tensors and back (spec section 9)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

CRISPNESS = 0.5
"""How much of what a 3 x 3 blur takes from a portrait is added to it."""


def to_tensor(pixels: NDArray[np.uint8], device: torch.device | str = "cpu") -> Tensor:
    """(S, S, 3) or (B, S, S, 3) uint8 RGB -> (B, 3, S, S) float32 in [-1, 1]."""
    batch = pixels[None] if pixels.ndim == 3 else pixels
    tensor = torch.from_numpy(np.ascontiguousarray(batch)).to(device)
    return tensor.permute(0, 3, 1, 2).float() / 127.5 - 1.0


def portrait_tensor(pixels: NDArray[np.uint8], device: torch.device | str = "cpu") -> Tensor:
    """As ``to_tensor``, for the picture that will be moved: sharpened by what moving it takes away.

    A warp samples between pixels, which blurs: outputs of the default weights have 0.73 of their source's gradient
    energy, and 0.92 of it if the source was sharpened so, at the same distance from it (L1 0.012 both).
    """
    picture = to_tensor(pixels, device)
    line = picture.new_tensor([0.25, 0.5, 0.25])
    blur = (line[:, None] * line).expand(3, 1, 3, 3)
    framed = functional.pad(picture, (1, 1, 1, 1), mode="replicate")
    soft = functional.conv2d(framed, blur, groups=3)
    return (picture + CRISPNESS * (picture - soft)).clamp(-1, 1)


def to_pixels(image: Tensor) -> NDArray[np.uint8]:
    """(B, 3, S, S) -> (B, S, S, 3) uint8 RGB by the fixed map; values outside [-1, 1] are clamped.

    The reference demo stretches contrast by the whole clip's own minimum and maximum: neither causal nor stable.
    """
    scaled = image.detach().float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy()
