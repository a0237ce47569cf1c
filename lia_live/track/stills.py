"""Faces in a still picture of any size: a face that fills it, and one of a crowd in a 12-megapixel photo."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import cv2
import numpy as np

from lia_live.frame import Box, Face, Pixels
from lia_live.track.crop import framed_box, full_frame_box, tight_box
from lia_live.track.detect import (
    DETECTION_FACE,
    WINDOW_FACE,
    Detection,
    FullRangeDetector,
    MeshModel,
)

if TYPE_CHECKING:
    from lia_live.model.lia import LIA

_LONG_SIDE = 2560
"""Detection looks at no more pixels than this: a face of 2 % of a 12 MP photo still has 50."""
_SMALLEST = 20.0
"""Faces of fewer pixels (in the picture as given) are not reported: nothing could be done with them."""
_MESH_WINDOWS = (2.0, 1.5, 2.8)
"""How much air around a detection the mesh is offered, in detection sides: the first that works."""
_SAME_FACE = 0.3
"""Overlap (intersection over union) above which two squares are one face."""

_models: tuple[FullRangeDetector, MeshModel] | None = None
_one_at_a_time = threading.Lock()


def find_faces(pixels: Pixels, *, max_faces: int = 5) -> list[Face]:
    """The faces in a still picture (H, W, 3) uint8 RGB, largest first, at most ``max_faces``.

    ``face.box`` is the tight square around the landmarks; ``framed_box`` gives a model's. Looks at the whole
    picture, at the picture with a border (a face that fills it), at overlapping quarters, and only if all that
    found nothing at sixteenths. Costs 50 to 300 ms. Any thread; calls take turns.
    """
    global _models
    with _one_at_a_time:
        if _models is None:  # kept: building costs more than looking
            _models = FullRangeDetector(), MeshModel(still=True, min_score=0.3)
        detector, mesh = _models
        scale = min(1.0, _LONG_SIDE / max(pixels.shape[:2]))
        looked_at = _reduced(pixels, scale)
        faces: list[Face] = []
        for windows in _looks(looked_at):
            seen = _distinct(
                [d for window in windows for d in _detect(detector, looked_at, window)]
            )
            for one in seen[: 2 * max_faces]:
                face = _refined(mesh, pixels, one, scale)
                if face is not None and not any(_covered(face.box, f.box) for f in faces):
                    faces.append(face)
            if faces:
                break
        return sorted(faces, key=lambda face: -face.box.side)[:max_faces]


def face_box(pixels: Pixels, model: LIA) -> Box | None:
    """The square in ``model``'s framing around the largest face of a still picture (H, W, 3) uint8 RGB.

    None where there is no face; a model of the full frame needs none and gets the centred square.
    """
    framing = model.config.framing
    if framing.kind == "full":
        return full_frame_box(*pixels.shape[:2])
    faces = find_faces(pixels, max_faces=1)
    return framed_box(faces[0].landmarks, framing) if faces else None


def _looks(pixels: Pixels) -> list[list[Box | None]]:
    """Rounds of windows, in pixels; None is the whole picture. A later round only if the earlier saw nothing."""
    height, width = pixels.shape[:2]
    long = max(height, width)
    bordered = Box.around(width / 2, height / 2, 1.6 * long)
    first: list[Box | None] = [None, bordered, *_tiles(height, width, long / 2)]
    # Around a close-up the border must be wide: the detector wants to see where the head ends.
    return [
        first,
        [Box.around(width / 2, height / 2, 2.5 * long), *_tiles(height, width, long / 4)],
    ]


def _tiles(height: int, width: int, side: float) -> list[Box | None]:
    """Squares of ``side`` that overlap by half and cover the picture."""
    rows = np.linspace(0, max(height - side, 0), max(1, round(2 * height / side) - 1))
    columns = np.linspace(0, max(width - side, 0), max(1, round(2 * width / side) - 1))
    return [Box(float(x), float(y), side) for y in rows for x in columns]


def _detect(detector: FullRangeDetector, pixels: Pixels, window: Box | None) -> list[Detection]:
    """Detections in one window, in pixels of the whole picture."""
    if window is None:
        return detector.detect(pixels)
    height, width = pixels.shape[:2]
    left, top, side = round(window.x), round(window.y), round(window.side)
    inside = pixels[max(top, 0) : min(top + side, height), max(left, 0) : min(left + side, width)]
    if left < 0 or top < 0:
        inside = cv2.copyMakeBorder(
            inside,
            max(-top, 0),
            max(top + side - height, 0),
            max(-left, 0),
            max(left + side - width, 0),
            borderType=cv2.BORDER_REPLICATE,
        ).astype(np.uint8, copy=False)
    return [
        Detection(Box(d.box.x + left, d.box.y + top, d.box.side), d.score)
        for d in detector.detect(inside)
    ]


def _distinct(detections: list[Detection]) -> list[Detection]:
    """One of each face: the most certain; the largest first."""
    kept: list[Detection] = []
    for one in sorted(detections, key=lambda d: -d.score):
        if not any(_overlap(one.box, other.box) > _SAME_FACE for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda d: -d.box.side)


def _refined(mesh: MeshModel, pixels: Pixels, found: Detection, scale: float) -> Face | None:
    """Landmarks of a detection (in the reduced picture) from the full picture; None if it is no face."""
    x, y = (value / scale for value in found.box.centre)
    side = found.box.side / scale
    for air in _MESH_WINDOWS:
        points = mesh.landmarks(pixels, Box.around(x, y, air * side))
        if points is None:
            continue
        box = tight_box(points)
        if (
            box.side >= _SMALLEST
            and _overlap(box, Box.around(x, y, DETECTION_FACE * side)) > _SAME_FACE
        ):
            # Once more with the face centred and the size that the mesh likes best.
            again = mesh.landmarks(pixels, Box.around(*box.centre, WINDOW_FACE * box.side))
            if again is not None and _overlap(tight_box(again), box) > _SAME_FACE:
                points = again
            return Face(points, tight_box(points), min(max(found.score, 0.0), 1.0))
    return None


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union of two squares."""
    across = min(a.x + a.side, b.x + b.side) - max(a.x, b.x)
    down = min(a.y + a.side, b.y + b.side) - max(a.y, b.y)
    if across <= 0 or down <= 0:
        return 0.0
    return across * down / (a.side**2 + b.side**2 - across * down)


def _covered(a: Box, b: Box) -> bool:
    """Is the smaller square mostly inside the other? Then it is the same face, or an eye taken for one."""
    across = min(a.x + a.side, b.x + b.side) - max(a.x, b.x)
    down = min(a.y + a.side, b.y + b.side) - max(a.y, b.y)
    return across > 0 and down > 0 and across * down > 0.5 * min(a.side, b.side) ** 2


def _reduced(pixels: Pixels, scale: float) -> Pixels:
    if scale == 1:
        return np.ascontiguousarray(pixels)
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
