"""The capture thread: keeps the newest camera frame at hand and never waits for the model."""

from __future__ import annotations

import threading

from lia_live.engine.passthrough import Passthrough
from lia_live.engine.slot import Slot
from lia_live.engine.stats import Stats
from lia_live.frame import Frame
from lia_live.interfaces import Clock, Source

EMPTY_READ_PAUSE_S = 0.01
"""After a read that brought nothing: a source that answers at once must not spin."""


class CaptureLoop:
    """Source to slot, until the source ends or ``stop`` is set. Closes the slot behind itself."""

    def __init__(
        self,
        source: Source,
        frames: Slot[Frame],
        passthrough: Passthrough | None,
        stats: Stats,
        clock: Clock,
        stop: threading.Event,
    ) -> None:
        self._source = source
        self._frames = frames
        self._passthrough = passthrough
        self._stats = stats
        self._clock = clock
        self._stop = stop

    def run(self) -> None:
        """Body of the thread. Errors of the source mean that there is no hope, and end the run."""
        try:
            while not self._stop.is_set():
                frame = self._source.read()
                if frame is not None:
                    self._deliver(frame)
                elif self._source.ended:
                    break
                else:
                    self._stop.wait(EMPTY_READ_PAUSE_S)
        finally:
            self._frames.close()

    def _deliver(self, frame: Frame) -> None:
        self._stats.frames_in += 1
        if self._passthrough is not None:
            self._passthrough.offer(frame, self._clock.now())
        self._frames.put(frame)
        self._stats.dropped_in = self._frames.drops
