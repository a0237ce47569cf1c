"""Landmarks of one face: in still pictures, and followed through a clip as live work follows it."""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from lia_live.frame import Frame, Pixels
from lia_live.model.config import Framing
from lia_live.track import FaceTracker, TrackConfig, find_faces
from lia_live.track.quiet import quiet

FINDER_SIDE: Final = 1024
"""Larger pictures are reduced to this longer side before looking for the face."""
SMALLEST: Final = 24
"""Nothing smaller than this many pixels holds a face."""
_CROP: Final = 64
"""The tracker also cuts a square that nobody looks at here: a small one."""
_SETTLE: Final = 3
"""So many more looks at the first frame of a face: each brings it nearer to what later frames will say."""
_AGAIN_S: Final = 0.03
_PAUSE_S: Final = 1000.0
"""Between two clips, on the tracker's clock: longer than it remembers anybody."""


class LandmarkFinder:
    """MediaPipe's face mesh. One per thread; close it (context manager)."""

    def __init__(self) -> None:
        with quiet():
            import mediapipe

            self._mesh: Any = mediapipe.solutions.face_mesh.FaceMesh(
                static_image_mode=True, refine_landmarks=True, max_num_faces=1
            )
            # Its threads write their remarks while they start: wait for them here.
            self._mesh.process(np.zeros((64, 64, 3), np.uint8))
        self._tracker: FaceTracker | None = None  # built for the first clip
        self._now_s = 0.0
        self._settled = False  # was there a face in the frame before?

    def __enter__(self) -> LandmarkFinder:
        return self

    def __exit__(self, *_: object) -> None:
        self._mesh.close()
        if self._tracker is not None:
            self._tracker.close()

    def find(self, pixels: Pixels) -> NDArray[np.float32] | None:
        """Landmarks (478, 3) float32 of the most prominent face in pixels of ``pixels``, or None."""
        height, width = pixels.shape[:2]
        reduced = pixels
        longer = max(height, width)
        if longer > FINDER_SIDE:
            size = (max(1, width * FINDER_SIDE // longer), max(1, height * FINDER_SIDE // longer))
            reduced = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        with quiet():
            result = self._mesh.process(np.ascontiguousarray(reduced))
        if not result.multi_face_landmarks:
            # The mesh's own detector misses small faces and those that fill the picture: look with care.
            faces = find_faces(pixels, max_faces=1) if min(height, width) >= SMALLEST else []
            return faces[0].landmarks if faces else None
        points = result.multi_face_landmarks[0].landmark
        found = np.array([(p.x, p.y, p.z) for p in points], np.float32)
        return found * np.array([width, height, width], np.float32)  # MediaPipe: z is in widths

    def begin(self) -> None:
        """The next frame that is followed belongs to another clip: nobody seen before is looked for."""
        if self._tracker is None:
            # A frame is searched whenever the face is lost: nothing waits for the answer.
            self._tracker = FaceTracker(Framing(), _CROP, TrackConfig(seed_interval_s=0.02))
        self._now_s += _PAUSE_S
        # Another shape of picture makes the tracker forget where the face was.
        self._tracker.track(Frame(np.zeros((_CROP, _CROP + 2, 3), np.uint8), self._now_s, 0))
        self._settled = False

    def follow(self, pixels: Pixels, step_s: float) -> NDArray[np.float32] | None:
        """Landmarks (478, 3) as ``find`` gives them, in the clip's next frame, ``step_s`` after the last."""
        if self._tracker is None:
            self.begin()
        assert self._tracker is not None
        self._now_s += step_s
        crop = self._tracker.track(Frame(pixels, self._now_s, 0))
        looks = 0 if self._settled else _SETTLE
        while crop is not None and looks:
            # A face just found was seen through a window that fits only roughly: look again.
            self._now_s += _AGAIN_S
            crop = self._tracker.track(Frame(pixels, self._now_s, 0))
            looks -= 1
        self._settled = crop is not None
        return None if crop is None or crop.face is None else crop.face.landmarks
