"""Closed mouths opened, teeth painted into them: what a network warps it need not invent.

A portrait whose lips are shut shows no teeth, and a network that has to make them up draws the blurred mean of all that
might be there. So it is shown the portrait with its lips apart instead, as the mesh moves them, and closes them where
they are closed: then teeth have the edges that the portrait's own would have.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lia_live.frame import Pixels
from lia_live.model.config import Framing
from lia_live.puppet import mesh
from lia_live.puppet.maps import pixel_middles
from lia_live.puppet.puppets import Puppets
from lia_live.puppet.rig import LEAST_GAP, Rig
from lia_live.puppet.theta import OPEN, THETA

CLOSED: Final = 0.05
"""A mouth whose lips are nearer to each other, eye distances, shows no teeth that could be warped."""
OPENED: Final = 0.15
"""How far it is opened: all of the upper teeth are seen, and some dark below them."""
MOVED: Final = 0.05
"""Pixels. What the mesh moves less is taken from the portrait itself."""
BATCH: Final = 8
"""Puppets posed at a time."""
FINER: Final = 2
"""The mouth of an avatar up to ``FINE_SIDE`` pixels wide is painted so many times finer, and then reduced."""
FINE_SIDE: Final = 512


def opened(images: Tensor, landmarks: Tensor) -> Puppets:
    """N portraits (N, 3, P, P) uint8 RGB with landmarks (N, 478, 3) as puppets of two looks: as they are, and those
    with closed mouths showing their teeth.
    """
    rig = Rig(landmarks, images.shape[-1])
    closed = rig.gap < CLOSED
    pictures, shown = images.clone(), torch.where(closed[:, None], _opened(rig.own), rig.own)
    numbers = closed.nonzero().flatten()
    for index in numbers.split(BATCH) if len(numbers) else ():
        part = landmarks[index]
        pictures[index], _ = _with_open_mouths(
            images[index], part, Rig(part, images.shape[-1]), finer=1
        )
    return Puppets(torch.cat([images, pictures]), rig, torch.cat([rig.own, shown]))


class Opened(NamedTuple):
    """A portrait whose mouth is open."""

    picture: Pixels
    """(S, S, 3) uint8 RGB."""
    landmarks: NDArray[np.float32]
    """(478, 3) in pixels of it."""
    by: float
    """How far its lips were moved apart, in theta's unit (``THETA[OPEN]``); 0 where they had been already."""


def open_mouth(picture: Pixels, landmarks: NDArray[np.float32], framing: Framing) -> Opened:
    """A portrait (S, S, 3) uint8 RGB with its mouth open, ``picture`` itself where it is open already.

    ``landmarks``: (478, 3) in its pixels. Nothing but what the opening mouth moves is changed.
    """
    image = torch.tensor(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]
    place = torch.tensor(np.ascontiguousarray(landmarks))[None]
    rig = Rig(place, len(picture), framing)
    gap = float(rig.gap)
    if gap >= CLOSED:
        return Opened(picture, landmarks, 0.0)
    finer = FINER if len(picture) <= FINE_SIDE else 1
    made, moved = _with_open_mouths(image, place, rig, finer)
    by = (OPENED - gap) / THETA[OPEN].scale
    return Opened(made[0].permute(1, 2, 0).numpy().copy(), moved[0].numpy(), by)


def _with_open_mouths(
    images: Tensor, landmarks: Tensor, rig: Rig, finer: int
) -> tuple[Tensor, Tensor]:
    """Pictures (B, 3, P, P) uint8 and landmarks (B, 478, 3), of which ``rig`` was made, mouths open; painted ``finer``
    and reduced.
    """
    side = images.shape[-1]
    fine = images
    if finer > 1:
        fine = functional.interpolate(images.float(), scale_factor=finer, mode="bicubic")
        fine = fine.round().clamp(0, 255).to(torch.uint8)
    puppets = Puppets(fine, rig)
    puppets.gap.fill_(LEAST_GAP)  # what little shows of a mouth is painted over
    index = torch.arange(len(images), device=images.device)
    scene = puppets.scene(index, _opened(rig.own), side * finer)
    painted, _ = puppets.paint(scene, side * finer)
    away = scene.mouths.place - pixel_middles(side * finer, images.device)
    seen = scene.raster.triangle[:, None] >= 0  # the mesh leaves out a picture's corners
    changed = seen & (away.abs().amax(1, keepdim=True) * side > MOVED)
    changed = functional.max_pool2d(changed.float().maximum(scene.mouths.painted), finer)
    made = functional.avg_pool2d(painted, finer) * 127.5 + 127.5
    made = torch.lerp(images.float(), made, changed).round().clamp(0, 255).to(torch.uint8)
    moved = landmarks.clone()
    before = rig.pose(index, rig.own)[:, mesh.FACE]
    moved[:, mesh.FACE] += (scene.points[:, mesh.FACE] - before) * side
    return made, moved


def _opened(theta: Tensor) -> Tensor:
    """(B, 16): the same with an open mouth."""
    wide = theta.clone()
    wide[:, OPEN] = OPENED / THETA[OPEN].scale
    return wide
