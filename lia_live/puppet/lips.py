"""Lips that meet, part and open: pictures of one portrait, so that a network that warps them need not invent.

A portrait whose lips are shut shows no teeth, one that laughs no line between its lips. A network that has to make
these up draws the blurred mean of all that they might be. So it is shown the portrait several times, its lips so far
apart as the mesh moves them, and what it shows of a mouth comes from the picture that is nearest: there teeth have the
edges that the portrait's own would have, and lips that meet are lips.
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

GAPS: Final = (0.0, 0.035, 0.085, 0.16, 0.3)
"""How far lips are apart in the pictures of a portrait, eye distances: they meet, part, show the edges of teeth, all of
the upper ones, the tongue. Its own gap stands in place of the nearest of these."""
OPENED: Final = GAPS[3]
SWITCH: Final = 0.35
"""How much of the way from one gap to the next is made from the first: what is to be hidden, a picture has; what is to
be shown, it lacks."""
CLOSED: Final = 0.05
"""What is seen of a mouth whose lips are nearer to each other, eye distances, is nothing to be warped."""
PARTED: Final = 0.015
"""Lips that are further apart, eye distances, show what is between them."""
MOVED: Final = 0.05
"""Pixels. What the mesh moves less is taken from the portrait itself."""
BATCH: Final = {"cpu": 8, "cuda": 64}
"""Puppets posed at a time."""
FINER: Final = 2
"""The mouth of an avatar up to ``FINE_SIDE`` pixels wide is painted so many times finer, and then reduced."""
FINE_SIDE: Final = 512


class Lips(NamedTuple):
    """A portrait whose lips are so far apart."""

    picture: Pixels
    """(S, S, 3) uint8 RGB."""
    landmarks: NDArray[np.float32]
    """(478, 3) in pixels of it."""
    by: float
    """How much further than in the portrait itself, in theta's unit (``THETA[OPEN]``); below 0: nearer; 0: itself."""


def moved_apart(
    picture: Pixels, landmarks: NDArray[np.float32], framing: Framing
) -> tuple[Lips, ...]:
    """A portrait (S, S, 3) uint8 RGB with its lips ``GAPS`` apart, one of them its own: ``picture`` itself.

    ``landmarks``: (478, 3) in its pixels. Nothing but what the mouth moves is changed.
    """
    image = torch.tensor(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]
    place = torch.tensor(np.ascontiguousarray(landmarks))[None]
    rig = Rig(place, len(picture), framing)
    finer = FINER if len(picture) <= FINE_SIDE else 1
    own = float(rig.gap)
    found = []
    for gap in gaps_of(rig.gap)[0].tolist():
        if gap == own:
            found.append(Lips(picture, landmarks, 0.0))
            continue
        made, there = _with_lips(image, place, rig, torch.tensor([gap]), finer)
        by = (gap - own) / THETA[OPEN].scale
        found.append(Lips(made[0].permute(1, 2, 0).numpy().copy(), there[0].numpy(), by))
    return tuple(found)


def looks(images: Tensor, landmarks: Tensor) -> Puppets:
    """N portraits (N, 3, P, P) uint8 RGB with landmarks (N, 478, 3) as puppets of 1 + K looks: as they are, and with
    their lips each of K ``gaps_of`` apart.
    """
    rig = Rig(landmarks, images.shape[-1])
    gaps = gaps_of(rig.gap)  # (N, K)
    pictures, shown = [images], [rig.own]
    for gap in gaps.T:
        picture, theta = images.clone(), _apart(rig.own, gap)
        numbers = (gap != rig.gap).nonzero().flatten()
        theta = torch.where((gap == rig.gap)[:, None], rig.own, theta)
        for index in numbers.split(BATCH[images.device.type]) if len(numbers) else ():
            part = landmarks[index]
            picture[index], _ = _with_lips(
                images[index], part, Rig(part, images.shape[-1]), gap[index], finer=1
            )
        pictures.append(picture)
        shown.append(theta)
    made = Puppets(torch.cat(pictures), rig, torch.cat(shown))
    made.inside[len(rig) :] = (gaps.T.flatten() > PARTED).float()
    return made


def gaps_of(own: Tensor) -> Tensor:
    """(N, K) ``GAPS``, ascending, for portraits whose ``own`` (N,) stands in place of the nearest. Eye distances."""
    every = own.new_tensor(GAPS).repeat(len(own), 1)
    nearest = (every - own[:, None]).abs().argmin(1, keepdim=True)
    return every.scatter(1, nearest, own[:, None])


def nearest_look(gaps: Tensor, gap: Tensor) -> Tensor:
    """(B,) int64: which of ``gaps`` (B, K), ascending, shows lips that are ``gap`` (B,) apart."""
    ends = gaps[:, :-1] + SWITCH * (gaps[:, 1:] - gaps[:, :-1])
    return (gap[:, None] > ends).sum(1)


def _with_lips(
    images: Tensor, landmarks: Tensor, rig: Rig, gap: Tensor, finer: int
) -> tuple[Tensor, Tensor]:
    """Pictures (B, 3, P, P) uint8 and landmarks (B, 478, 3), of which ``rig`` was made, lips ``gap`` (B,) apart;
    painted ``finer`` and reduced.
    """
    side = images.shape[-1]
    fine = images
    if finer > 1:
        fine = functional.interpolate(images.float(), scale_factor=finer, mode="bicubic")
        fine = fine.round().clamp(0, 255).to(torch.uint8)
    puppets = Puppets(fine, rig)
    # what little shows of a closed mouth is painted over
    puppets.gap = torch.where(rig.gap < CLOSED, LEAST_GAP, rig.gap)
    puppets.inside *= rig.gap >= CLOSED
    index = torch.arange(len(images), device=images.device)
    scene = puppets.scene(index, _apart(rig.own, gap), side * finer)
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


def _apart(theta: Tensor, gap: Tensor) -> Tensor:
    """(B, 16): the same with lips ``gap`` (B,) eye distances apart."""
    apart = theta.clone()
    apart[:, OPEN] = gap / THETA[OPEN].scale
    return apart
