"""The inside of mouths, where the network has put the lips.

A network that errs by two pixels in where the lips are cannot know where the target's teeth lie to the pixel, and
whoever is judged there by the pixel paints the mean of all places that they may have: a soft white band. What a mouth
looks like is therefore judged between the network's own lips, and where the lips are by the flow alone.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from lia_live.puppet.maps import pixel_middles
from lia_live.train.pairs import Pairs
from lia_live.train.perceptual import shrink

NEAR: Final = 1.5
"""Lips tell an inside where it is by their distance: standard deviation of their say, pixels of half the resolution."""
FAR: Final = 5.0
"""The same for what is too deep inside for that ..."""
FAR_SHARE: Final = 0.03
"""... which counts so much."""
RIM: Final = 4
"""Lips are moved along so far from an inside, pixels of half the resolution."""
LONGEST: Final = 0.08
"""No part is moved further, half pictures: a network that errs more has something else to learn first."""


@torch.no_grad()
def registered(pairs: Pairs, raw: Tensor) -> Pairs:
    """``pairs`` with mouths moved to where the network shows them: target, ``valid``, ``judged``, ``within``,
    ``teeth``, ``tongue`` and ``weights``; the rest, ``displacement`` too, is left alone.

    ``raw``: (B, 3, S, S) flow and mask logit of the top level. Where both it and the truth take a pixel from the
    source, the difference of the two flows tells how far the shown thing lies from its place; insides take that of
    the lips around them. Pairs of which nothing is known, and closed mouths, stay as they are.
    """
    size = raw.shape[-1]
    away = torch.tanh(raw[:, :2].float()) - pairs.flow_at(size)
    within = pairs.within_at(size)
    both = pairs.valid_at(size) * (1 - within) * torch.sigmoid(raw[:, 2:3].float())
    both, away, within = (F.avg_pool2d(one, 2) for one in (both, away * both, within))
    said = torch.cat([away, both], 1)
    said = _blurred(said, NEAR) + FAR_SHARE * _blurred(said, FAR)
    move = (said[:, :2] / said[:, 2:].clamp(min=1e-4)).clamp(-LONGEST, LONGEST)
    here = _blurred(F.max_pool2d(within, 2 * RIM + 1, 1, RIM), NEAR)
    move = move * here
    moved = {"target": _moved(pairs.target, move, "bicubic").clamp(-1, 1)}
    maps = ("valid", "judged", "within", "teeth", "tongue", "weights")
    stacked = torch.cat([getattr(pairs, name) for name in maps], 1)
    moved |= zip(maps, _moved(stacked, move, "bilinear").split(1, 1), strict=True)
    return Pairs(**(pairs.tensors() | moved))


def _moved(maps: Tensor, move: Tensor, mode: str) -> Tensor:
    """(B, C, r, r) sampled at each pixel's place plus ``move`` (B, 2, s, s), half pictures."""
    side = maps.shape[-1]
    move = F.interpolate(move, size=(side, side), mode="bilinear", align_corners=False)
    place = 2 * pixel_middles(side, maps.device) - 1 + move
    return F.grid_sample(
        maps, place.permute(0, 2, 3, 1), mode, padding_mode="border", align_corners=False
    )


def _blurred(maps: Tensor, spread: float) -> Tensor:
    """A Gaussian of that standard deviation, pixels; nothing beyond the edges."""
    reach = round(3 * spread)
    steps = torch.arange(-reach, reach + 1, device=maps.device, dtype=maps.dtype)
    taps = torch.exp(-0.5 * (steps / spread).square())
    return shrink(maps, taps / taps.sum(), 1)
