"""The live trackers: a frame goes in, a steady square crop in the model's framing comes out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lia_live.errors import ConfigError
from lia_live.frame import Box, Crop, Face, Frame, Pixels
from lia_live.interfaces import Tracker
from lia_live.track.crop import Landmarks, crop_square, framed_box, full_frame_box, tight_box
from lia_live.track.detect import (
    DETECTION_FACE,
    WINDOW_FACE,
    Detection,
    FullRangeDetector,
    MeshModel,
)
from lia_live.track.steady import SteadyConfig, SteadySquare

if TYPE_CHECKING:
    from lia_live.model.config import Framing

_SMALLEST_PX = 24.0
"""A tracked face of fewer pixels is noise."""
_LARGEST_JUMP = 0.6
"""Between two frames a face moves less than this many of its sides; more is another face. Checked again."""
_NEARBY = 1.5
"""A face found again within so many of its sides is taken for the same person."""
_WINDOW_SLACK = 0.12
"""The mesh's window stays put until the face is so far from its middle, in window sides: a still window and a
still face give the same landmarks to the last bit."""
_WINDOW_BAND = 1.2
"""... or so many times larger or smaller than when the window was set."""


@dataclass(frozen=True)
class TrackConfig:
    """How faces are searched, followed and framed."""

    steady: SteadyConfig = field(default_factory=SteadyConfig)
    """How the cut square is kept steady."""
    seed_interval_s: float = 0.15
    """Without a face, one search (5 ms) at most so often: an empty chair costs 3 % of a core; 0.02 to 5."""
    stick_s: float = 1.5
    """After a loss, only a face near the lost one is taken for so long; then the largest. 0 to 60."""

    def __post_init__(self) -> None:
        if not 0.02 <= self.seed_interval_s <= 5:
            raise ConfigError(
                f"track.seed_interval_s must be in [0.02, 5], got {self.seed_interval_s}"
            )
        if not 0 <= self.stick_s <= 60:
            raise ConfigError(f"track.stick_s must be in [0, 60], got {self.stick_s}")


class FaceTracker:
    """Follows one face. Built and used by one thread.

    Searches with the full-range detector (a face of 8 % of the width at once, of about 5 % within a second),
    then follows with the mesh on a window around the face. The largest face is taken at first; afterwards the
    same one is kept, also when a larger one comes in, until it has been gone for ``stick_s``. Which face is whose
    is told by place and size alone: two people who cross may be mixed up.
    """

    def __init__(self, framing: Framing, size: int, config: TrackConfig | None = None) -> None:
        """``size``: side of the crops, pixels."""
        self._framing = framing
        self._size = size
        self._config = config or TrackConfig()
        self._detector = FullRangeDetector()
        self._mesh = MeshModel(still=False)
        self._square = SteadySquare(self._config.steady)
        self._window: Box | None = None  # None: no face is being followed
        self._last_box: Box | None = None  # tight square of the last face seen
        self._last_seen = -math.inf
        self._next_seed = -math.inf
        self._attempt = 0
        self._score = 0.0
        self._shape: tuple[int, ...] = ()

    @property
    def calibrated(self) -> bool:
        """Are size and place of the square locked?"""
        return self._square.locked

    def track(self, frame: Frame) -> Crop | None:
        """The steady crop of the followed face in ``frame``, or None while there is none. 4 ms at 720p."""
        if frame.pixels.shape != self._shape:  # another camera mode: nothing known is true any more
            self._shape = frame.pixels.shape
            self._forget()
        now = frame.captured_at
        points = self._followed(frame.pixels)
        if points is None:
            points = self._seeded(frame.pixels, now)
        if points is None:
            return None
        tight = tight_box(points)
        self._last_box, self._last_seen = tight, now
        self._aim(tight)
        box = framed_box(points, self._framing)
        if self._square.outside(box):
            self._square.reset()
        cut = self._square.update(box, now)
        face = Face(points, box, self._score)
        pixels = crop_square(frame.pixels, cut, self._size)
        return Crop(pixels, cut, face, frame.captured_at, frame.number)

    def recalibrate(self) -> None:
        """Forget the locked size and place; the next second of steady faces sets them again."""
        self._square.reset()

    def close(self) -> None:
        """Free the detectors. May be called twice."""
        self._detector.close()
        self._mesh.close()

    def _followed(self, pixels: Pixels) -> Landmarks | None:
        """Landmarks from the window that the face was in, or None when it is lost."""
        if self._window is None:
            return None
        points = self._in_window(pixels, self._window)
        if points is not None and self._last_box is not None:
            moved = math.dist(tight_box(points).centre, self._last_box.centre)
            if moved > _LARGEST_JUMP * self._last_box.side:
                points = None
        if points is None:
            self._window = None
        return points

    def _seeded(self, pixels: Pixels, now: float) -> Landmarks | None:
        """Search the whole frame, if it is time to."""
        interval = self._config.seed_interval_s
        if (
            self._next_seed - interval <= now < self._next_seed
        ):  # a clock that jumped back searches at once
            return None
        self._next_seed = now + interval
        found = self._search(pixels)
        sticky = self._last_box is not None and 0 <= now - self._last_seen < self._config.stick_s
        if sticky and self._last_box is not None:
            last = self._last_box
            near = [one for one in found if _same_person(one.box, last)]
            found = sorted(near, key=lambda one: math.dist(one.box.centre, last.centre))
        else:
            found = sorted(found, key=lambda one: -one.box.side)
        for one in found[:2]:
            window = Box.around(*one.box.centre, WINDOW_FACE * DETECTION_FACE * one.box.side)
            points = self._in_window(pixels, window)
            if points is not None:
                self._window, self._score, self._attempt = window, one.score, 0
                return points
        return None

    def _search(self, pixels: Pixels) -> list[Detection]:
        """One detection: of the whole frame, and if that saw nothing, next time of a part of it.

        Parts enlarge: the left and the right square for small faces. The bordered frame is for a face so near
        that its outline is out of the picture.
        """
        height, width = pixels.shape[:2]
        side = min(height, width)
        looks = (
            None,  # the whole frame
            Box(0, 0, side),
            Box(width - side, height - side, side),
            Box.around(width / 2, height / 2, 1.6 * max(height, width)),
            Box.around(width / 2, height / 2, side),
        )
        look = looks[self._attempt % len(looks)]
        self._attempt += 1
        if look is None:
            return self._detector.detect(pixels)
        part_size = min(round(look.side), 480)
        part = crop_square(pixels, look, part_size)
        factor = look.side / part_size
        return [
            Detection(
                Box(
                    one.box.x * factor + look.x, one.box.y * factor + look.y, one.box.side * factor
                ),
                one.score,
            )
            for one in self._detector.detect(part)
        ]

    def _in_window(self, pixels: Pixels, window: Box) -> Landmarks | None:
        points = self._mesh.landmarks(pixels, window)
        if points is None:
            # The mesh looked where it last saw a face. Now that it has lost it, it searches the window.
            points = self._mesh.landmarks(pixels, window)
        if points is None:
            return None
        box = tight_box(points)
        height, width = pixels.shape[:2]
        x, y = box.centre
        visible = 0 <= x <= width and 0 <= y <= height
        return points if visible and box.side >= _SMALLEST_PX else None

    def _aim(self, face: Box) -> None:
        """Set the mesh's window around ``face`` again, if it has left the middle of it."""
        window = self._window
        assert window is not None  # set by whoever found the face
        offset = np.abs(np.subtract(face.centre, window.centre)).max() / window.side
        growth = abs(math.log(WINDOW_FACE * face.side / window.side))
        if offset > _WINDOW_SLACK or growth > math.log(_WINDOW_BAND):
            self._window = Box.around(*face.centre, WINDOW_FACE * face.side)

    def _forget(self) -> None:
        self._window = self._last_box = None
        self._last_seen = self._next_seed = -math.inf
        self._attempt = 0
        self._square.reset()


class FullFrameTracker:
    """For framings that show the whole frame: the centred square, with no face looked for. Any thread."""

    def __init__(self, size: int) -> None:
        """``size``: side of the crops, pixels."""
        self._size = size

    def track(self, frame: Frame) -> Crop:
        """The centred square of ``frame``; its ``face`` is None."""
        box = full_frame_box(*frame.pixels.shape[:2])
        pixels = crop_square(frame.pixels, box, self._size)
        return Crop(pixels, box, None, frame.captured_at, frame.number)

    def recalibrate(self) -> None:
        """Nothing is locked."""

    def close(self) -> None:
        """Nothing is held."""


def open_tracker(framing: Framing, size: int, config: TrackConfig | None = None) -> Tracker:
    """The tracker that ``framing`` needs, for crops of ``size`` pixels."""
    if framing.kind == "full":
        return FullFrameTracker(size)
    return FaceTracker(framing, size, config)


def _same_person(found: Box, last: Box) -> bool:
    """Near the lost face and of about its size?"""
    near = math.dist(found.centre, last.centre) < _NEARBY * last.side
    return near and 0.5 < DETECTION_FACE * found.side / last.side < 2
