"""Closed mouths opened, teeth painted into them: what a network warps it need not invent.

A portrait whose lips are shut shows no teeth, and a network that has to make them up draws the blurred mean of all that
might be there. So it is shown the portrait with its lips apart instead, as the mesh moves them, and closes them where
they are closed: then teeth have the edges that the portrait's own would have.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from lia_live.frame import Pixels
from lia_live.model.config import Framing
from lia_live.puppet.maps import pixel_middles
from lia_live.puppet.puppets import Puppets
from lia_live.puppet.rig import Rig
from lia_live.puppet.theta import OPEN, THETA

CLOSED: Final = 0.05
"""A mouth whose lips are nearer to each other, eye distances, shows no teeth that could be warped."""
OPENED: Final = 0.15
"""How far it is opened: all of the upper teeth are seen, and some dark below them."""
BATCH: Final = 8
"""Puppets posed at a time."""
MOVED: Final = 0.05
"""Pixels. What the mesh moves less is taken from the portrait itself."""
FINER: Final = 2
"""An avatar's mouth is painted so many times finer than the picture, and then reduced."""


def opened(puppets: Puppets) -> Puppets:
    """The same N puppets, those with closed mouths showing their teeth. They move as before, and can close them."""
    closed = (puppets.gap < CLOSED).nonzero().flatten()
    images, shown = puppets.images.clone(), puppets.shown.clone()
    shown[closed, OPEN] = OPENED / THETA[OPEN].scale
    side = images.shape[-1]
    for index in closed.split(BATCH):
        pictures, _ = puppets.paint(puppets.scene(index, shown[index], side), side)
        images[index] = (pictures * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
    return Puppets(images, puppets.rig, shown)


def open_mouth(picture: Pixels, landmarks: NDArray[np.float32], framing: Framing) -> Pixels:
    """(S, S, 3) uint8 RGB: a portrait with its mouth open, ``picture`` itself where it is already.

    ``landmarks``: (478, 3) in its pixels. Nothing but what the opening mouth moves is changed.
    """
    side = len(picture)
    rig = Rig(torch.from_numpy(landmarks)[None], side, framing)
    if float(rig.gap) >= CLOSED:
        return picture
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    fine = functional.interpolate(image, scale_factor=FINER, mode="bicubic", align_corners=False)
    puppets = Puppets(fine.round().clamp(0, 255).to(torch.uint8), rig)
    theta = rig.own.clone()
    theta[:, OPEN] = OPENED / THETA[OPEN].scale
    scene = puppets.scene(torch.zeros(1, dtype=torch.int64), theta, side * FINER)
    painted, _ = puppets.paint(scene, side * FINER)
    away = (scene.mouths.place - pixel_middles(side * FINER)).abs().amax(1, keepdim=True)
    seen = scene.raster.triangle[:, None] >= 0  # the mesh leaves out a picture's corners
    changed = (seen & (away * side > MOVED)).float().maximum(scene.mouths.painted)
    made = functional.avg_pool2d(painted, FINER) * 127.5 + 127.5
    blended = torch.lerp(image, made, functional.max_pool2d(changed, FINER))
    return blended[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy().copy()
