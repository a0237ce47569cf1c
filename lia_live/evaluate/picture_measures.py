"""What is read off the pictures themselves: absolute difference, sharpness, trembling."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from lia_live.frame import Pixels
from lia_live.track.crop import Landmarks

FACE_POINTS = 468
"""The mesh without the irises, whose points jump when lids close."""


def l1(picture: Pixels, other: Pixels) -> float:
    """Mean absolute difference of two pictures of one size, in [0, 1]."""
    return float(cv2.absdiff(picture, other).mean()) / 255


def keypoint_distance(landmarks: Landmarks, other: Landmarks, side: float) -> float:
    """Mean distance in the picture plane of the mesh's 468 points, in pixels of a 256-pixel square."""
    apart = landmarks[:FACE_POINTS, :2].astype(np.float64) - other[:FACE_POINTS, :2]
    return float(np.linalg.norm(apart, axis=1).mean()) * 256 / side


def gradient_energy(picture: Pixels, landmarks: Landmarks) -> float:
    """Mean squared gradient of the grey levels (of 255) inside the face: falls as a picture blurs."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    across = cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    down = cv2.Sobel(grey, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    hull = cv2.convexHull(landmarks[:FACE_POINTS, :2].astype(np.int32))
    mask = np.zeros(grey.shape, np.uint8)
    cv2.fillConvexPoly(mask, hull, (1,))
    inside = mask.astype(bool)
    if not inside.any():
        return float("nan")
    return float((across[inside] ** 2 + down[inside] ** 2).mean())


def trembling(faces: Sequence[Landmarks | None], side: float) -> float:
    """Standard deviation over time of a landmark's place, mean of all, in pixels of a 256-pixel square.

    NaN with fewer than two faces.
    """
    found = [points[:FACE_POINTS, :2] for points in faces if points is not None]
    if len(found) < 2:
        return float("nan")
    variance = np.stack(found).astype(np.float64).var(axis=0).sum(axis=1)
    return float(np.sqrt(variance).mean()) * 256 / side
