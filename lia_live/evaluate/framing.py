"""A clip as a data set would keep it: one square for all of it, so that the head moves inside the square."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from lia_live.errors import MediaError
from lia_live.evaluate.clips import Clip
from lia_live.frame import Box, Pixels
from lia_live.model.config import Framing
from lia_live.track import crop_square, open_tracker

Tick = Callable[[], None]
"""Called once a frame; what it raises ends the work."""

FEWEST_FRAMES: Final = 10
"""With fewer frames there is no movement to speak of."""
FEWEST_FACES: Final = 0.5
"""A clip that shows its face in a smaller share of its frames is left out: the rest would judge the tracker."""


@dataclass(frozen=True, eq=False)
class FramedClip:
    """The crops of one clip, all by the same square: frame and reconstruction agree pixel by pixel."""

    clip: Clip
    crops: list[Pixels]
    """(S, S, 3) uint8 RGB each; the first is the source."""
    first: Pixels
    """The whole frame that the first crop was cut from, (H, W, 3) uint8 RGB."""
    box: Box
    """The square, in the clip's pixels."""
    faceless: int
    """Frames without a face, left out."""
    frames: int
    """Frames that were read."""

    @property
    def name(self) -> str:
        """Of the clip."""
        return self.clip.name


def frame_clip(clip: Clip, framing: Framing, size: int, limit: int, tick: Tick) -> FramedClip:
    """Find the square of ``clip`` (the median of what ``framing`` asks for) and cut its first ``limit`` frames.

    ``size``: side of the crops, pixels. The clip is decoded twice and never held. Raises ``MediaError`` where
    there is too little to measure.
    """
    tracker = open_tracker(framing, size)
    try:
        boxes: list[Box] = []
        shows_face: list[bool] = []
        for frame in clip.frames(limit):
            crop = tracker.track(frame)
            shows_face.append(crop is not None)
            if crop is not None:
                boxes.append(crop.box if crop.face is None else crop.face.box)
            tick()
    finally:
        tracker.close()
    _check(clip, len(shows_face), len(boxes))
    box = _median(boxes)
    crops: list[Pixels] = []
    first: Pixels | None = None
    for frame, usable in zip(clip.frames(limit), shows_face, strict=True):
        if usable:
            first = frame.pixels if first is None else first
            crops.append(crop_square(frame.pixels, box, size))
    assert first is not None  # there are faces enough
    return FramedClip(clip, crops, first, box, len(shows_face) - len(boxes), len(shows_face))


def _check(clip: Clip, frames: int, faces: int) -> None:
    if frames < FEWEST_FRAMES:
        raise MediaError(
            f"{clip.name} has {frames} frames, at least {FEWEST_FRAMES} are needed",
            "use a longer clip",
        )
    if faces < max(FEWEST_FRAMES, FEWEST_FACES * frames):
        raise MediaError(
            f"{clip.name} shows a face in {faces} of {frames} frames",
            "use a clip that shows one face from the front throughout",
        )


def _median(boxes: list[Box]) -> Box:
    x, y, side = np.median([[*box.centre, box.side] for box in boxes], axis=0)
    return Box.around(float(x), float(y), float(side))
