"""The tracking thread: newest camera frame to newest sighting, while the network is busy with the one before."""

from __future__ import annotations

import threading

from lia_live.engine.config import PipelineConfig
from lia_live.engine.faults import Faults
from lia_live.engine.observer import Observer, Sighting
from lia_live.engine.pacing import NetworkForecast
from lia_live.engine.slot import Slot
from lia_live.engine.stats import Stats
from lia_live.frame import Frame
from lia_live.interfaces import Clock


class TrackingLoop:
    """Frames to sightings until the frames are finished or ``stop`` is set. Frees the tracker behind itself.

    Where the network keeps up, every frame is tracked as it comes. Where it does not, the newest is tracked when the
    network is free or about to be (``NetworkForecast``): no time goes to frames that nobody will see. A fault of one
    frame means that nobody was seen in it; one that lasts ends the run.
    """

    def __init__(
        self,
        frames: Slot[Frame],
        sightings: Slot[Sighting],
        observer: Observer,
        forecast: NetworkForecast,
        config: PipelineConfig,
        stats: Stats,
        clock: Clock,
        stop: threading.Event,
    ) -> None:
        self._frames = frames
        self._sightings = sightings
        self._observer = observer
        self._forecast = forecast
        self._stats = stats
        self._clock = clock
        self._stop = stop
        self._faults = Faults(stats, clock, config.fault_limit_s)
        self._recalibrate = threading.Event()

    def recalibrate(self) -> None:
        """Have the tracker forget its locked scale before the next frame. Any thread."""
        self._recalibrate.set()

    def run(self) -> None:
        """Body of the thread."""
        try:
            while self._frames.wait() and not self._stop.is_set():
                self._forecast.wait(self._pending)
                frame = self._frames.take(0)
                if frame is None:
                    continue
                self._sightings.put(self._look(frame))
                self._stats.dropped_tracked = self._sightings.drops
        finally:
            self._sightings.close()
            self._observer.leave()

    def _pending(self) -> bool:
        return len(self._sightings) > 0

    def _look(self, frame: Frame) -> Sighting:
        try:
            if self._recalibrate.is_set():
                self._recalibrate.clear()
                self._observer.recalibrate()
            began = self._clock.now()
            with self._stats.track.measure(self._clock):
                sighting = self._observer.look(frame)
            self._forecast.tracked(self._clock.now() - began)
        except Exception as error:  # whatever it is, the answer is the same: nobody was seen
            self._faults.note("tracker", error)
            return Sighting(frame)
        self._faults.well("tracker")
        return sighting
