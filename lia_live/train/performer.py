"""The synthetic performer: still portraits act, and the flow from picture to picture is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from lia_live.errors import ConfigError
from lia_live.train import mesh
from lia_live.train.correspondence import (
    continued_at_edges,
    correspondence,
    pixel_middles,
    region_weights,
)
from lia_live.train.motion import (
    MIRROR_ORDER,
    MIRROR_SIGN,
    MotionConfig,
    sample_theta,
    scales,
    within_reach,
)
from lia_live.train.motion import OPEN as MOUTH_OPEN
from lia_live.train.paint import LightConfig, MouthStyle, as_camera, mouth_colour, relit
from lia_live.train.performed import PerformedBatch, resized
from lia_live.train.portraits import Portraits
from lia_live.train.raster import Raster, rasterise
from lia_live.train.rig import Rig

INSIDE_WEIGHT: Final = 6.0
"""How much more than the rest of the mouth its inside counts, painted or a portrait's own teeth: few pixels, and
nothing else teaches them."""
TOOTHED: Final = 0.07
"""A portrait whose lips are further apart (eye distances) shows its teeth."""
CRACKS: Final = 2
"""Widest crack between lid and eyeball or lip and mouth that is closed, raster pixels."""


@dataclass(frozen=True)
class PerformerConfig:
    """What pairs are made of."""

    cross_identity: float = 0.4
    """Share of pairs whose driver is another portrait with the same theta; 0 to 1."""
    rest_driver: float = 0.0
    """Share of those whose driver performs what the other portrait shows of itself; 0 to 1."""
    same_pose: float = 0.12
    """Share of pairs whose target is the source's own performance: teaches sharp copying; 0 to 1."""
    toothed: float = 0.0
    """Share of pairs that are drawn from the portraits that show their teeth alone, where there are any; 0 to 1."""
    rest_source: float = 0.3
    """Share of pairs whose source is the portrait as it was photographed; 0 to 1."""
    mirror: float = 0.5
    """Share of pairs that are mirrored; 0 to 1."""
    motion: MotionConfig = field(default_factory=MotionConfig)
    light: LightConfig = field(default_factory=LightConfig)

    def __post_init__(self) -> None:
        for name, share in vars(self).items():
            if isinstance(share, float | int) and not 0 <= share <= 1:
                raise ConfigError(f"performer.{name} must be in [0, 1], got {share}")


class _Mouths(NamedTuple):
    """Maps of R x R pixels, B of each."""

    place: Tensor  # (B, 2, R, R) in the portrait, of every pixel
    painted: Tensor  # (B, 1, R, R) share that is painted
    inside: Tensor  # (B, 1, R, R) share that is in a mouth
    across: Tensor  # (B, 1, R, R) -1..1 corner to corner
    down: Tensor  # (B, 1, R, R) 0 at the upper lip, 1 at the lower


@dataclass(frozen=True)
class _Scene:
    """Posed portraits, rasterised."""

    index: Tensor  # (B,)
    theta: Tensor  # (B, 16)
    style: Tensor  # (B,) of the mouths
    points: Tensor  # (B, V, 3)
    raster: Raster
    mouths: _Mouths


