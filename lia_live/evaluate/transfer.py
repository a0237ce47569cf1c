"""Absolute transfer on crops: the network alone, without tracker, policy and smoothing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from lia_live.avatar.look import looks_of
from lia_live.avatar.mouths import Mouths
from lia_live.evaluate.landmarks import landmarks_of
from lia_live.evaluate.picture_measures import l1, trembling
from lia_live.frame import Pixels
from lia_live.model import LIA, to_pixels, to_tensor

NOISE_SD: Final = 4.0
"""Of the noise on a still driver, in grey levels of 255: a webcam's in a lit room."""
STILL_FRAMES: Final = 24
"""So many noisy copies make a still driver."""


def look_at(model: LIA, source: Pixels) -> Mouths:
    """A frame (S, S, 3) uint8 RGB, S the model's size, encoded as the portrait of an avatar is.

    Raises ``ConfigError`` for other sizes.
    """
    landmarks = landmarks_of(source) if model.names_motions else None
    return Mouths(*looks_of(model, source, landmarks), model.directions)


def reconstruct(
    model: LIA, mouths: Mouths, driving: Sequence[Pixels], batch: int = 8
) -> list[Pixels]:
    """A portrait in the pose and expression of each of ``driving``: all (S, S, 3) uint8 RGB, S the model's size.

    Runs where the model is, without gradients, ``batch`` frames at a time. Raises ``ConfigError`` for other sizes.
    """
    device = next(model.parameters()).device
    outputs: list[Pixels] = []
    with torch.no_grad():
        for begin in range(0, len(driving), batch):
            part = np.stack(driving[begin : begin + batch])
            codes = model.encode_motion(to_tensor(part, device)).float().cpu().numpy()
            outputs.extend(posed(model, mouths, codes))
    return outputs


def posed(model: LIA, mouths: Mouths, codes: NDArray[np.float32]) -> list[Pixels]:
    """A portrait in each of ``codes`` (N, M), told as to its own look: N of (S, S, 3) uint8 RGB.

    Neighbours that one look shows are rendered at once.
    """
    device = next(model.parameters()).device
    numbers = [mouths.showing(code) for code in codes]
    outputs: list[Pixels] = []
    for number, run in groupby(range(len(codes)), key=numbers.__getitem__):
        told = np.stack([mouths.told(codes[place], number) for place in run])
        look = mouths.look(number).to(device).repeated(len(told))
        with torch.no_grad():
            outputs.extend(to_pixels(model.render(look, torch.tensor(told, device=device))))
    return outputs


def neutral_l1(model: LIA, mouths: Mouths, source: Pixels) -> float:
    """L1 of a source, whose looks are known, driven by itself to itself, in [0, 1]: what the network loses before
    anything moves.
    """
    return l1(reconstruct(model, mouths, [source])[0], source)


def noisy(picture: Pixels, count: int, seed: int = 0) -> list[Pixels]:
    """``count`` copies of a picture with fresh normal noise of ``NOISE_SD``."""
    random = np.random.default_rng(seed)
    return [
        np.clip(picture + random.normal(0, NOISE_SD, picture.shape), 0, 255)
        .round()
        .astype(np.uint8)
        for _ in range(count)
    ]


def jitter(model: LIA, mouths: Mouths, still: Pixels) -> tuple[float, float]:
    """How the output trembles while the driver is one frame, ``still``, under fresh noise.

    In pixels at 256, see ``trembling``: of the outputs, and of the noisy frames themselves, where nothing moves and
    only MediaPipe errs.
    """
    driving = noisy(still, STILL_FRAMES)
    side = still.shape[0]
    outputs = reconstruct(model, mouths, driving)
    return (
        trembling([landmarks_of(picture) for picture in outputs], side),
        trembling([landmarks_of(picture) for picture in driving], side),
    )
