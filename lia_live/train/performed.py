"""Performed pairs and everything that is known about them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lia_live.puppet.maps import resized


@dataclass(frozen=True)
class PerformedBatch:
    """B pairs and everything that is known about them. Maps have R x R pixels, pictures S x S."""

    source: Tensor
    """(B, 3, S, S) in [-1, 1]: the portrait to be animated."""
    target: Tensor
    """(B, 3, S, S): the same person performing ``theta_target``, in the same light."""
    driver: Tensor
    """(B, 3, S, S): ``theta_target`` as the camera saw it; in part of the pairs somebody else."""
    displacement: Tensor
    """(B, 2, R, R): x, y from a target pixel to its place in the source, fractions of the side."""
    valid: Tensor
    """(B, 1, R, R): 1 where that place shows the same thing; 0 behind things and in mouths, but for teeth that the
    source shows, and on seams of lips and lids."""
    judged: Tensor
    """(B, 1, R, R): 1 where ``valid`` decides what the mask should be: there, in the painted part of mouths, and where
    lips or lids shut. 0 where something else may do as well: behind things (a neighbour, stretched), in a mouth that
    was open before."""
    within: Tensor
    """(B, 1, R, R): 1 in the inside of mouths that the source cannot show: coarser levels may colour there."""
    teeth: Tensor
    """(B, 1, R, R) in [0, 1]: light of the teeth painted there; 0 where nobody knows."""
    tongue: Tensor
    """(B, 1, R, R) in [0, 1]: the same of the tongue."""
    weights: Tensor
    """(B, 1, R, R): mouth and eyes 10, brows 5, face 2, rest 1, insides of mouths 60, scaled to a mean of 1.
    Of clips the insides count as the mouth does."""
    theta_source: Tensor
    """(B, 16) labels of ``source`` in the order of ``puppet.theta.THETA``."""
    theta_target: Tensor
    """(B, 16) labels of ``target`` and ``driver``."""

    @property
    def flow(self) -> Tensor:
        """(B, 2, R, R): ``flow_at(R)``."""
        return self.flow_at(self.displacement.shape[-1])

    def flow_at(self, resolution: int) -> Tensor:
        """(B, 2, r, r): what the network's tanh(flow) should be at level r.

        Sampling r x r features of the source at ``linspace(-1, 1, r) + flow`` (align_corners=False)
        gives the target. The grid's ends lie on the outermost pixels' far edges, so a picture that
        does not move has a small flow that shrinks by (r - 1) / r.
        """
        moved = resized(self.displacement, resolution, torn=True) * 2
        device = moved.device
        middle = (torch.arange(resolution, device=device) + 0.5) * (2 / resolution) - 1
        offset = middle - torch.linspace(-1, 1, resolution, device=device)
        return moved + torch.stack(torch.meshgrid(offset, offset, indexing="xy"))

    def valid_at(self, resolution: int) -> Tensor:
        """(B, 1, r, r) in [0, 1]: share of each pixel that is valid."""
        return resized(self.valid, resolution)

    def judged_at(self, resolution: int) -> Tensor:
        """(B, 1, r, r) in [0, 1]: share of each pixel that is judged."""
        return resized(self.judged, resolution)

    def within_at(self, resolution: int) -> Tensor:
        """(B, 1, r, r) in [0, 1]: share of each pixel that is such an inside."""
        return resized(self.within, resolution)

    def teeth_at(self, resolution: int) -> Tensor:
        """(B, 1, r, r) in [0, 1]: mean light of painted teeth."""
        return resized(self.teeth, resolution)

    def tongue_at(self, resolution: int) -> Tensor:
        """(B, 1, r, r) in [0, 1]: mean light of painted tongues."""
        return resized(self.tongue, resolution)

    def weights_at(self, resolution: int) -> Tensor:
        """(B, 1, r, r): region weights, mean 1."""
        return resized(self.weights, resolution)
