"""A portrait as its network sees it: once for each way in which its lips may be apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lia_live.avatar.headroom import with_headroom
from lia_live.avatar.mouths import Mouth
from lia_live.frame import Pixels
from lia_live.model import LIA, Look, to_tensor
from lia_live.model.synthesis import warp
from lia_live.puppet.lips import SWITCH, Lips, moved_apart
from lia_live.puppet.theta import NAMES, OPEN, SCALE, TRACKED

EXPRESSION: Final = {NAMES[index] for index in TRACKED}
POSE: Final = NAMES[: SCALE + 1]
STEP: Final = 0.15
"""By how much a pose is changed to see what changes, coefficients."""
REDUCED: Final = 4
"""Pictures are compared so many times smaller ..."""
UNLIKE: Final = 0.3
"""... where they differ by less than this, of 2: elsewhere lips are apart, and no head has moved."""

RIDGE: Final = 1e-6
"""Steadies directions that change next to nothing."""


def looks_of(
    model: LIA, crop: Pixels, landmarks: NDArray[np.float32] | None
) -> tuple[Look, tuple[Mouth, ...]]:
    """A portrait (S, S, 3) uint8 RGB encoded, batch 1, where the network is: its own look, and others of its mouth.

    ``landmarks``: (478, 3) in its pixels; None where nobody knows them. Networks whose motions have names see hair that
    the upper edge cuts off closed to a dome, and the portrait again with its lips apart in several ways. ``motion`` of
    each look is the portrait at rest: its pose as they read it of the portrait, its expression as they read it of that
    look's picture, less what its lips were moved by, as they were trained.
    """
    with torch.no_grad():
        look = model.encode_portrait(crop)
        framing = model.config.framing
        if landmarks is None or framing.kind != "face" or not model.names_motions:
            return look, ()
        opens = any(direction.name == NAMES[OPEN] for direction in model.directions)
        picture = with_headroom(crop, landmarks)
        itself = (Lips(picture, landmarks, 0.0),)
        every = moved_apart(picture, landmarks, framing) if opens else itself
        own = next(place for place, lips in enumerate(every) if lips.by == 0)
        shown = [model.encode_portrait(lips.picture) for lips in every]
        looks = [
            replace(there, motion=_at_rest(model, look.motion, there.motion, lips.by))
            for lips, there in zip(every, shown, strict=True)
        ]
        looks[own] = replace(shown[own], motion=look.motion)
        device = look.latent.device
        small = [functional.avg_pool2d(to_tensor(lips.picture, device), REDUCED) for lips in every]
        upwards = [(place, place - 1) for place in range(own + 1, len(every))]
        downwards = [(place, place + 1) for place in range(own - 1, -1, -1)]
        for place, beside in (*upwards, *downwards):
            low, high = sorted((every[place].by, every[beside].by))
            end = low + SWITCH * (high - low)
            one, other = (_Seen(looks[at], small[at]) for at in (place, beside))
            looks[place] = _aligned(model, one, other, end)
    others = tuple(
        Mouth(lips.by, there) for lips, there in zip(every, looks, strict=True) if lips.by != 0
    )
    return looks[own], others


def _at_rest(model: LIA, portrait: Tensor, shown: Tensor, by: float) -> Tensor:
    """(1, M): motion of the ``portrait`` (1, M), for a look whose lips are ``by`` further apart, read as ``shown``."""
    motion = portrait.clone()
    for place, direction in enumerate(model.directions):
        if direction.name in EXPRESSION:
            motion[:, place] = shown[:, place]
        if direction.name == NAMES[OPEN]:
            motion[:, place] -= by * direction.scale
    return motion


class _Seen(NamedTuple):
    """A look, and its picture."""

    look: Look
    picture: Tensor
    """(1, 3, r, r) reduced, [-1, 1]."""


def _aligned(model: LIA, one: _Seen, beside: _Seen, by: float) -> Look:
    """The look of ``one`` so that its head is where that of ``beside`` is, when both open their lips ``by``.

    An encoder reads a nod from a jaw that drops; what a look is told is corrected by one Gauss-Newton step, if that
    brings the pictures nearer to each other: nobody must see when one takes the other's place.
    """
    names = [direction.name for direction in model.directions]
    free = [names.index(name) for name in POSE if name in names]
    look = one.look
    if NAMES[OPEN] not in names or not free:
        return look
    opened = torch.zeros_like(look.motion)
    place = names.index(NAMES[OPEN])
    opened[:, place] = by * model.directions[place].scale
    tried = (look.motion + opened).repeat(1 + len(free), 1)
    for row, index in enumerate(free, 1):
        tried[row, index] += STEP
    wanted = _moved(model, beside, beside.look.motion + opened)[0]
    seen = _moved(model, one, tried)
    error = wanted - seen[0]
    alike = (error.abs() < UNLIKE).float()
    slopes = ((seen[1:] - seen[0]) / STEP * alike).T  # (P, len(free))
    normal = slopes.T @ slopes
    ridge = RIDGE * normal.trace() + 1e-12
    step = torch.linalg.solve(normal + ridge * torch.eye(len(free)).to(normal), slopes.T @ error)
    motion = look.motion.clone()
    motion[:, free] += step
    better = ((wanted - _moved(model, one, motion + opened)[0]) * alike).abs().mean()
    return replace(look, motion=motion) if better < (error * alike).abs().mean() else look


def _moved(model: LIA, seen: _Seen, codes: Tensor) -> Tensor:
    """(N, P): where codes (N, M) move a look's picture, by the flow as far as its level goes: the finer ones take nine
    tenths of the time.
    """
    look = seen.look.repeated(len(codes))
    coarse = tuple(one for one in look.features if one.shape[-1] <= seen.picture.shape[-1])
    _, raws = model.dec.levels(look.latent + model.dec.direction(codes), coarse)
    flow = torch.tanh(raws[-1][:, :2])
    return warp(seen.picture.expand(len(codes), -1, -1, -1), flow).flatten(1)
