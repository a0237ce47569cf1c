"""The camera's side of the loop. Pictures go in, a few numbers come out; no picture passes this line."""

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
    from lia_live.engine.view import View

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


@dataclass(frozen=True, slots=True)
class Sighting:
    """A frame, and what the tracker made of it. Pictures: it stays on the camera's side, between its two threads."""

    frame: Frame
    tracked: Crop | None = None
    """The tracker's square; None without a face, or where the network needs none."""
    view: View | None = None
    """That ``crop`` was cut for; None where nothing was looked at, after a fault."""
    crop: Crop | None = None
    """What the network on stage sees of the frame; None without the face it needs."""


class Observer:
    """Frame to sighting to observation: tracks the face, then encodes its motion.

    ``look``, ``recalibrate`` and ``leave`` are the tracker's thread's, all else the model thread's; the two may be one.
    ``shape_of`` may be None: the neutral is then chosen by motion code alone.
    """

    def __init__(self, tracker: Tracker, network: LiveNetwork, shape_of: ShapeOf | None) -> None:
        self._tracker = tracker
        self._network = network
        self._shape_of = shape_of
        self._batch = _empty_batch(network)
        self._glimpses = Glimpses()
        self.mirror = False
        """Flip the driver, as a mirror does, before the motion is encoded."""

    def look(self, frame: Frame) -> Sighting:
        """Find the square that the network on stage sees. Raises what the tracker raises."""
        view = self._network.view
        tracked = self._tracker.track(frame) if view.needs_face else None
        return Sighting(frame, tracked, view, view.cut(frame, tracked))

    def encode(self, sighting: Sighting) -> Observation:
        """The motion in what was seen. Raises ``ValueError`` when the encoder's answer is not one code."""
        crop, frame, mirror = self._crop_of(sighting), sighting.frame, self.mirror  # read once
        if crop is None:
            return Observation.nobody(frame)
        self._glimpses.offer(None)
        alpha = self._encoded(crop.pixels, mirror)
        shape = None
        if crop.face is not None and self._shape_of is not None:
            shape = self._shape_of(crop.face.landmarks)
            shape = _Mirrored(shape) if mirror else shape
        glimpse = Glimpse(frame, sighting.tracked, mirror, shape)
        glimpse.codes[self._network] = alpha
        self._glimpses.offer(glimpse)
        return Observation(alpha, shape, frame.captured_at, frame.number)

    def observe(self, frame: Frame) -> Observation:
        """Both steps."""
        return self.encode(self.look(frame))

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

    def leave(self) -> None:
        """Free the tracker."""
        self._tracker.close()

    def forget(self) -> None:
        """Every frame that is kept."""
        self._glimpses.clear()

    def close(self) -> None:
        """Both: free the tracker, forget every frame."""
        self.forget()
        self.leave()

    def _crop_of(self, sighting: Sighting) -> Crop | None:
        """Cut again if another network has come on stage since."""
        view = self._network.view
        if sighting.view is None or sighting.view is view:
            return sighting.crop
        return view.cut(sighting.frame, sighting.tracked)

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
        self.brow_raise, self.brow_inner = shape.brow_raise, shape.brow_inner
        self.eye_open_left, self.eye_open_right = shape.eye_open_right, shape.eye_open_left
        self.gaze_x, self.gaze_y = -shape.gaze_x, shape.gaze_y
