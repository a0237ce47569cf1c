"""From two pictures of one mesh to where each pixel of the one lies in the other."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from lia_live.puppet import mesh
from lia_live.puppet.maps import continued_at_edges, pixel_middles
from lia_live.puppet.raster import Raster

SEAM: Final = 0.02
"""Neighbours whose places in the source are so far apart (sides) lie on two sides of a seam."""
HIDDEN_BEHIND: Final = 0.035
"""A point counts as hidden in the source if it lies this much behind what is seen there (sides)."""


def correspondence(
    target: Raster, source: Raster, points: Tensor, shows: Tensor, goes_on: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Displacement (B, 2, R, R) from a target pixel to its place in the source, and validity (B, 1, R, R) bool.

    ``points`` (B, V, 3): vertices of the source, fractions of the side; ``shows`` (T,) bool: triangles whose
    stuff is in the source at all. Valid where that place is inside the picture and not hidden there.

    ``goes_on`` (B,) bool: outside this source is what ``continued_at_edges`` says, and it is found there. That is so
    where the portrait itself is the source; a source that performs has moved what lies at its edge.
    """
    place = target.interpolate(points)  # (B, 3, R, R)
    depth = source.interpolate(points[..., 2:])  # (B, 1, R, R) of what the source shows
    grid = (place[:, :2] * 2 - 1).permute(0, 2, 3, 1)
    there = functional.grid_sample(
        depth, grid, mode="nearest", padding_mode="border", align_corners=False
    )
    outside = ((place[:, :2] < 0) | (place[:, :2] > 1)).any(1, keepdim=True)
    continued = outside & (False if goes_on is None else goes_on.view(-1, 1, 1, 1))
    place[:, :2] = torch.where(continued, continued_at_edges(place[:, :2]), place[:, :2])
    valid = (shows[target.triangle.clamp(min=0)] & (target.triangle >= 0))[:, None] & torch.where(
        outside, continued, place[:, 2:] <= there + HIDDEN_BEHIND
    )
    return place[:, :2] - pixel_middles(target.triangle.shape[-1], points.device), valid


def seams(displacement: Tensor, valid: Tensor) -> Tensor:
    """(B, 1, R, R) bool: pixels beside which something else is seen that lies ``SEAM`` or more away in the source.

    Lips and lids that shut there hide what is between; a flow that is less steep shows it, squeezed into a line.
    ``displacement``: (B, 2, R, R) in sides; ``valid``: (B, 1, R, R) bool, where it means something.
    """
    out = torch.zeros_like(valid)
    for axis in (2, 3):
        count = valid.shape[axis] - 1
        places = [displacement.narrow(axis, start, count) for start in (0, 1)]
        known = valid.narrow(axis, 0, count) & valid.narrow(axis, 1, count)
        jump = ((places[1] - places[0]).abs().amax(1, keepdim=True) > SEAM) & known
        for start in (0, 1):
            out.narrow(axis, start, count).logical_or_(jump)
    return out


def region_weights(target: Raster, regions: Tensor) -> Tensor:
    """(B, 1, R, R): the weight of what each pixel shows, ``mesh.REGION_WEIGHTS``, scaled to a mean of 1."""
    table = torch.tensor(mesh.REGION_WEIGHTS, device=regions.device)[regions]
    weights = table[target.triangle.clamp(min=0)][:, None]
    return weights / weights.mean((2, 3), keepdim=True)
