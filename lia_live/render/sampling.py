"""Warping and doubling, in the forms that a CPU does fastest; equal to ``model/`` within rounding.

``Sampler`` gathers whole rows of channels, where grid_sample walks one channel at a time; ``PlainSampler`` is
grid_sample, the better tool for three channels and on a GPU; ``double`` is the FIR without zero insertion.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lia_live.model.synthesis import identity_grid

BORDER = 3
"""Zero rows and columns in all: one before, two after, so the right and lower neighbour always exists."""
FAR_AND_NEAR = (0.25, 0.75)
"""The FIR after zero insertion: each new sample takes this much of its two neighbours."""


def to_table(features: Tensor) -> Tensor:
    """(1, C, r, r) -> ((r + 3)², C): rows are positions."""
    padded = F.pad(features, (1, BORDER - 1, 1, BORDER - 1))
    return padded[0].permute(1, 2, 0).reshape(-1, features.shape[1]).contiguous()


class Sampler:
    """Samples tables of one resolution where a flow points: ``model.synthesis.warp`` times the mask."""

    def __init__(self, resolution: int, device: torch.device) -> None:
        self.resolution = resolution
        grid = identity_grid(resolution, torch.empty(0))[0].permute(2, 0, 1).double()  # (2, r, r)
        # g - 1 + 2s for s = 0..1 is the place; in pixels, align_corners=False: ((place + 1)·r - 1)/2;
        # plus one for the border.
        self._base = ((grid * resolution + 1) / 2).float().contiguous().to(device)
        self._stride = resolution + BORDER
        corners = (0, 1, self._stride, self._stride + 1)
        self._corners = torch.tensor(corners, dtype=torch.int32, device=device)[:, None]
        self._bags = torch.arange(0, 4 * resolution**2, 4, dtype=torch.int32, device=device)

    def __call__(self, table: Tensor, squashed: Tensor) -> Tensor:
        """((r + 3)², C), (3, r, r) -> mask · sampled, (r², C). ``squashed``: (flow + 1)/2 in half pictures, mask."""
        # Farther out than one pixel is zero all the same, and stays inside the table.
        position = torch.add(self._base, squashed[:2], alpha=self.resolution)
        position.clamp_(0, self.resolution + 1)
        corner = position.floor()
        after = position.sub_(corner)  # weights of the right and lower neighbours
        before = 1 - after
        first = torch.add(corner[0], corner[1], alpha=self._stride).to(
            torch.int32
        )  # exact below 2^24
        # By planes, then transposed once: a last dimension of 4 is slow to compute along.
        index = (first.view(1, -1) + self._corners).T.contiguous()  # (r², 4)
        x = torch.stack((before[0], after[0]))  # (2, r, r)
        y = torch.stack((before[1], after[1])).mul_(squashed[2])
        weight = (
            (y[:, None] * x[None]).view(4, -1).T.contiguous()
        )  # (r², 4), ordered as the corners
        sampled: Tensor = torch.embedding_bag(
            table, index.view(-1), self._bags, False, 0, False, weight.view(-1)
        )[0]
        return sampled


class PlainSampler:
    """The same over plain maps, as planes."""

    def __init__(self, resolution: int, device: torch.device) -> None:
        grid = identity_grid(resolution, torch.empty(0, device=device))
        self._base = grid.permute(0, 3, 1, 2).contiguous() - 1  # (1, 2, r, r)

    def __call__(self, planes: Tensor, squashed: Tensor) -> Tensor:
        """(1, C, r, r), (3, r, r) -> mask · sampled, (C, r, r)."""
        grid = torch.add(self._base, squashed[:2], alpha=2).permute(0, 2, 3, 1)
        return F.grid_sample(planes, grid, align_corners=False)[0].mul_(squashed[2])


def doubling_matrix(resolution: int, device: torch.device) -> Tensor:
    """(r, 2r): zero insertion and the 4-tap FIR along one axis, zeros outside."""
    far, near = FAR_AND_NEAR
    taps = torch.tensor([far, near, near, far], dtype=torch.float64)
    impulses = torch.eye(resolution, dtype=torch.float64)[:, None]  # (r, 1, r)
    doubled = F.conv_transpose1d(impulses, taps[None, None], stride=2, padding=1)
    return doubled[:, 0].float().to(device)


def double(planes: Tensor, matrix: Tensor) -> Tensor:
    """(N, r, r), ``doubling_matrix`` -> (N, 2r, 2r). Across by a product, down by whole rows."""
    wide = planes @ matrix  # (N, r, 2r)
    near = wide * FAR_AND_NEAR[1]
    out = wide.new_empty(wide.shape[0], wide.shape[1], 2, wide.shape[2])
    out[:, 0, 0], out[:, -1, 1] = near[:, 0], near[:, -1]  # beyond the border are zeros
    torch.add(near[:, 1:], wide[:, :-1], alpha=FAR_AND_NEAR[0], out=out[:, 1:, 0])
    torch.add(near[:, :-1], wide[:, 1:], alpha=FAR_AND_NEAR[0], out=out[:, :-1, 1])
    return out.flatten(1, 2)
