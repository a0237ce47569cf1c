"""The synthetic performer: still portraits act, and the flow from picture to picture is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from lia_live.errors import ConfigError
from lia_live.puppet import lips, mesh
from lia_live.puppet.maps import pixel_middles, resized
from lia_live.puppet.mouth import MouthStyle
from lia_live.puppet.puppets import Puppets, Scene, columns, rims_apart
from lia_live.puppet.rig import Rig
from lia_live.puppet.theta import mirrored
from lia_live.train.correspondence import correspondence, region_weights, seams
from lia_live.train.light import LightConfig, as_camera, relit
from lia_live.train.motion import MotionConfig, sample_theta, within_reach
from lia_live.train.performed import PerformedBatch
from lia_live.train.portraits import Portraits

INSIDE_WEIGHT: Final = 6.0
"""How much more than the rest of the mouth its inside counts, painted or a portrait's own teeth: few pixels, and
nothing else teaches them."""
SEAM_WEIGHT: Final = 2.0
"""The same for the line between lips that shut. What counts more is drawn broader than it is by a network that errs in
where it lies; shut lids, whose lashes the portrait shows, would be smudges: their line counts as eyes do."""
EYES, MOUTH = (mesh.REGIONS.index(name) for name in ("eyes", "mouth"))
TREMBLE: Final = 0.008
"""Standard deviation, eye distances, by which targets' lips differ from those that their source is chosen for: an
avatar keeps a look for a while (``avatar.mouths``)."""
SHUT: Final = 0.02
"""Lips that are nearer to each other, eye distances, show nothing of what is behind them."""


@dataclass(frozen=True)
class PerformerConfig:
    """What pairs are made of."""

    cross_identity: float = 0.4
    """Share of pairs whose driver is another portrait with the same theta; 0 to 1."""
    rest_driver: float = 0.0
    """Share of those whose driver performs what the other portrait shows of itself; 0 to 1."""
    same_pose: float = 0.12
    """Share of pairs whose target is the source's own performance: teaches sharp copying; 0 to 1."""
    rest_target: float = 0.0
    """Share of pairs whose target is the portrait as it was photographed; 0 to 1."""
    any_look: float = 0.15
    """Share of pairs whose source has its lips apart in any way, and not nearly as the target has; 0 to 1."""
    rest_source: float = 0.3
    """Share of pairs whose source is the portrait as it was photographed, but for its lips; 0 to 1."""
    mirror: float = 0.5
    """Share of pairs that are mirrored; 0 to 1."""
    motion: MotionConfig = field(default_factory=MotionConfig)
    light: LightConfig = field(default_factory=LightConfig)

    def __post_init__(self) -> None:
        for name, share in vars(self).items():
            if isinstance(share, float | int) and not 0 <= share <= 1:
                raise ConfigError(f"performer.{name} must be in [0, 1], got {share}")


