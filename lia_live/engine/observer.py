"""The camera side of the model thread. Pictures go in, a few numbers come out; no picture passes this line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from lia_live.engine.neutral import HeadShape
from lia_live.engine.policy import Codes
from lia_live.frame import Crop, Frame, Pixels
from lia_live.interfaces import Tracker

if TYPE_CHECKING:
    from lia_live.render.interface import Renderer

ShapeOf = Callable[[NDArray[np.float32]], HeadShape]
"""(478, 3) landmarks in pixels to the shape of the face; ``track.expression``."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known of the driver at one moment: numbers only."""

    alpha: Codes | None
    """(M,) float32 motion code; None without a face."""
    shape: HeadShape | None
    """Of the driver's face; None without a face or where the framing needs none."""
    captured_at: float
    """Of the frame, seconds."""
    number: int
    """Of the frame."""

    @staticmethod
    def nobody(frame: Frame) -> Observation:
        """No face in ``frame``, or nothing that can be trusted."""
        return Observation(None, None, frame.captured_at, frame.number)


class Observer:
    """Frame to observation: tracks the face and encodes its motion. Model thread only.

    ``shape_of`` may be None: the neutral is then chosen by motion code alone.
    """

    def __init__(self, tracker: Tracker, renderer: Renderer, shape_of: ShapeOf | None) -> None:
        self._tracker = tracker
        self._renderer = renderer
        self._shape_of = shape_of
        size = renderer.config.size
        self._batch: Pixels = np.empty((1, size, size, 3), np.uint8)
        self.mirror = False
        """Flip the driver, as a mirror does, before the motion is encoded."""

    def track(self, frame: Frame) -> Crop | None:
        """The square around the face, or None."""
        return self._tracker.track(frame)

    def encode(self, crop: Crop) -> Observation:
        """The motion in a crop. Raises ``ValueError`` when the encoder's answer is not one code."""
        if crop.pixels.shape != self._batch.shape[1:]:
            raise ValueError(f"a crop must be {self._batch.shape[1:]}, got {crop.pixels.shape}")
        if self.mirror:
            cv2.flip(crop.pixels, 1, dst=self._batch[0])
        else:
            self._batch[0] = crop.pixels
        codes = self._renderer.encode_motion(self._batch)
        expected = (1, self._renderer.config.motion_dim)
        if np.shape(codes) != expected:
            raise ValueError(f"motion codes must be {expected}, got {np.shape(codes)}")
        if not np.isfinite(codes).all():
            raise ValueError("motion codes are not finite")
        alpha = np.array(codes[0], dtype=np.float32)  # owned, whatever the engine does with its own
        shape = None
        if crop.face is not None and self._shape_of is not None:
            shape = self._shape_of(crop.face.landmarks)
            shape = _Mirrored(shape) if self.mirror else shape
        return Observation(alpha, shape, crop.captured_at, crop.number)

    def observe(self, frame: Frame) -> Observation:
        """Both steps."""
        crop = self.track(frame)
        return Observation.nobody(frame) if crop is None else self.encode(crop)

    def warm_up(self, picture: Pixels) -> None:
        """Encode an avatar's own picture (S, S, 3) once: the first call of an engine is slow."""
        self._batch[0] = picture
        self._renderer.encode_motion(self._batch)

    def recalibrate(self) -> None:
        """Forget the tracker's locked scale and position."""
        self._tracker.recalibrate()

    def close(self) -> None:
        """Free the tracker."""
        self._tracker.close()


class _Mirrored:
    """The shape of a face seen in a mirror."""

    def __init__(self, shape: HeadShape) -> None:
        self.yaw, self.pitch, self.roll = -shape.yaw, shape.pitch, -shape.roll
        self.mouth_open, self.mouth_width = shape.mouth_open, shape.mouth_width
        self.eye_open_left, self.eye_open_right = shape.eye_open_right, shape.eye_open_left
