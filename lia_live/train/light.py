"""Changes of light and camera."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lia_live.errors import ConfigError


@dataclass(frozen=True)
class LightConfig:
    """Changes of light and camera. Spreads are standard deviations."""

    shared: float = 1.0
    """Strength of the colour change that source and target have in common; 0 (none at all) to 2."""
    driver: float = 1.0
    """Strength of the driver's own colour change, noise, blur and low light; 0 (none at all) to 2."""

    def __post_init__(self) -> None:
        for name in ("shared", "driver"):
            if not 0 <= getattr(self, name) <= 2:
                raise ConfigError(f"light.{name} must be in [0, 2], got {getattr(self, name)}")


def colour_change(batch: int, strength: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random linear colour change: matrix (B, 3, 3) and offset (B, 3, 1, 1), on the generator's device."""
    device = generator.device
    draw = torch.randn(batch, 6, generator=generator, device=device) * strength
    gain = (0.13 * draw[:, 0]).exp()
    saturation = (0.2 * draw[:, 1]).exp()[:, None, None]
    grey = torch.full((3, 3), 1 / 3, device=device)
    balance = (0.06 * draw[:, 2:5]).exp()
    matrix = (
        (grey + saturation * (torch.eye(3, device=device) - grey))
        * balance[:, None]
        * gain[:, None, None]
    )
    return matrix, (0.06 * draw[:, 5]).view(-1, 1, 1, 1).expand(-1, 3, 1, 1)


def relit(pictures: Tensor, copies: int, strength: float, generator: torch.Generator) -> Tensor:
    """(copies * B, 3, S, S) in [-1, 1], each of the B in a light that its copies share; untouched at strength 0."""
    if strength == 0:
        return pictures
    matrix, offset = colour_change(len(pictures) // copies, strength, generator)
    return apply_colour(pictures, matrix.repeat(copies, 1, 1), offset.repeat(copies, 1, 1, 1))


def apply_colour(pictures: Tensor, matrix: Tensor, offset: Tensor) -> Tensor:
    """(B, 3, S, S) in [-1, 1] through a linear colour change, around mid-grey."""
    return (torch.bmm(matrix, pictures.flatten(2)).view_as(pictures) + offset).clamp(-1, 1)


def as_camera(pictures: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """(B, 3, S, S) in [-1, 1] as a webcam might show them: low light, uneven light, blur, noise.

    Untouched at strength 0.
    """
    if strength == 0:
        return pictures
    batch, _, height, width = pictures.shape
    device = pictures.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(batch, *shape, generator=generator, device=device)

    draw = torch.randn(batch, 4, generator=generator, device=device)
    x = pictures * 0.5 + 0.5
    ramp = torch.linspace(-1, 1, width, device=device)
    tilt = draw[:, 0, None, None] * ramp + draw[:, 1, None, None] * ramp[:height, None]
    dim = torch.where(uniform() < 0.25 * strength, 0.4 + 0.5 * uniform(), 1.0)
    light = dim[:, None, None] * (0.22 * strength * tilt).exp()
    x = x * light[:, None]
    x = x.clamp(min=1e-3) ** (0.2 * strength * draw[:, 2]).exp().view(-1, 1, 1, 1)
    soft = functional.avg_pool2d(functional.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    amount = torch.where(uniform() < 0.5, uniform(), 0.0) * min(1.0, strength)
    x = torch.lerp(x, soft, amount.view(-1, 1, 1, 1))
    grain = 0.03 * strength * uniform() ** 2 * torch.where(dim < 1, 1.5, 1.0)
    x = x + grain.view(-1, 1, 1, 1) * torch.randn(x.shape, generator=generator, device=device)
    return (x * 2 - 1).clamp(-1, 1)
