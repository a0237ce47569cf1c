"""Pairs from real clips: two frames of one person, with what their landmarks tell about motion and flow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lia_live.errors import ConfigError
from lia_live.model.labels import LIDS
from lia_live.puppet import mesh
from lia_live.puppet.lips import nearest_look
from lia_live.puppet.maps import pixel_middles
from lia_live.puppet.raster import rasterise
from lia_live.puppet.rig import Rig
from lia_live.puppet.theta import (
    BLINK_L,
    BLINK_R,
    BROW,
    BROW_INNER,
    GAZE_X,
    GAZE_Y,
    OPEN,
    PITCH,
    ROLL,
    SCALE,
    YAW,
    X,
    Y,
    mirrored,
    scales,
)
from lia_live.train.clips import Clips
from lia_live.train.correspondence import correspondence, region_weights
from lia_live.train.light import LightConfig, as_camera, relit
from lia_live.train.pairs import Pairs
from lia_live.train.performer import raster_side

MEASURED: Final = (YAW, PITCH, ROLL, X, Y, SCALE, OPEN, BLINK_L, BLINK_R, GAZE_X, GAZE_Y)
"""Labels that the landmarks of a single frame give; of the others they only tell changes (``Rig.compared``)."""


RIGGED: Final = 256
"""Frames whose lips are measured at a time."""


@dataclass(frozen=True)
class ClipPairsConfig:
    """How two frames become a pair."""

    first_source: float = 0.0
    """Share of pairs whose source is the clip's first frame: the picture that is going to be animated."""
    first_frames: int = 1
    """So many frames at a clip's beginning are that picture, lips ever further apart (``puppet.lips``): of them, the
    source is the one that an avatar shows in the target."""
    same_frame: float = 0.1
    """Share of pairs whose target is the source itself: teaches sharp copying. All others are two frames."""
    mirror: float = 0.5
    """Share of pairs that are mirrored."""
    reframe: float = 0.5
    """Share of pairs that are shifted and enlarged a little, both frames alike."""
    light: LightConfig = field(default_factory=LightConfig)
    """Changes of light and camera. ``driver = 0``: the driver is the target, bit by bit."""

    def __post_init__(self) -> None:
        for name in ("first_source", "same_frame", "mirror", "reframe"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"clip_pairs.{name} must be in [0, 1], got {getattr(self, name)}")
        if self.first_frames < 1:
            raise ConfigError(f"clip_pairs.first_frames must be 1 or more, got {self.first_frames}")


