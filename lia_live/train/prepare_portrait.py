"""One picture -> one prepared portrait, or the reason why not."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from lia_live.errors import MediaError
from lia_live.frame import Box, Pixels
from lia_live.track import framed_box, full_frame_box
from lia_live.train.portraits import Portraits
from lia_live.train.prepare_config import PrepareConfig
from lia_live.train.prepare_finder import LandmarkFinder

EYE_CORNERS: Final = (33, 263)
"""Outer eye corners in MediaPipe's numbering: left and right in the picture."""


def prepare_portrait(
    pixels: Pixels,
    config: PrepareConfig | None = None,
    finder: LandmarkFinder | None = None,
    name: str = "portrait",
) -> Portraits:
    """One picture (H, W, 3) uint8 RGB as ``Portraits`` of length 1.

    Raises ``MediaError`` (its message is the reason) if there is no face, or the face is too small,
    too far turned, or too close to the edge of the picture.
    """
    config = config or PrepareConfig()
    if finder is None:
        with LandmarkFinder() as own:
            landmarks = own.find(pixels)
    else:
        landmarks = finder.find(pixels)
    hint = "use a frontal portrait with some room around the head"
    if landmarks is None:
        raise MediaError("no face found", hint)
    left, right = landmarks[EYE_CORNERS[0]], landmarks[EYE_CORNERS[1]]
    eye_px = float(np.linalg.norm(right - left))
    if eye_px < config.min_eye_px:
        raise MediaError(f"face too small: eyes {eye_px:.0f} px apart", hint)
    yaw_deg = abs(float(np.degrees(np.arctan2(right[2] - left[2], right[0] - left[0]))))
    if yaw_deg > config.max_yaw_deg:
        raise MediaError(f"turned too far: {yaw_deg:.0f} degrees", hint)
    height, width = pixels.shape[:2]
    if config.keep_framing:
        box = full_frame_box(height, width)
    else:
        box = framed_box(landmarks, config.framing)
    border = border_share(box, width, height)
    if border > config.max_border:
        raise MediaError(f"too close to the edge: {border:.0%} of the crop is outside", hint)
    return Portraits(
        torch.from_numpy(cut(pixels, box, config.side)).permute(2, 0, 1)[None].contiguous(),
        torch.from_numpy(moved_into(landmarks, box, config.side))[None],
        (name,),
        ("",),
        torch.zeros(1, dtype=torch.bool),
    )


def border_share(box: Box, width: int, height: int) -> float:
    """How much of ``box`` lies outside a picture of ``width`` by ``height``; 0 to 1."""
    inside_x = min(box.x + box.side, width) - max(box.x, 0)
    inside_y = min(box.y + box.side, height) - max(box.y, 0)
    return max(0.0, 1 - max(inside_x, 0) * max(inside_y, 0) / box.side**2)


def moved_into(landmarks: NDArray[np.float32], box: Box, side: int) -> NDArray[np.float32]:
    """Landmarks (..., 3) of a picture in pixels of what ``cut`` makes of it."""
    points = (landmarks - np.array([box.x, box.y, 0], np.float32)) * (side / box.side)
    return points.astype(np.float32)


def cut(pixels: Pixels, box: Box, side: int) -> Pixels:
    """``box`` of ``pixels`` as (side, side, 3), its edge replicated outwards; sharper than the live crop."""
    scale = side / box.side
    if scale < 1:  # blur away what the smaller picture cannot hold
        sigma = 0.45 * (1 / scale - 1) + 0.15
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.uint8)
    shift = 0.5 * scale - 0.5  # pixel centres, not corners, are what warpAffine counts
    matrix = np.array([[scale, 0, -box.x * scale + shift], [0, scale, -box.y * scale + shift]])
    return np.asarray(
        cv2.warpAffine(
            pixels, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        ),
        np.uint8,
    )
