"""A few cheap numbers about a face: where it looks, and how far mouth, eyes and brows are open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lia_live.model.labels import BROWS, BROWS_BESIDE, BROWS_INNER, EYES_INNER
from lia_live.track.crop import Landmarks

# fmt: off
_PAIRS: Final = (
    (33, 263, 0.500, 0.000, 0.000), (133, 362, 0.190, 0.016, -0.059), (127, 356, 0.773, 0.123, 0.537),
    (234, 454, 0.767, 0.277, 0.577), (162, 389, 0.760, -0.045, 0.435), (21, 251, 0.727, -0.186, 0.301),
    (54, 284, 0.665, -0.317, 0.176), (103, 332, 0.562, -0.427, 0.045), (67, 297, 0.396, -0.502, -0.071),
    (109, 338, 0.215, -0.540, -0.139),
)
"""Landmarks that no expression moves, in pairs (right, left), and where they are on an upright frontal head:
x to either side, y down, z away from the camera, in eye distances from the middle of the outer eye corners. Mean
of two public-domain portraits, made symmetric, turned until forehead (10) and chin (152) were plumb."""
_MIDDLE: Final = (
    (10, -0.548, -0.157), (151, -0.392, -0.206), (9, -0.230, -0.247), (168, -0.063, -0.243), (6, 0.012, -0.299),
    (197, 0.084, -0.361), (195, 0.150, -0.427), (5, 0.222, -0.497), (4, 0.315, -0.532),
)
"""The same on the middle line: (landmark, y, z)."""
_LIPS: Final = ((13, 14), (82, 87), (312, 317))
_RIGHT_LIDS: Final = ((159, 145), (158, 153), (160, 144))
_LEFT_LIDS: Final = ((386, 374), (385, 380), (387, 373))
_IRISES: Final = (468, 473)
_EYE_CORNERS: Final = (33, 133, 362, 263)
# fmt: on
_REST_TILT_DEG = 5.0
"""People facing a camera hold the line from forehead to chin this far bowed (median of portraits)."""
_GAZE_AHEAD = 0.02
"""Irises of who looks ahead stand this far above the line between the corners of their eyes, in eye distances."""
_WIDE_OPEN = 0.5
"""Gap of the inner lips, in eye distances, that counts as a mouth open by 1."""

_INDEX: Final = np.array(
    [i for right, left, *_ in _PAIRS for i in (right, left)] + [i for i, *_ in _MIDDLE]
)
_HEAD: Final = np.array(
    [(sign * x, y, z) for _, _, x, y, z in _PAIRS for sign in (-1, 1)]
    + [(0.0, y, z) for _, y, z in _MIDDLE]
)
_HEAD_CENTRE: Final = _HEAD.mean(axis=0)


@dataclass(frozen=True, slots=True)
class FaceShape:
    """One face in numbers. Left and right are the person's own; angles in degrees as the camera sees them."""

    yaw: float
    """Positive: the nose turns to the right of the picture. 0 facing the camera."""
    pitch: float
    """Positive: looks up. 0 facing the camera as people do."""
    roll: float
    """Positive: tilted clockwise in the picture. 0 upright."""
    mouth_open: float
    """0 closed, about 1 wide open."""
    eye_open_left: float
    """Gap of the lids over the eye's width: about 0.3 open, under 0.12 closed."""
    eye_open_right: float
    """The same for the other eye."""
    brow_raise: float
    """Height of the brows over the eyes' inner corners, in eye distances: about 0.30 at rest."""
    brow_inner: float
    """How much higher their inner ends are than the rest, eye distances: about 0.01 at rest, less in a frown."""
    mouth_width: float
    """Distance of the mouth's corners in eye distances: about 0.55 at rest, more in a smile."""
    gaze_x: float
    """How far irises stand to the right, in the picture, of the middle of their eyes; mean of both, eye distances."""
    gaze_y: float
    """The same downwards, from where they stand when somebody looks ahead."""


def expression(landmarks: Landmarks) -> FaceShape:
    """The shape of a face from its (478, 3) landmarks, in any unit, smaller z nearer. 0.1 ms.

    The pose is a rigid fit (rotation, one scale, shift) of points that no expression moves; the openings are
    measured in the head's own frame, so turning the head does not change them.
    """
    points = landmarks.astype(np.float64)
    rotation = _pose(points[_INDEX])
    upright = points @ rotation  # row vectors: this applies the inverse rotation
    unit = max(float(np.linalg.norm(upright[263] - upright[33])), 1e-9)
    yaw = np.arcsin(np.clip(rotation[2, 0], -1, 1))
    pitch = -np.arctan2(rotation[2, 1], rotation[2, 2])
    roll = np.arctan2(rotation[1, 0], rotation[0, 0])
    gaze = upright[list(_IRISES), :2].mean(axis=0) - upright[list(_EYE_CORNERS), :2].mean(axis=0)
    brow = upright[list(EYES_INNER), 1].mean() - upright[list(BROWS), 1].mean()
    inner = upright[list(BROWS_BESIDE), 1].mean() - upright[list(BROWS_INNER), 1].mean()
    return FaceShape(
        yaw=float(np.degrees(yaw)),
        pitch=float(np.degrees(pitch)) + _REST_TILT_DEG,
        roll=float(np.degrees(roll)),
        mouth_open=_gap(upright, _LIPS) / unit / _WIDE_OPEN,
        eye_open_left=_gap(upright, _LEFT_LIDS) / _length(upright, 362, 263),
        eye_open_right=_gap(upright, _RIGHT_LIDS) / _length(upright, 33, 133),
        brow_raise=float(brow) / unit,
        brow_inner=float(inner) / unit,
        mouth_width=_length(upright, 61, 291) / unit,
        gaze_x=float(gaze[0]) / unit,
        gaze_y=float(gaze[1]) / unit + _GAZE_AHEAD,
    )


def _pose(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rotation (3, 3) that best turns the upright head into ``points`` (Kabsch 1976)."""
    covariance = (points - points.mean(axis=0)).T @ (_HEAD - _HEAD_CENTRE)
    left, _, right = np.linalg.svd(covariance)
    mirror = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation: NDArray[np.float64] = left @ mirror @ right
    return rotation


def _gap(points: NDArray[np.float64], pairs: tuple[tuple[int, int], ...]) -> float:
    """Mean distance of pairs of points."""
    return float(np.mean([_length(points, a, b) for a, b in pairs]))


def _length(points: NDArray[np.float64], a: int, b: int) -> float:
    return max(float(np.linalg.norm(points[a] - points[b])), 1e-9)