class Performer:
    """Makes pairs, single pictures and sequences from prepared portraits, on their device."""

    def __init__(
        self,
        portraits: Portraits,
        device: torch.device | str = "cpu",
        config: PerformerConfig | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.config = config or PerformerConfig()
        self.rig = Rig(portraits.landmarks.to(self.device), portraits.side)
        self._levels = _pyramid(portraits.images.to(self.device))
        self._uv = self.rig.rest[..., :2]  # the texture is the portrait itself
        self._attributes = self._vertex_attributes()
        self._scales = scales(self.device)
        self._toothed = (self.rig.gap > TOOTHED).nonzero().flatten()
        generator = torch.Generator(self.device).manual_seed(1)
        complexion = self._complexion()
        self._styles = MouthStyle.plain(*complexion).and_then(
            MouthStyle.drawn(*complexion, generator)
        )

    def __len__(self) -> int:
        return len(self.rig)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """(count,) int64: whose pairs to make, with replacement, more of those who show their teeth where
        ``config.toothed`` says so. ``generator`` lives on the performer's device."""

        def one_of(many: int) -> Tensor:
            return torch.randint(many, (count,), generator=generator, device=self.device)

        index = one_of(len(self))
        if self.config.toothed and len(self._toothed):
            smiling = self._toothed[one_of(len(self._toothed))]
            chosen = self._chosen(count, self.config.toothed, generator)[:, 0]
            index = torch.where(chosen, smiling, index)
        return index

    def pairs(
        self, index: Tensor, generator: torch.Generator, size: int, raster: int | None = None
    ) -> PerformedBatch:
        """One pair for each portrait in ``index`` (B,) int64.

        ``size``: S, side of the pictures; ``raster``: R, side of the maps (default 64 up to size
        64, else 128). Everything random comes from ``generator`` (on the performer's device).
        """
        raster = raster or raster_side(size)
        config, batch, index = self.config, len(index), index.to(self.device)
        own = self.rig.own[index]
        source = sample_theta(own, generator, config.motion)
        rests = self._chosen(batch, config.rest_source, generator)
        source = torch.where(rests, own, source)
        target = sample_theta(own, generator, config.motion)
        crossing = round(config.cross_identity * batch)
        other = torch.randint(len(self), (crossing,), generator=generator, device=self.device)
        photographed = within_reach(self.rig.own[other], own[:crossing])
        as_they_are = self._chosen(crossing, config.rest_driver, generator)
        target[:crossing] = torch.where(as_they_are, photographed, target[:crossing])
        target = torch.where(self._chosen(batch, config.same_pose, generator), source, target)

        scene = self._scene(
            torch.cat([index, index, other]),
            torch.cat([source, target, target[:crossing]]),
            raster,
            strangers=crossing,
        )
        pictures, lights = self._paint(scene, size)
        teeth, tongue = resized(lights[batch : 2 * batch], raster).split(1, 1)
        still, moving = pictures[:batch], pictures[batch : 2 * batch]
        driver = torch.cat([pictures[2 * batch :], moving[crossing:]])
        displacement, valid, within, weights = self._correspondence(scene, batch, rests)

        still, moving = relit(torch.cat([still, moving]), 2, config.light.shared, generator).chunk(
            2
        )
        driver = relit(driver, 1, config.light.driver, generator)
        driver = as_camera(driver, config.light.driver, generator)

        order = torch.randperm(batch, generator=generator, device=self.device)  # mix the crossed in
        flipped = self._chosen(batch, config.mirror, generator)[:, :, None, None]
        still, moving, driver, displacement, valid, within, teeth, tongue, weights = (
            torch.where(flipped, value.flip(3), value)[order]
            for value in (
                still,
                moving,
                driver,
                displacement,
                valid,
                within,
                teeth,
                tongue,
                weights,
            )
        )
        flipped = flipped[order]
        sign = torch.where(flipped, displacement.new_tensor([-1, 1]).view(1, 2, 1, 1), 1.0)
        return PerformedBatch(
            still,
            moving,
            driver,
            displacement * sign,
            valid,
            torch.maximum(valid, within),
            within,
            teeth,
            tongue,
            weights,
            self._mirrored(source[order], flipped),
            self._mirrored(target[order], flipped),
        )

    def perform(
        self, portrait: int, theta: Tensor, size: int = 256, raster: int | None = None
    ) -> Tensor:
        """Frames (T, 3, S, S) in [-1, 1] of one portrait performing ``theta`` (T, 16)."""
        raster = raster or max(128, raster_side(size))
        frames = []
        for part in theta.to(self.device).split(16):
            index = torch.full((len(part),), portrait, device=self.device)
            frames.append(self._paint(self._scene(index, part, raster), size)[0])
        return torch.cat(frames)

    def _scene(self, index: Tensor, theta: Tensor, raster: int, strangers: int = 0) -> _Scene:
        """The last ``strangers`` have teeth of their own: drivers, whose mouths nobody has to guess."""
        points = self.rig.pose(index, theta)
        style = index.clone()
        style[len(index) - strangers :] += len(self)
        seen = rasterise(points, self.rig.triangles, raster, CRACKS)
        return _Scene(index, theta, style, points, seen, self._mouths(index, theta, seen))

    def _paint(self, scene: _Scene, size: int) -> tuple[Tensor, Tensor]:
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
        gap = scene.theta[:, MOUTH_OPEN] * self._scales[MOUTH_OPEN]
        style = self._styles.pick(scene.style[picture])
        mouth, light = mouth_colour(
            across[here] / inside[here], down[here] / inside[here], gap[picture], style
        )
        under = pictures[picture, :, row, column]
        pictures[picture, :, row, column] = torch.lerp(under, mouth * 2 - 1, painted[here][:, None])
        lights = torch.zeros_like(painted).repeat(1, 2, 1, 1)
        lights[picture, :, row, column] = light * painted[here][:, None]
        return pictures, lights

    def _mouths(self, index: Tensor, theta: Tensor, raster: Raster) -> _Mouths:
        maps = raster.interpolate(self._attributes[index])  # (B, 7, R, R)
        inside, across, down = maps[:, 2:3], maps[:, 3:4], maps[:, 4:5]
        # Inside an opening mouth the portrait's own teeth stay at the upper lip; beyond what it
        # shows there is nothing to copy, and the inside is painted.
        ratio = self.rig.mouth_ratio(index, theta).view(-1, 1, 1, 1)
        own_gap = self.rig.gap[index].view(-1, 1, 1, 1)
        below = down * ratio
        shows = ((own_gap - 0.03) / 0.04).clamp(0, 1)
        fade = ((below - 0.7) / 0.25).clamp(0, 1) * ((ratio - 1) / 0.25).clamp(0, 1)
        painted = inside * (1 - shows * (1 - fade))
        place = maps[:, :2] + maps[:, 5:7] * below.clamp(0, 1)
        return _Mouths(place, painted, inside, across, down)

    def _correspondence(
        self, scene: _Scene, batch: int, rests: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Displacement, validity, painted mouths, weights: targets (second B) towards sources (first B).

        ``rests`` (B, 1) bool: the source is the portrait itself, so that its own teeth are where the portrait has them.
        """
        rows = slice(batch, 2 * batch)
        targets = scene.raster.rows(rows)
        displacement, valid = correspondence(
            targets,
            scene.raster.rows(slice(batch)),
            scene.points[:batch],
            ~self._mouth_triangles,
            goes_on=rests[:, 0],
        )
        place, painted, inside, _, _ = (part[rows] for part in scene.mouths)
        teeth = rests[:, :, None, None] & (inside > 0.5) & (painted < 0.05)
        to_teeth = place - pixel_middles(place.shape[-1], self.device)
        displacement = torch.where(teeth, to_teeth, displacement)
        valid = valid | teeth
        counts = 1 + (INSIDE_WEIGHT - 1) * torch.maximum(painted, teeth.float())
        weights = region_weights(targets, self.rig.regions) * counts
        weights = weights / weights.mean((2, 3), keepdim=True)
        return displacement, valid.float(), painted, weights

    def _chosen(self, batch: int, share: float, generator: torch.Generator) -> Tensor:
        """(B, 1) bool, true for ``share`` of the batch on average."""
        return torch.rand(batch, 1, generator=generator, device=self.device) < share

    def _mirrored(self, theta: Tensor, flipped: Tensor) -> Tensor:
        sign = theta.new_tensor(MIRROR_SIGN)
        return torch.where(flipped.view(-1, 1), theta[:, list(MIRROR_ORDER)] * sign, theta)

    def _texture(self, size: int) -> Tensor:
        """The smallest stored level that is not coarser than the pictures."""
        fitting = [level for level in self._levels if level.shape[-1] >= size]
        return fitting[-1] if fitting else self._levels[0]

    def _vertex_attributes(self) -> Tensor:
        """(N, V, 7): place in the portrait, mouth coordinates, and in mouths the way to the lower lip."""
        uv = self._uv.clone()
        mouth = torch.from_numpy(mesh.mouth_coordinates()).to(self.device).expand(len(uv), -1, -1)
        delta = torch.zeros_like(uv)
        upper = self._uv[:, list(mesh.LIP_UPPER)]
        lower = self._uv[:, list(mesh.LIP_LOWER)]
        columns = [*range(11), *range(9, 0, -1)]  # of each vertex of the mouth's rim
        uv[:, mesh.MOUTH] = upper[:, columns]
        delta[:, mesh.MOUTH] = (lower - upper)[:, columns]
        self._mouth_triangles = torch.from_numpy(mesh.mouth_triangles()).to(self.device)
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


def raster_side(size: int) -> int:
    return 64 if size <= 64 else 128


def _pyramid(images: Tensor) -> list[Tensor]:
    """The pictures at full size, half, quarter, ... down to 40 pixels, uint8."""
    levels = [images]
    while levels[-1].shape[-1] % 2 == 0 and levels[-1].shape[-1] >= 80:
        parts = levels[-1].split(64)
        halved = [functional.avg_pool2d(part.float(), 2).round().to(torch.uint8) for part in parts]
        levels.append(torch.cat(halved))
    return levels
