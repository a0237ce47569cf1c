"""The two MediaPipe models, as plain functions of a picture. Nothing is imported before one is built.

A detector belongs to one thread at a time; the calls release the GIL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lia_live.frame import Box, Pixels
from lia_live.track.crop import Landmarks, crop_square
from lia_live.track.quiet import quiet
from lia_live.track.solutions import face_solutions

LANDMARKS = 478
WINDOW_FACE = 2.0
"""Side of the square that the mesh looks at, in face sides: it needs about half a face of air around."""
DETECTION_FACE = 1.15
"""The mesh's faces are about so many times larger than the detector's squares."""
_MESH_SIZES = (180, 360)
"""Side of that square in pixels, after halving. The mesh's own input is 192 for 1.5 faces: just as fine."""
_DETECT_LONG_SIDE = 640
"""Pictures are reduced to this before detection, whose own input is 192: more is only slower."""
_RECORD = np.dtype(
    [("head", "S3"), ("x", "<f4"), ("t1", "S1"), ("y", "<f4"), ("t2", "S1"), ("z", "<f4")]
)


@dataclass(frozen=True, slots=True)
class Detection:
    """A face's square, roughly: brows to chin."""

    box: Box
    """In pixels of the picture."""
    score: float
    """Confidence in [0, 1]."""


class FullRangeDetector:
    """Finds faces from about 8 % of the picture's width up. 5 ms on one core, whatever the picture's size."""

    def __init__(self, min_score: float = 0.5) -> None:
        """``min_score``: confidence below which a face is not reported, in [0, 1]."""
        with quiet():
            face_detection, _ = face_solutions()
            self._solution: Any = face_detection.FaceDetection(
                model_selection=1, min_detection_confidence=min_score
            )
            self._solution.process(np.zeros((64, 64, 3), np.uint8))

    def detect(self, pixels: Pixels) -> list[Detection]:
        """The faces in ``pixels`` (H, W, 3) uint8 RGB, in no order. Boxes may reach over the border."""
        height, width = pixels.shape[:2]
        found = self._solution.process(_reduced(pixels)).detections
        detections = []
        for one in found or ():
            relative = one.location_data.relative_bounding_box
            across, down = relative.width * width, relative.height * height
            x, y = (
                (relative.xmin + relative.width / 2) * width,
                (relative.ymin + relative.height / 2) * height,
            )
            if across > 0 and down > 0:
                detections.append(
                    Detection(Box.around(x, y, max(across, down)), float(one.score[0]))
                )
        return detections

    def close(self) -> None:
        """Free the model. May be called twice."""
        _close(self._solution)
        self._solution = None


class MeshModel:
    """478 landmarks of the one face in a square window around it. 3 ms on one core."""

    def __init__(self, *, still: bool, min_score: float = 0.5) -> None:
        """``still``: every call is another picture. Otherwise calls are frames of one stream, and the model
        follows the face it saw last (faster, steadier). ``min_score``: of detection and of following.
        """
        with quiet():
            _, face_mesh = face_solutions()
            self._solution: Any = face_mesh.FaceMesh(
                static_image_mode=still,
                max_num_faces=1,
                refine_landmarks=True,
                min_detection_confidence=min_score,
                min_tracking_confidence=min_score,
            )
            self._solution.process(np.zeros((_MESH_SIZES[0], _MESH_SIZES[0], 3), np.uint8))
        self._seen_a_face = False

    def landmarks(self, pixels: Pixels, window: Box) -> Landmarks | None:
        """(478, 3) landmarks in pixels of ``pixels`` (H, W, 3) uint8 RGB, or None if ``window`` shows no face."""
        window, size = _snapped(window)
        crop = crop_square(pixels, window, size)
        crop.flags.writeable = False  # MediaPipe then borrows the pixels instead of copying them
        if self._seen_a_face:
            found = self._solution.process(crop).multi_face_landmarks
        else:
            with quiet():  # the first face brings a last line of log
                found = self._solution.process(crop).multi_face_landmarks
        if not found:
            return None
        self._seen_a_face = True
        points = _coordinates(found[0]) * window.side
        points[:, 0] += window.x
        points[:, 1] += window.y
        return points if np.isfinite(points).all() else None

    def close(self) -> None:
        """Free the model. May be called twice."""
        _close(self._solution)
        self._solution = None


def _coordinates(landmarks: Any) -> NDArray[np.float32]:
    """A NormalizedLandmarkList -> (478, 3) float32: x, y, z as fractions of the window's side."""
    wire = landmarks.SerializeToString()
    if len(wire) == LANDMARKS * _RECORD.itemsize:
        # Reading 1434 attributes one by one costs as much as a tenth of the model. On the wire each landmark
        # is 17 bytes: tag, length, then x, y and z as little-endian floats behind a tag byte each.
        records = np.frombuffer(wire, _RECORD)
        if (records["t1"] == b"\x15").all() and (records["t2"] == b"\x1d").all():
            return np.stack([records["x"], records["y"], records["z"]], axis=1)
    return np.array([[p.x, p.y, p.z] for p in landmarks.landmark[:LANDMARKS]], np.float32)


def _snapped(window: Box) -> tuple[Box, int]:
    """``window`` moved to whole steps of its halving, and its size after as many halvings as leave enough for the mesh.

    Such a crop is a slice and a few 2 x 2 means, four times cheaper than one at any other place and size.
    """
    step = 1
    while window.side / step >= _MESH_SIZES[1]:
        step *= 2
    size = max(8, round(window.side / step))
    x, y = window.centre
    side = size * step
    left, top = round((x - side / 2) / step) * step, round((y - side / 2) / step) * step
    return Box(float(left), float(top), float(side)), size


def _reduced(pixels: Pixels) -> Pixels:
    """At most 640 pixels on the long side, contiguous."""
    height, width = pixels.shape[:2]
    scale = _DETECT_LONG_SIDE / max(height, width)
    if scale >= 1:
        return np.ascontiguousarray(pixels)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _close(solution: Any) -> None:
    if solution is not None:
        solution.close()
