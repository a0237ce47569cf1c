"""What a LIA network is made of: sizes, widths, and the crop its weights were trained on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lia_live.errors import ConfigError

FramingKind = Literal["face", "full"]


@dataclass(frozen=True)
class Framing:
    """How a picture is cropped for a set of weights; stored with them."""

    kind: FramingKind = "face"
    """"face": a square around the face (needs a tracker). "full": the centred square of the whole frame."""
    eye_distance: float = 0.34
    """Distance of the outer eye corners as a fraction of the square's side; 0.05 to 0.9."""
    eye_x: float = 0.5
    """Where the middle between the outer eye corners lies, as a fraction of the side from the left."""
    eye_y: float = 0.47
    """The same from the top."""

    def __post_init__(self) -> None:
        if self.kind not in ("face", "full"):
            raise ConfigError(f'framing.kind must be "face" or "full", got {self.kind!r}')
        if not 0.05 <= self.eye_distance <= 0.9:
            raise ConfigError(
                f"framing.eye_distance must be in [0.05, 0.9], got {self.eye_distance}"
            )
        for name in ("eye_x", "eye_y"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"framing.{name} must be in [0, 1], got {getattr(self, name)}")


@dataclass(frozen=True)
class LIAConfig:
    """Shape of a network. The defaults are the official one (spec: 45.1 M parameters)."""

    size: int = 256
    """Side of the pictures in pixels; a power of two, 32 to 1024."""
    width: float = 1.0
    """Multiplies the channels C(r) of encoder and decoder alike (rounded to 8); 0.0625 to 2."""
    latent_dim: int = 512
    """Length of the latent code; 8 to 4096. Independent of ``width``."""
    motion_dim: int = 20
    """Number of learned motion directions; 1 to ``latent_dim``."""
    framing: Framing = field(default_factory=Framing)
    """The crop these weights expect."""

    def __post_init__(self) -> None:
        if self.size not in (32, 64, 128, 256, 512, 1024):
            raise ConfigError(f"model.size must be a power of two from 32 to 1024, got {self.size}")
        if not 0.0625 <= self.width <= 2:
            raise ConfigError(f"model.width must be in [0.0625, 2], got {self.width}")
        if not 8 <= self.latent_dim <= 4096:
            raise ConfigError(f"model.latent_dim must be in [8, 4096], got {self.latent_dim}")
        if not 1 <= self.motion_dim <= self.latent_dim:
            raise ConfigError(f"model.motion_dim must be in [1, latent_dim], got {self.motion_dim}")

    def channels(self, resolution: int) -> int:
        """C(r): channels of encoder and decoder at a level (spec section 2), scaled by ``width``."""
        official = min(512, 16384 // resolution)
        return max(8, round(official * self.width / 8) * 8)

    def resolutions(self) -> tuple[int, ...]:
        """The levels that are warped, coarse to fine: 8, 16, ..., size."""
        return tuple(2**i for i in range(3, self.size.bit_length()))
