"""The camera side of the model thread. Pictures go in, a few numbers come out; no picture passes this line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from lia_live.engine.glimpses import Glimpse, Glimpses
from lia_live.engine.neutral import HeadShape
from lia_live.engine.policy import Codes
from lia_live.frame import Crop, Frame, Pixels
from lia_live.interfaces import Tracker

if TYPE_CHECKING:
    from lia_live.engine.networks import LiveNetwork

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

    def __init__(self, tracker: Tracker, network: LiveNetwork, shape_of: ShapeOf | None) -> None:
        self._tracker = tracker
        self._network = network
        self._shape_of = shape_of
        self._batch = _empty_batch(network)
        self._frame: Frame | None = None
        self._tracked: Crop | None = None
        self._glimpses = Glimpses()
        self.mirror = False
        """Flip the driver, as a mirror does, before the motion is encoded."""

    def track(self, frame: Frame) -> Crop | None:
        """The square that the network on stage sees, or None without the face it needs."""
        view = self._network.view
        self._frame, self._tracked = frame, None
        if view.needs_face:
            self._tracked = self._tracker.track(frame)
            if self._tracked is None:
                return None
        return view.cut(frame, self._tracked)

    def encode(self, crop: Crop) -> Observation:
        """The motion in a crop. Raises ``ValueError`` when the encoder's answer is not one code."""
        mirror = self.mirror  # once: a key may turn it at any time
        self._glimpses.offer(None)
        alpha = self._encoded(crop.pixels, mirror)
        shape = None
        if crop.face is not None and self._shape_of is not None:
            shape = self._shape_of(crop.face.landmarks)
            shape = _Mirrored(shape) if mirror else shape
        if self._frame is not None:
            glimpse = Glimpse(self._frame, self._tracked, mirror, shape)
            glimpse.codes[self._network] = alpha
            self._glimpses.offer(glimpse)
        return Observation(alpha, shape, crop.captured_at, crop.number)

    def observe(self, frame: Frame) -> Observation:
        """Both steps."""
        crop = self.track(frame)
        return Observation.nobody(frame) if crop is None else self.encode(crop)

    def keep(self, times: Sequence[float]) -> None:
        """Remember the frames captured at ``times``, best first: the neutral in use was found in them.

        To be called after each ``encode``, while the frame is at hand.
        """
        self._glimpses.keep(times)

    def turn_to(self, network: LiveNetwork) -> list[Observation]:
        """From now on ``network`` looks at the driver. Returns what it makes of the frames in ``keep``.

        Empty where none is kept, or where it needs a face and they were kept without one. Raises as
        ``encode`` does; it looks at the driver all the same.
        """
        self._network = network
        self._batch = _empty_batch(network)
        self._frame = self._tracked = None
        self._glimpses.offer(None)
        seen = []
        for glimpse in self._glimpses.kept():
            alpha = glimpse.codes.get(network)
            if alpha is None:
                crop = network.view.cut(glimpse.frame, glimpse.tracked)
                if crop is None:
                    continue
                alpha = self._encoded(crop.pixels, glimpse.mirror)
                glimpse.codes[network] = alpha
            frame = glimpse.frame
            seen.append(Observation(alpha, glimpse.shape, frame.captured_at, frame.number))
        return seen

    def warm_up(self, picture: Pixels) -> None:
        """Encode an avatar's own picture (S, S, 3) once: the first call of an engine is slow."""
        self._batch[0] = picture
        self._network.renderer.encode_motion(self._batch)

    def recalibrate(self) -> None:
        """Forget the tracker's locked scale and position."""
        self._tracker.recalibrate()

    def close(self) -> None:
        """Free the tracker, forget every frame."""
        self._frame = self._tracked = None
        self._glimpses.clear()
        self._tracker.close()

    def _encoded(self, pixels: Pixels, mirror: bool) -> Codes:
        if pixels.shape != self._batch.shape[1:]:
            raise ValueError(f"a crop must be {self._batch.shape[1:]}, got {pixels.shape}")
        if mirror:
            cv2.flip(pixels, 1, dst=self._batch[0])
        else:
            self._batch[0] = pixels
        codes = self._network.renderer.encode_motion(self._batch)
        expected = (1, self._network.renderer.config.motion_dim)
        if np.shape(codes) != expected:
            raise ValueError(f"motion codes must be {expected}, got {np.shape(codes)}")
        if not np.isfinite(codes).all():
            raise ValueError("motion codes are not finite")
        return np.array(codes[0], dtype=np.float32)  # owned, whatever the engine does with its own


def _empty_batch(network: LiveNetwork) -> Pixels:
    size = network.renderer.config.size
    return np.empty((1, size, size, 3), np.uint8)


class _Mirrored:
    """The shape of a face seen in a mirror."""

    def __init__(self, shape: HeadShape) -> None:
        self.yaw, self.pitch, self.roll = -shape.yaw, shape.pitch, -shape.roll
        self.mouth_open, self.mouth_width = shape.mouth_open, shape.mouth_width
        self.eye_open_left, self.eye_open_right = shape.eye_open_right, shape.eye_open_left