class Performer:
    """Makes pairs, single pictures and sequences from prepared portraits, on their device."""

    def __init__(
        self,
        portraits: Portraits,
        device: torch.device | str = "cpu",
        config: PerformerConfig | None = None,
        *,
        looks: bool = False,
    ) -> None:
        """``looks``: portraits have several looks, lips apart as ``puppet.lips`` moves them, as avatars have."""
        self.device = torch.device(device)
        self.config = config or PerformerConfig()
        images, landmarks = portraits.images.to(self.device), portraits.landmarks.to(self.device)
        self._puppets = (
            lips.looks(images, landmarks)
            if looks
            else Puppets(images, Rig(landmarks, portraits.side))
        )
        self.rig = self._puppets.rig
        # (N, K) between the lips in looks 1 to K, eye distances
        gaps = self.rig.opening(self._puppets.shown).view(-1, len(self))
        self._gaps = gaps[1:].T if looks else gaps.T
        self._first = len(self) if looks else 0  # number of portrait 0's look 1
        self._inside = torch.from_numpy(mesh.mouth_triangles()).to(self.device)
        generator = torch.Generator(self.device).manual_seed(1)
        strangers = MouthStyle.drawn(*self._puppets.complexion, generator)
        self._puppets.styles = self._puppets.styles.and_then(strangers)

    def __len__(self) -> int:
        return len(self.rig)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """(count,) int64: whose pairs to make, with replacement. ``generator`` lives on the performer's device."""
        return torch.randint(len(self), (count,), generator=generator, device=self.device)

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
        target = sample_theta(own, generator, config.motion)
        crossing = round(config.cross_identity * batch)
        other = torch.randint(len(self), (crossing,), generator=generator, device=self.device)
        photographed = within_reach(self.rig.own[other], own[:crossing])
        as_they_are = self._chosen(crossing, config.rest_driver, generator)
        target[:crossing] = torch.where(as_they_are, photographed, target[:crossing])
        target = torch.where(self._chosen(batch, config.rest_target, generator), own, target)
        look = self._any_look(index, target, generator)
        source = sample_theta(own, generator, config.motion)
        rests = self._chosen(batch, config.rest_source, generator)
        source = torch.where(rests, self._puppets.shown[look], source)
        target = torch.where(self._chosen(batch, config.same_pose, generator), source, target)

        seen = self._look(index, target)
        scene = self._scene(
            torch.cat([look, seen, other]),
            torch.cat([source, target, target[:crossing]]),
            raster,
            strangers=crossing,
        )
        pictures, lights = self._puppets.paint(scene, size)
        teeth, tongue = resized(lights[batch : 2 * batch], raster).split(1, 1)
        still, moving = pictures[:batch], pictures[batch : 2 * batch]
        driver = torch.cat([pictures[2 * batch :], moving[crossing:]])
        displacement, valid, judged, within, weights = self._correspondence(scene, batch, rests)

        still, moving = relit(torch.cat([still, moving]), 2, config.light.shared, generator).chunk(
            2
        )
        driver = relit(driver, 1, config.light.driver, generator)
        driver = as_camera(driver, config.light.driver, generator)

        order = torch.randperm(batch, generator=generator, device=self.device)  # mix the crossed in
        flipped = self._chosen(batch, config.mirror, generator)[:, :, None, None]
        still, moving, driver, displacement, valid, judged, within, teeth, tongue, weights = (
            torch.where(flipped, value.flip(3), value)[order]
            for value in (
                still,
                moving,
                driver,
                displacement,
                valid,
                judged,
                within,
                teeth,
                tongue,
                weights,
            )
        )
        flipped = flipped[order]
        sign = torch.where(flipped, displacement.new_tensor([-1, 1]).view(1, 2, 1, 1), 1.0)
        mirror = flipped.view(-1, 1)
        return PerformedBatch(
            still,
            moving,
            driver,
            displacement * sign,
            valid,
            judged,
            within,
            teeth,
            tongue,
            weights,
            torch.where(mirror, mirrored(source[order]), source[order]),
            torch.where(mirror, mirrored(target[order]), target[order]),
        )

    def perform(
        self, portrait: int, theta: Tensor, size: int = 256, raster: int | None = None
    ) -> Tensor:
        """Frames (T, 3, S, S) in [-1, 1] of one portrait performing ``theta`` (T, 16)."""
        raster = raster or max(128, raster_side(size))
        frames = []
        for part in theta.to(self.device).split(16):
            index = torch.full((len(part),), portrait, device=self.device)
            frames.append(self._puppets.paint(self._scene(index, part, raster), size)[0])
        return torch.cat(frames)

    def _look(self, index: Tensor, theta: Tensor, gap_error: Tensor | float = 0.0) -> Tensor:
        """(B,) int64: the look in which avatars of portraits ``index`` (B,) show theta (B, 16)."""
        near = lips.nearest_look(self._gaps[index], self.rig.opening(theta) + gap_error)
        return index + self._first + len(self) * near

    def _any_look(self, index: Tensor, target: Tensor, generator: torch.Generator) -> Tensor:
        """(B,) int64: that of ``target`` (B, 16) or, for a share of them, whichever."""
        tremble = TREMBLE * torch.randn(len(index), generator=generator, device=self.device)
        near = self._look(index, target, tremble)
        count = self._gaps.shape[1]
        some = torch.randint(count, near.shape, generator=generator, device=self.device)
        some = index + self._first + len(self) * some
        return torch.where(
            self._chosen(len(index), self.config.any_look, generator)[:, 0], some, near
        )

    def _scene(self, index: Tensor, theta: Tensor, raster: int, strangers: int = 0) -> Scene:
        """The last ``strangers`` have teeth of their own: drivers, whose mouths nobody has to guess."""
        style = index.clone()
        style[len(index) - strangers :] += len(self._puppets)
        return self._puppets.scene(index, theta, raster, style)

    def _correspondence(
        self, scene: Scene, batch: int, rests: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Displacement, validity, what is judged, painted mouths, weights: targets (second B) towards sources (first).

        ``rests`` (B, 1) bool: the source is the portrait itself.
        """
        rows = slice(batch, 2 * batch)
        targets = scene.raster.rows(rows)
        displacement, valid = correspondence(
            targets,
            scene.raster.rows(slice(batch)),
            scene.points[:batch],
            ~self._inside,
            goes_on=rests[:, 0],
        )
        painted, inside = scene.mouths.painted[rows], scene.mouths.inside[rows]
        to_teeth, seen = self._teeth(scene, batch)
        inside = inside > 0.5
        teeth = seen & inside & (painted < 0.05)
        painted = painted.maximum((inside & ~seen).float())  # what the source hides must be painted
        displacement = torch.where(teeth, to_teeth, displacement)
        valid = valid | teeth
        region = torch.where(
            targets.triangle >= 0, self.rig.regions[targets.triangle.clamp(min=0)], -1
        )[:, None]
        torn = seams(displacement, valid) & ((region == EYES) | (region == MOUTH))
        shut = self._shuts(scene.theta[rows]).view(-1, 1, 1, 1)
        torn = torn | (shut & (painted > 0.5))  # a slit between lips that nearly meet
        painted = painted * ~shut
        valid = valid & ~torn  # a dark line, as between lips and below lashes
        lips = (SEAM_WEIGHT - 1) * (torn & (region == MOUTH))
        counts = 1 + ((INSIDE_WEIGHT - 1) * torch.maximum(painted, teeth.float())).maximum(lips)
        weights = region_weights(targets, self.rig.regions) * counts
        weights = weights / weights.mean((2, 3), keepdim=True)
        judged = torch.maximum(painted, (valid | torn).float())
        return displacement, valid.float(), judged, painted, weights

    def _teeth(self, scene: Scene, batch: int) -> tuple[Tensor, Tensor]:
        """In mouths of targets (second B): displacement (B, 2, R, R) to the same teeth in the sources (first B), and
        where they are seen there, (B, 1, R, R) bool. Teeth stay at the upper lip.
        """
        still, targets = scene.points[:batch, :, :2], scene.raster.rows(slice(batch, 2 * batch))
        upper, way = (torch.zeros_like(still) for _ in range(2))
        upper[:, mesh.MOUTH], way[:, mesh.MOUTH] = columns(still)
        maps = targets.interpolate(torch.cat([upper, way], 2))
        apart = rims_apart(self.rig.opening(scene.theta[: 2 * batch]))
        down = scene.mouths.down[batch : 2 * batch] * (apart[batch:] / apart[:batch]).view(
            -1, 1, 1, 1
        )
        place = maps[:, :2] + maps[:, 2:] * down
        shows = (scene.mouths.inside - scene.mouths.painted)[:batch]
        grid = (place * 2 - 1).permute(0, 2, 3, 1)
        there = functional.grid_sample(shows, grid, align_corners=False)
        return place - pixel_middles(place.shape[-1], self.device), (there > 0.5) & (down <= 1)

    def _shuts(self, theta: Tensor) -> Tensor:
        """(B,) bool: whether lips meet in theta (B, 16)."""
        return self.rig.opening(theta) < SHUT

    def _chosen(self, batch: int, share: float, generator: torch.Generator) -> Tensor:
        """(B, 1) bool, true for ``share`` of the batch on average."""
        return torch.rand(batch, 1, generator=generator, device=self.device) < share


def raster_side(size: int) -> int:
    return 64 if size <= 64 else 128
