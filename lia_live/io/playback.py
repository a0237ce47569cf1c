"""A video file or URL paced as a camera, for ``--camera clip.mp4``."""

from __future__ import annotations

from typing import Final

from lia_live.errors import MediaError
from lia_live.frame import Frame, Pixels
from lia_live.interfaces import Clock
from lia_live.io.grabber import Grabber
from lia_live.io.video import VideoReader, is_url, public_name
from lia_live.timing import MonotonicClock

LIVE_MAX_SIDE: Final = 1920
"""Larger clips are shrunk to what a good webcam delivers: 4K costs time and adds nothing."""
HOLD_S: Final = 0.2
"""A picture that stands longer is delivered again, as a camera would: a still scene is no lost camera."""
LATE_S: Final = 0.5
"""Decoding that far behind is too slow for the clip: from then on it plays slower instead."""
RECONNECT_S: Final = 2.0
"""How often a live stream that broke off is tried again."""


class VideoSource:
    """Plays a clip at its own speed; a late reader misses frames, as with a camera.

    The clip starts with the first ``read``, not while the model is still loading.
    """

    def __init__(
        self,
        spec: str,
        *,
        loop: bool = False,
        max_side: int = LIVE_MAX_SIDE,
        clock: Clock | None = None,
    ) -> None:
        """Open ``spec`` and decode its first picture. Raises ``MediaError``."""
        self._spec = spec
        self._loop = loop
        self._max_side = max_side
        self._clock: Clock = clock or MonotonicClock()
        self._reader = VideoReader(spec, max_side=max_side)
        # A URL with a length is a file that lies elsewhere; one without is a camera.
        self._live = is_url(spec) and self._reader.duration_s is None
        self.reconnects = 0
        """How often a live stream was opened again after it broke off."""
        self.skipped = 0
        """Frames not shown because decoding was late."""
        self._name = public_name(spec)
        self._fps = self._reader.fps
        self.size = self._reader.size
        self._grabber = Grabber("video", self._produce)

    @property
    def name(self) -> str:
        return self._name

    @property
    def fps(self) -> float:
        return self._fps

    @property
    def ended(self) -> bool:
        return self._grabber.ended

    def read(self) -> Frame | None:
        self._grabber.start()
        return self._grabber.take()

    def close(self) -> None:
        self._grabber.stop()
        if not self._grabber.running:
            self._reader.close()

    def _produce(self, grabber: Grabber) -> None:
        try:
            if self._live:
                self._relay(grabber)
                return
            began = self._clock.now()
            while True:
                began = self._play(grabber, began)
                if grabber.stopping() or not self._loop:
                    return
                # Opening again is the one rewind that every format and server can do.
                self._reader.close()
                self._reader = VideoReader(self._spec, max_side=self._max_side)
        finally:
            self._reader.close()

    def _play(self, grabber: Grabber, began: float) -> float:
        """One pass. ``began``: when time 0 of the clip is due. Returns when the next pass is due."""
        shown_at = began - HOLD_S
        end = began
        pixels: Pixels | None = None
        for moment, frame in self._reader.timed():
            due = began + moment
            late = self._clock.now() - due
            if late > LATE_S:
                began, due = began + late, due + late
            elif late > 1.0 / self._fps and due - shown_at < HOLD_S:
                self.skipped += 1  # the next one is due already: newest wins
                continue
            while due - self._clock.now() > HOLD_S and pixels is not None:
                if grabber.wait(HOLD_S):
                    return due
                grabber.put(pixels, self._clock.now())
            fresh = self._reader.pixels(frame)
            if grabber.wait(due - self._clock.now()):
                return due
            pixels = fresh
            grabber.put(pixels, due)
            shown_at, end = due, due + 1.0 / self._fps
        grabber.wait(end - self._clock.now())  # the last picture stands as long as the others
        return end

    def _relay(self, grabber: Grabber) -> None:
        """A live stream paces itself: every picture is shown when it comes."""
        while not grabber.stopping():
            for _moment, frame in self._reader.timed():
                grabber.put(self._reader.pixels(frame), self._clock.now())
                if grabber.stopping():
                    return
            while not grabber.wait(RECONNECT_S):
                try:
                    fresh = VideoReader(self._spec, max_side=self._max_side)
                except MediaError:
                    continue
                self._reader.close()
                self._reader = fresh
                self.reconnects += 1
                break
