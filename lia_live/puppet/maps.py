"""Maps of places in pictures: fractions of the side, x right and y down."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

DRAWN_OUT: Final = 5.0
CROWN: Final = 0.045
"""This far above the upper edge (sides) hair that it cuts off has closed to a dome."""
EDGE: Final = 0.002
"""Nearer to the edge (sides; half a pixel of 256) the network blends in what is outside, which is nothing."""
JUMP: Final = 0.01
"""An enlarged map of places that is this far (sides) from the nearest place lies on a tear."""


def continued_at_edges(place: Tensor) -> Tensor:
    """Places (B, 2, R, R) in fractions of the side, within [0, 1]: what lies beyond the edges of a portrait.

    Its outermost strip, mirrored and drawn out ``DRAWN_OUT`` times: a plain mirror puts a second head on top of one
    that goes down. Hair that the upper edge cuts off is rounded off within ``CROWN``.
    """
    within = place.clamp(0, 1)
    place = within - (place - within) / DRAWN_OUT
    above = DRAWN_OUT * (place[:, 1:] - within[:, 1:]).clamp(min=0) * (within[:, 1:] == 0)
    spread = (1 - (above / CROWN).square()).clamp(min=1e-10).rsqrt()
    x = 0.5 + (place[:, :1] - 0.5) * spread
    return torch.cat([x, place[:, 1:]], 1).clamp(EDGE, 1 - EDGE)


def pixel_middles(side: int, device: torch.device | str = "cpu") -> Tensor:
    """(2, side, side): x, y of every pixel's middle as fractions of the picture."""
    middle = (torch.arange(side, device=device) + 0.5) / side
    return torch.stack(torch.meshgrid(middle, middle, indexing="xy"))


def resized(maps: Tensor, resolution: int, torn: bool = False) -> Tensor:
    """Maps (B, C, R, R) at another resolution r: (B, C, r, r).

    ``torn``: of places, which jump where lids and lips meet. Half-way between them lies what they hide: an enlarged map
    keeps the nearest there. A reduced one is a mean, also across a tear.
    """
    if maps.shape[-1] == resolution:
        return maps
    if maps.shape[-1] % resolution == 0:
        return functional.avg_pool2d(maps, maps.shape[-1] // resolution)
    size = (resolution, resolution)
    smooth = functional.interpolate(maps, size=size, mode="bilinear", align_corners=False)
    if not torn:
        return smooth
    nearest = functional.interpolate(maps, size=size, mode="nearest")
    jumps = (smooth - nearest).abs().amax(1, keepdim=True) > JUMP
    return torch.where(jumps, nearest, smooth)
