"""A portrait as its network sees it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from lia_live.frame import Pixels
from lia_live.model import LIA, Look
from lia_live.puppet.opening import open_mouth
from lia_live.puppet.theta import NAMES, OPEN


def look_of(model: LIA, crop: Pixels, landmarks: NDArray[np.float32] | None) -> Look:
    """A portrait (S, S, 3) uint8 RGB encoded once, batch 1, where the network is.

    ``landmarks``: (478, 3) in its pixels; None where nobody knows them. Networks whose motions have names see a closed
    mouth opened, and are told by ``Look.motion`` how the portrait itself holds it: what they read of it, but for lips,
    which landmarks know to be closed.
    """
    with torch.no_grad():
        look = model.encode_portrait(crop)
        framing = model.config.framing
        if landmarks is None or framing.kind != "face" or not model.names_motions:
            return look
        shown, _ = open_mouth(crop, landmarks, framing)
        if shown is crop:
            return look
        motion = look.motion.clone()
        for index, direction in enumerate(model.directions):
            if direction.name == NAMES[OPEN]:
                motion[:, index].clamp_(max=direction.neutral)
        return replace(model.encode_portrait(shown), motion=motion)
