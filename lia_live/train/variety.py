"""More faces than there are portraits: each one again, smoothly bent into somebody of another shape."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from lia_live.puppet.maps import pixel_middles
from lia_live.train.portraits import Portraits, join

STRETCH: Final = 0.06
"""Spread of a face's change of width against its height; natural logarithm."""
BEND: Final = 0.024
"""Spread of the bending at each knot, sides, before its two halves are made alike (which takes a third)."""
ASKEW: Final = 0.3
"""How much of it is not alike on both sides: a face that is bent askew seems to be turned."""
KNOTS: Final = 5
"""Knots of the bending, across and down: features move and change size, edges stay smooth."""


def with_variants(portraits: Portraits, count: int, seed: int = 1) -> Portraits:
    """N portraits, then ``count - 1`` (0 or more) bent versions of all of them, N * count in all, on the CPU.

    Pictures uint8 and landmarks float32 as before; the picture's border stays. 7 ms a version.
    """
    generator = torch.Generator().manual_seed(seed)
    return join([portraits, *(_bent(portraits, generator) for _ in range(count - 1))])


def _bent(portraits: Portraits, generator: torch.Generator) -> Portraits:
    count, side = len(portraits), portraits.side
    knots = BEND * torch.randn(count, 2, KNOTS, KNOTS, generator=generator)
    mirrored = knots.flip(3) * torch.tensor([-1.0, 1.0])[:, None, None]
    knots = (knots + mirrored) / 2 + ASKEW * (knots - mirrored) / 2
    stretch = STRETCH * torch.randn(count, generator=generator)
    images, landmarks = [], []
    for rows in torch.arange(count).split(32):
        shift = _shift(knots[rows], stretch[rows], side)  # to where each pixel comes from
        grid = (pixel_middles(side) + shift) * 2 - 1
        pictures = portraits.images[rows].float()
        bent = functional.grid_sample(
            pictures, grid.permute(0, 2, 3, 1), padding_mode="reflection", align_corners=False
        )
        images.append(bent.round().clamp(0, 255).to(torch.uint8))
        landmarks.append(_moved(portraits.landmarks[rows], shift, side))
    return Portraits(
        torch.cat(images),
        torch.cat(landmarks),
        portraits.names,
        portraits.groups,
        portraits.held_out,
    )


def _shift(knots: Tensor, stretch: Tensor, side: int) -> Tensor:
    """(B, 2, P, P) in sides, nothing at the picture's border."""
    smooth = functional.interpolate(knots, size=(side, side), mode="bicubic", align_corners=True)
    middle = pixel_middles(side) - 0.5
    half = torch.stack([1 - (-stretch).exp(), 1 - stretch.exp()], 1) / 2  # along x, along y
    shift = smooth - half[:, :, None, None] * middle
    inside = (1 - (2 * middle).square()).clamp(min=0)
    return shift * (4 * inside[:1] * inside[1:]).clamp(max=1)


def _moved(landmarks: Tensor, shift: Tensor, side: int) -> Tensor:
    """Landmarks (B, 478, 3) in pixels, where the bent picture has them: p + shift(p) is their old place."""
    old = landmarks[..., :2] / side
    place = old.clone()
    for _ in range(6):  # the shift changes slowly: a fixed point
        grid = (place * 2 - 1)[:, None]
        # (B, 2, 1, 478)
        there = functional.grid_sample(shift, grid, padding_mode="border", align_corners=False)
        place = old - there[:, :, 0].transpose(1, 2)
    return torch.cat([place * side, landmarks[..., 2:]], 2)