class ClipPairs:
    """Draws pairs from clips, on one device."""

    def __init__(
        self,
        clips: Clips,
        device: torch.device | str = "cpu",
        config: ClipPairsConfig | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.config = config or ClipPairsConfig()
        self._frames = clips.frames.to(self.device)
        self._landmarks = clips.landmarks.to(self.device)
        self._starts = clips.starts.to(self.device)
        self._face = torch.from_numpy(_face_triangles()).to(self.device)
        self._mouth = torch.from_numpy(mesh.mouth_triangles()).to(self.device)
        known = torch.zeros(16, device=self.device)
        known[list(MEASURED)] = 1
        self._known = known
        self._gaps: Tensor | None = None  # (F,) between the lips, eye distances
        if self.config.first_frames > 1:
            parts = self._landmarks.split(RIGGED)
            self._gaps = torch.cat([Rig(part, clips.side).gap for part in parts])

    def __len__(self) -> int:
        return len(self._starts) - 1

    def pairs(
        self, index: Tensor, generator: torch.Generator, size: int, raster: int | None = None
    ) -> Pairs:
        """One pair from each clip in ``index`` (B,) int64; pictures ``size`` pixels wide, maps ``raster``.

        Everything random comes from ``generator``, which lives on this object's device.
        """
        config, index, batch = self.config, index.to(self.device), len(index)
        source, target = self._two_frames(index, generator)
        shift, zoom = self._reframing(batch, generator)
        side = self._frames.shape[-1]
        points = self._landmarks[torch.cat([source, target])]
        twice = torch.cat([shift, shift])[:, None]
        points = points.clone()
        points[..., :2] = (points[..., :2] - side / 2) * torch.cat([zoom, zoom])[:, None, None]
        points[..., :2] += side / 2 + twice * side
        points[..., 2] *= torch.cat([zoom, zoom])[:, None]
        rig = Rig(points, side)

        pictures = self._pictures(
            torch.cat([source, target]), shift.repeat(2, 1), zoom.repeat(2), size
        )
        still, moving = relit(pictures, 2, config.light.shared, generator).chunk(2)
        driver = relit(moving, 1, config.light.driver, generator)
        driver = as_camera(driver, config.light.driver, generator)
        displacement, valid, within, weights = self._correspondence(
            rig, batch, raster or raster_side(size)
        )

        flipped = torch.rand(batch, generator=generator, device=self.device) < config.mirror
        maps = flipped[:, None, None, None]
        still, moving, driver, displacement, valid, within, weights = (
            torch.where(maps, value.flip(3), value)
            for value in (still, moving, driver, displacement, valid, within, weights)
        )
        sign = torch.where(maps, displacement.new_tensor([-1, 1]).view(1, 2, 1, 1), 1.0)
        theta = rig.compared.clone()
        # as of portraits: brows are what they do, not where they grow
        theta[:, BROW : BROW_INNER + 1] -= theta[:batch, BROW : BROW_INNER + 1].repeat(2, 1)
        theta[:, BLINK_L : BLINK_R + 1] = (
            closures(*rig.aperture.chunk(2)) / scales(self.device)[BLINK_L]
        )
        theta = torch.where(flipped.repeat(2)[:, None], mirrored(theta), theta)
        return Pairs(
            still,
            moving,
            driver,
            displacement * sign,
            valid,
            valid,  # only of what was followed is it known that a warp shows it
            within,
            torch.zeros_like(within),
            torch.zeros_like(within),
            weights,
            theta[:batch],
            theta[batch:],
            self._known.repeat(batch, 1),
        )

    def _two_frames(self, index: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(B,) int64 twice: frames of source and target, the same one only where that is asked for.

        A clip of one frame has no other.
        """
        draw = torch.rand(len(index), 4, generator=generator, device=self.device)
        first, length = self._starts[index], self._starts[index + 1] - self._starts[index]
        source = first + (draw[:, 0] * length).long().clamp(max=length - 1)
        leads = draw[:, 2] < self.config.first_source
        source = torch.where(leads, first, source)
        away = 1 + (draw[:, 1] * (length - 1)).long().clamp(max=length - 2)  # 1 to length - 1
        target = first + (source - first + away) % length
        if self._gaps is not None:
            pictures = first[:, None] + torch.arange(self.config.first_frames, device=self.device)
            near = nearest_look(self._gaps[pictures], self._gaps[target])
            source = torch.where(leads, first + near, source)
        return source, torch.where(draw[:, 3] < self.config.same_frame, source, target)

    def _reframing(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Shift (B, 2) in sides and enlargement (B,), never showing what lies outside the frame."""
        draw = torch.rand(batch, 4, generator=generator, device=self.device)
        chosen = draw[:, 0] < self.config.reframe
        zoom = torch.where(chosen, 1 + 0.12 * draw[:, 1], 1.0)
        return (zoom[:, None] - 1) * (draw[:, 2:] - 0.5), zoom

    def _pictures(self, frames: Tensor, shift: Tensor, zoom: Tensor, size: int) -> Tensor:
        """(N, 3, size, size) in [-1, 1] of frames (N,), moved as the landmarks are."""
        pictures = self._frames[frames].float() / 127.5 - 1
        while pictures.shape[-1] >= 2 * size:
            pictures = functional.avg_pool2d(pictures, 2)
        if pictures.shape[-1] == size and bool((zoom == 1).all()):
            return pictures
        plane = 2 * pixel_middles(size, self.device).permute(1, 2, 0) - 1
        grid = (plane - 2 * shift[:, None, None]) / zoom[:, None, None, None]
        return functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)

    def _correspondence(
        self, rig: Rig, batch: int, side: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Displacement, validity, insides of mouths, weights: targets (second half) towards the sources."""
        still, moving = rig.rest[:batch], rig.rest[batch:]
        seen, wanted = (rasterise(points, rig.triangles, side) for points in (still, moving))
        displacement, valid = correspondence(wanted, seen, still, self._face)
        weights = region_weights(wanted, rig.regions)
        within = self._mouth[wanted.triangle.clamp(min=0)] & (wanted.triangle >= 0)
        return displacement * valid, valid.float(), within[:, None].float(), weights


def _face_triangles() -> NDArray[np.bool_]:
    """(T,) bool: triangles of skin and eyes, whose landmarks were found in the picture."""
    corners = mesh.triangles()
    skin = corners.max(1) < mesh.FACE.stop
    eyes = (corners.min(1) >= mesh.EYEBALLS[0].start) & (corners.max(1) < mesh.EYEBALLS[1].stop)
    return np.asarray(skin | eyes)


def closures(source: Tensor, target: Tensor) -> Tensor:
    """(2B, 2): how far the lids of two frames of one person are shut, 1 where wholly, from their gaps (B, 2) each.

    ``source``, ``target``: over the eyes' width, as landmarks show it, which never quite meet. The wider of the two is
    taken for the person's open eye: from there lids go to the end of their way as live (``engine.retargeting``).
    """
    shut, ordinary = LIDS
    wide = torch.maximum(source, target).clamp(min=shut + 0.05)
    opened = (torch.stack([source, target]) - shut).clamp(min=0) / (wide - shut)
    return (1 - wide / ordinary * opened).flatten(0, 1)
