"""Portraits as puppets: posed, rasterised, painted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from lia_live.puppet import mesh
from lia_live.puppet.maps import continued_at_edges, resized
from lia_live.puppet.mouth import MouthStyle, arch, mouth_colour, teeth_are_lit
from lia_live.puppet.raster import Raster, rasterise
from lia_live.puppet.rig import LEAST_GAP, MOUTH_TUCK, Rig

CRACKS: Final = 2
"""Widest crack between lid and eyeball or lip and mouth that is closed, raster pixels."""


class Mouths(NamedTuple):
    """Maps of R x R pixels, B of each."""

    place: Tensor  # (B, 2, R, R) in the portrait, of every pixel
    painted: Tensor  # (B, 1, R, R) share that is painted
    inside: Tensor  # (B, 1, R, R) share that is in a mouth
    across: Tensor  # (B, 1, R, R) -1..1 corner to corner
    down: Tensor  # (B, 1, R, R) 0 at the upper lip, 1 at the lower


@dataclass(frozen=True)
class Scene:
    """Posed portraits, rasterised."""

    index: Tensor  # (B,)
    theta: Tensor  # (B, 16)
    style: Tensor  # (B,) of the mouths
    points: Tensor  # (B, V, 3)
    raster: Raster
    mouths: Mouths


class Puppets:
    """N portraits that can be posed and seen, on the device of their pictures.

    Each may have K looks, pictures of the same head: number i + k N is look k of portrait i.
    """

    def __init__(self, images: Tensor, rig: Rig, shown: Tensor | None = None) -> None:
        """``images``: (K N, 3, P, P) uint8 RGB of the N faces that ``rig`` was made of.

        ``shown``: theta (K N, 16) that they perform in them; default (K = 1) their ``own``.
        """
        self.rig = rig
        self.shown = rig.own if shown is None else shown
        everybody = torch.arange(len(images), device=images.device) % len(rig)
        # (K N,) between the lips in the picture, eye distances
        self.gap = rig.opening(self.shown).clamp(min=LEAST_GAP)
        # (K N,) share in which the insides of mouths are the picture's own, 0 to 1
        self.inside = ((self.gap - 0.03) / 0.04).clamp(0, 1)
        self._levels = _pyramid(images)
        # the texture is the portrait itself: a vertex's place in it
        self._uv = rig.rest[..., :2] if shown is None else rig.pose(everybody, shown)[..., :2]
        self._attributes = self._vertex_attributes()
        light, lips = self._complexion()
        self.complexion = light[: len(rig)], lips[: len(rig)]  # looks of one head have one
        self.styles = MouthStyle.plain(*self.complexion).pick(everybody)

    def __len__(self) -> int:
        return len(self.shown)

    def scene(
        self, index: Tensor, theta: Tensor, raster: int, style: Tensor | None = None
    ) -> Scene:
        """Looks ``index`` (B,) performing ``theta`` (B, 16) on maps of ``raster`` pixels.

        ``style`` (B,): whose mouths they have, of ``styles``; default their own.
        """
        points = self.rig.pose(index % len(self.rig), theta)
        seen = rasterise(points, self.rig.triangles, raster, CRACKS)
        mouths = self._mouths(index, theta, seen)
        return Scene(index, theta, index if style is None else style, points, seen, mouths)

    def paint(self, scene: Scene, size: int) -> tuple[Tensor, Tensor]:
        """Pictures (B, 3, S, S) in [-1, 1], and the light of painted teeth and tongues (B, 2, S, S) in [0, 1]."""
        uv, painted, inside, across, down = scene.mouths
        inside = inside + 1e-6
        across, down = across * inside, down * inside  # so that edges do not mix with "no mouth"
        if size != uv.shape[-1]:
            stacked = torch.cat([painted, inside, across, down], 1)
            stacked = functional.interpolate(
                stacked, size=(size, size), mode="bilinear", align_corners=False
            )
            painted, inside, across, down = stacked.split([1, 1, 1, 1], 1)
            uv = resized(uv, size, torn=True)
        textures = self._texture(size)[scene.index].float().mul_(1 / 127.5).sub_(1)
        grid = (continued_at_edges(uv) * 2 - 1).permute(0, 2, 3, 1)
        pictures = functional.grid_sample(
            textures, grid, padding_mode="border", align_corners=False
        )
        # Only mouths are painted: a few pixels in a hundred.
        picture, row, column = (painted[:, 0] > 0.004).nonzero(as_tuple=True)
        here = picture, 0, row, column
        gap = self.rig.opening(scene.theta)
        style = self.styles.pick(scene.style[picture])
        own = ((self.gap[scene.index[picture]] - 0.05) / 0.03).clamp(0, 1)
        style = replace(style, upper=style.upper * (1 - own))  # those that are seen are all
        mouth, light = mouth_colour(
            across[here] / inside[here], down[here] / inside[here], gap[picture], style
        )
        under = pictures[picture, :, row, column]
        pictures[picture, :, row, column] = torch.lerp(under, mouth * 2 - 1, painted[here][:, None])
        lights = torch.zeros_like(painted).repeat(1, 2, 1, 1)
        lights[picture, :, row, column] = light * painted[here][:, None]
        return pictures, lights

    def _mouths(self, index: Tensor, theta: Tensor, raster: Raster) -> Mouths:
        maps = raster.interpolate(self._attributes[index])  # (B, 7, R, R)
        inside, across, down = maps[:, 2:3], maps[:, 3:4], maps[:, 4:5]
        # Inside an opening mouth the portrait's own teeth stay at the upper lip; beyond what it
        # shows there is nothing to copy, and the inside is painted.
        own_gap = self.gap[index].view(-1, 1, 1, 1)
        ratio = rims_apart(self.rig.opening(theta)).view(-1, 1, 1, 1) / rims_apart(own_gap)
        below = down * ratio
        shows = self.inside[index].view(-1, 1, 1, 1)
        lip = 1 - MOUTH_TUCK / rims_apart(own_gap)  # the lower one's edge in the portrait
        fade = ((below - lip) / 0.14 + 1).clamp(0, 1) * ((ratio - 1) / 0.25).clamp(0, 1)
        gap = self.rig.opening(theta).view(-1, 1, 1, 1)
        lit, before = (teeth_are_lit(apart * arch(across)) for apart in (gap, own_gap))
        lit = (lit / before.clamp(min=1e-3)).clamp(
            max=1
        )  # what is dark in the picture is dark enough
        painted = inside * (1 - shows * (1 - fade) * lit)
        place = maps[:, :2] + maps[:, 5:7] * below.clamp(0, 1)
        return Mouths(place, painted, inside, across, down)

    def _texture(self, size: int) -> Tensor:
        """The smallest stored level that is not coarser than the pictures."""
        fitting = [level for level in self._levels if level.shape[-1] >= size]
        return fitting[-1] if fitting else self._levels[0]

    def _vertex_attributes(self) -> Tensor:
        """(K N, V, 7): place in the portrait, mouth coordinates, and in mouths the way to the lower rim."""
        uv = self._uv.clone()
        mouth = torch.from_numpy(mesh.mouth_coordinates()).to(uv.device).expand(len(uv), -1, -1)
        delta = torch.zeros_like(uv)
        uv[:, mesh.MOUTH], delta[:, mesh.MOUTH] = columns(self._uv)
        return torch.cat([uv, mouth, delta], 2)

    def _complexion(self) -> tuple[Tensor, Tensor]:
        """(N,) brightness of the face and (N, 3) colour of the lips, from the portraits."""
        small = self._levels[-1].float() / 255
        cheeks = self._uv[:, [50, 280, 205, 425, 9]]
        lips = self._uv[:, [0, 17, 37, 267, 84, 314]]

        def colour(places: Tensor) -> Tensor:
            return functional.grid_sample(small, places[:, None] * 2 - 1, align_corners=False).mean(
                (2, 3)
            )

        return colour(cheeks).mean(1).clamp(0.15, 0.9).sqrt(), colour(lips)


def columns(points: Tensor) -> tuple[Tensor, Tensor]:
    """Of each vertex (B, 20) of the mouth's rim in ``points`` (B, V, D): the upper rim above or below it, and the way
    from there to the lower one, (B, 20, D).
    """
    rim = points[:, mesh.MOUTH]
    upper = rim[:, :11]
    lower = torch.cat([rim[:, :1], rim[:, 11:].flip(1), rim[:, 10:11]], 1)
    column = [*range(11), *range(9, 0, -1)]
    return upper[:, column], (lower - upper)[:, column]


def rims_apart(gap: Tensor) -> Tensor:
    """How far the rims of a mouth's inside are apart whose lips leave a ``gap``, both in eye distances."""
    return gap + 2 * MOUTH_TUCK


def _pyramid(images: Tensor) -> list[Tensor]:
    """The pictures at full size, half, quarter, ... down to 40 pixels, uint8."""
    levels = [images]
    while levels[-1].shape[-1] % 2 == 0 and levels[-1].shape[-1] >= 80:
        parts = levels[-1].split(64)
        halved = [functional.avg_pool2d(part.float(), 2).round().to(torch.uint8) for part in parts]
        levels.append(torch.cat(halved))
    return levels
