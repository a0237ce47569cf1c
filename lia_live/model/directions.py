"""The motion dictionary (spec section 5): orthonormal directions of the latent space, and their names."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lia_live.model.config import LIAConfig
from lia_live.model.layers import unit_normal


@dataclass(frozen=True)
class Direction:
    """What is known of one coefficient. Units are the coefficient's own."""

    name: str
    """"yaw", "mouth open"; "direction 7" where training gave it no meaning."""
    low: float = -15.0
    """Smallest value seen in training."""
    high: float = 15.0
    """Largest value seen in training."""
    neutral: float = 0.0
    """Value of a frontal, resting face (0 where unknown)."""
    scale: float = 1.0
    """Typical standard deviation, > 0."""

    @staticmethod
    def unlabelled(count: int) -> tuple[Direction, ...]:
        """Directions of weights that carry no labels (the official ones)."""
        return tuple(Direction(f"direction {i + 1}") for i in range(count))


class MotionDictionary(nn.Module):
    """A (latent_dim, motion_dim) matrix whose orthonormalised columns are the directions."""

    def __init__(self, config: LIAConfig) -> None:
        super().__init__()
        self.weight = unit_normal(config.latent_dim, config.motion_dim)
        self._held: Tensor | None = None

    def hold(self, held: bool = True) -> None:
        """Stay as it is from now on: nothing is learned, and the QR (which a GPU waits for) is not done again.

        ``held`` False: learn again.
        """
        self.weight.requires_grad_(not held)
        self._held = None  # what was held may have been another checkpoint's
        self._held = self.basis().detach() if held else None

    def basis(self) -> Tensor:
        """Q (latent_dim, motion_dim). LAPACK's Householder QR with its own signs, which trained decoders rely on."""
        if self._held is not None:
            return self._held
        q: Tensor = torch.linalg.qr(self.weight.float() + 1e-8).Q
        return q

    def forward(self, alpha: Tensor) -> Tensor:
        """(B, motion_dim) -> displacement (B, latent_dim)."""
        displacement: Tensor = alpha @ self.basis().T
        return displacement
