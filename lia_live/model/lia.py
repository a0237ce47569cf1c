"""LIA, the Latent Image Animator (Wang, Yang, Bremond, Dantcheva; ICLR 2022).

Appearance is encoded once, motion is a point on ``motion_dim`` learned directions, and rendering is linear
in it: relative transfer, retargeting and manipulation are arithmetic on a handful of numbers.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lia_live.errors import ConfigError
from lia_live.model.config import LIAConfig
from lia_live.model.directions import Direction
from lia_live.model.encoder import Encoder
from lia_live.model.pixels import portrait_tensor, to_tensor
from lia_live.model.synthesis import Synthesis


@dataclass(frozen=True)
class Look:
    """An avatar as the network sees it: everything that its picture alone determines."""

    latent: Tensor
    """(B, latent_dim): the code z of the picture in its reference pose."""
    motion: Tensor
    """(B, motion_dim): where the picture itself lies on the directions."""
    features: tuple[Tensor, ...]
    """One (B, C(r), r, r) map per level, r = 8, 16, ..., size."""

    def to(self, device: torch.device | str) -> Look:
        """The same on another device; what is there already is not copied."""
        features = tuple(level.to(device) for level in self.features)
        return Look(self.latent.to(device), self.motion.to(device), features)

    def repeated(self, count: int) -> Look:
        """Of batch 1: the same look for ``count`` codes; nothing is copied."""
        return Look(
            self.latent.expand(count, -1),
            self.motion.expand(count, -1),
            tuple(level.expand(count, -1, -1, -1) for level in self.features),
        )


class LIA(nn.Module):
    """The whole network. Attribute names ``enc`` and ``dec`` are the official state_dict's prefixes."""

    def __init__(self, config: LIAConfig | None = None) -> None:
        super().__init__()
        self.config = config or LIAConfig()
        self.enc = Encoder(self.config)
        self.dec = Synthesis(self.config)
        self.name = "untrained"
        self.licence = ""
        self.directions: tuple[Direction, ...] = Direction.unlabelled(self.config.motion_dim)

    def forward(self, source: Tensor, driving: Tensor) -> Tensor:
        """Absolute transfer; both (B, 3, S, S) in [-1, 1], RGB; returns the same shape, not clamped."""
        look = self.encode_appearance(source)
        alpha = self.encode_motion(driving)
        return self.render(look, alpha)

    def encode_appearance(self, source: Tensor) -> Look:
        """(B, 3, S, S) in [-1, 1], RGB -> everything about it that no driving frame changes."""
        self._check(source)
        latent, features = self.enc.net_app(source)
        return Look(latent=latent, motion=self.enc.fc(latent), features=features)

    def encode_portrait(self, pixels: NDArray[np.uint8]) -> Look:
        """The same of a picture that will be moved, (S, S, 3) or (B, S, S, 3) uint8 RGB, where the network is.

        Sharpened by what moving it takes away (``portrait_tensor``), but for official networks: they add to what they
        warp and learned to make up for it.
        """
        device = self.dec.direction.weight.device
        portrait = (
            portrait_tensor(pixels, device) if self.names_motions else to_tensor(pixels, device)
        )
        return self.encode_appearance(portrait)

    def encode_motion(self, driving: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1], RGB -> (B, motion_dim): coordinates on the learned directions."""
        self._check(driving)
        latent, _ = self.enc.net_app(driving)
        alpha: Tensor = self.enc.fc(latent)
        return alpha

    def render(self, look: Look, alpha: Tensor) -> Tensor:
        """The picture of ``look`` at ``alpha`` (B, motion_dim): (B, 3, S, S), about [-1, 1], not clamped."""
        if alpha.ndim != 2 or alpha.shape[1] != self.config.motion_dim:
            raise ConfigError(
                f"alpha must be (B, {self.config.motion_dim}), got {tuple(alpha.shape)}"
            )
        image, _ = self.dec(look.latent + self.dec.direction(alpha), look.features)
        return image  # type: ignore[no-any-return]

    @property
    def names_motions(self) -> bool:
        """Whether training gave the directions names; the official networks' have none."""
        return self.directions != Direction.unlabelled(self.config.motion_dim)

    @property
    def fingerprint(self) -> str:
        """16 hex digits that name these very weights; bundles carry it. Reads all weights: not for a loop."""
        digest = hashlib.sha256(json.dumps(asdict(self.config), sort_keys=True).encode())
        for key, value in sorted(self.state_dict().items()):
            digest.update(key.encode())
            digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def _check(self, picture: Tensor) -> None:
        size = self.config.size
        if picture.ndim != 4 or tuple(picture.shape[1:]) != (3, size, size):
            raise ConfigError(
                f"the network takes pictures of shape (B, 3, {size}, {size}), got {tuple(picture.shape)}",
                hint="crop and resize first: lia_live.face_box gives the square",
            )
