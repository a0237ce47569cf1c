"""A portrait as its network sees it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from lia_live.avatar.headroom import with_headroom
from lia_live.frame import Pixels
from lia_live.model import LIA, Look
from lia_live.puppet.opening import open_mouth
from lia_live.puppet.theta import NAMES, OPEN, TRACKED

EXPRESSION: Final = {NAMES[index] for index in TRACKED}


def look_of(model: LIA, crop: Pixels, landmarks: NDArray[np.float32] | None) -> Look:
    """A portrait (S, S, 3) uint8 RGB encoded once, batch 1, where the network is.

    ``landmarks``: (478, 3) in its pixels; None where nobody knows them. Networks whose motions have names see hair that
    the upper edge cuts off closed to a dome, and a closed mouth opened. ``Look.motion`` is the portrait's own then: as
    they read it; but where its mouth was opened, its expression is what they read of that picture, less what the mouth
    was opened by, as they were trained.
    """
    with torch.no_grad():
        look = model.encode_portrait(crop)
        framing = model.config.framing
        if landmarks is None or framing.kind != "face" or not model.names_motions:
            return look
        picture = with_headroom(crop, landmarks)
        opened = open_mouth(picture, landmarks, framing)
        if opened.picture is crop:
            return look
        shown = model.encode_portrait(opened.picture)
        if not opened.by:
            return replace(shown, motion=look.motion)
        motion = look.motion.clone()
        for index, direction in enumerate(model.directions):
            if direction.name in EXPRESSION:
                motion[:, index] = shown.motion[:, index]
            if direction.name == NAMES[OPEN]:
                # landmarks know that it is closed: no more open than that, nor than it is read
                motion[:, index] -= opened.by * direction.scale
                motion[:, index] = (
                    motion[:, index].minimum(look.motion[:, index]).clamp(max=direction.neutral)
                )
        return replace(shown, motion=motion)
