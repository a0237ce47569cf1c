"""What every renderer refuses, in the same words."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from lia_live.errors import ConfigError
from lia_live.frame import Pixels
from lia_live.model.config import LIAConfig
from lia_live.model.lia import Look
from lia_live.render.interface import Alpha, LoadedAvatar

Kind = TypeVar("Kind")


def check_look(look: Look, config: LIAConfig) -> None:
    """Raises ``ConfigError`` unless it is one avatar of this very shape of network."""
    shape = (1, config.latent_dim)
    sizes = [(1, config.channels(r), r, r) for r in config.resolutions()]
    if tuple(look.latent.shape) != shape or [tuple(f.shape) for f in look.features] != sizes:
        raise ConfigError(
            "this avatar's look does not fit the network (one avatar, same size and width)",
            "build the avatar again with these weights",
        )


def check_crops(crops: Pixels, config: LIAConfig) -> None:
    """Raises ``ConfigError`` unless it is (N, S, S, 3) uint8."""
    size = config.size
    if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1:] != (size, size, 3):
        raise ConfigError(
            f"crops must be (N, {size}, {size}, 3) uint8, got {crops.shape} {crops.dtype}"
        )


def check_alpha(alpha: Alpha, avatars: int, config: LIAConfig) -> None:
    """Raises ``ConfigError`` unless it has one row an avatar."""
    if alpha.shape != (avatars, config.motion_dim):
        raise ConfigError(f"alpha must be ({avatars}, {config.motion_dim}), got {alpha.shape}")


def own(avatar: LoadedAvatar, kind: type[Kind], owner: object) -> Kind:
    """``avatar`` as the ``kind`` it is. Raises ``ConfigError`` if somebody else than ``owner`` loaded it."""
    if not isinstance(avatar, kind) or getattr(avatar, "owner", None) is not owner:
        raise ConfigError("this avatar was loaded by another renderer", "load it with this one")
    return avatar
