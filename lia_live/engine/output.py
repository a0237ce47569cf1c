"""The output thread: hands the newest avatar picture to every sink, on a steady clock."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np

from lia_live.engine.compositor import Compositor, letterbox
from lia_live.engine.config import PipelineConfig
from lia_live.engine.faults import Faults
from lia_live.engine.pacing import SteadyClock
from lia_live.engine.passthrough import Passthrough
from lia_live.engine.performer import AvatarPicture
from lia_live.engine.slot import Slot
from lia_live.engine.stats import Stats
from lia_live.errors import DeviceError
from lia_live.frame import Pixels
from lia_live.interfaces import Clock, Sink


@dataclass(frozen=True)
class Output:
    """A sink, and whether its pictures carry the badge (None: as ``PipelineConfig.badge`` says)."""

    sink: Sink
    badge: bool | None = None


@dataclass
class _Canvas:
    """The sinks that take the same picture, and that picture."""

    compositor: Compositor
    sinks: list[Sink] = field(default_factory=list)
    shown: Pixels | None = None
    camera: Pixels | None = None
    """Buffer of the passthrough; None unless it is in use."""


class OutputLoop:
    """Avatar pictures to sinks until the pictures are finished or ``stop`` is set; closes the sinks.

    A sink that fails is closed and given up while others go on; the last one's error ends the run. Every
    such error is kept in ``errors`` for the end of the run. ``passthrough`` is None unless it was allowed,
    and then nothing in reach of this loop has ever seen a camera frame.
    """

    def __init__(
        self,
        pictures: Slot[AvatarPicture],
        outputs: list[Output],
        passthrough: Passthrough | None,
        config: PipelineConfig,
        stats: Stats,
        clock: Clock,
        stop: threading.Event,
    ) -> None:
        self._pictures = pictures
        self._passthrough = passthrough
        self._stats = stats
        self._clock = clock
        self._stop = stop
        self._pace = SteadyClock(clock, config.fps)
        self._faults = Faults(stats, clock, config.fault_limit_s)
        self._canvases = _canvases(outputs, config)
        self._begun = False
        self.mirror = config.mirror_out
        """Flip what leaves. May be set from any thread."""
        self.errors: list[Exception] = []
        """Of sinks that were given up or did not close well."""

    def run(self) -> None:
        """Body of the thread."""
        try:
            while not self._stop.is_set() and not self._pictures.finished:
                self._show(self._pace.tick(self._pictures))
        finally:
            for canvas in self._canvases:
                for sink in canvas.sinks:
                    self._close(sink)

    def _show(self, fresh: AvatarPicture | None) -> None:
        """One tick: the new picture if there is one, else the last one again."""
        new = fresh is not None and self._compose(fresh)
        if self._passthrough is not None and self._show_camera(self._passthrough):
            self._stats.passthrough_frames += 1
        elif self._begun:
            if fresh is not None and new:
                self._stats.count_out(self._clock.now(), fresh.captured_at)
            else:
                self._stats.repeated += 1
            for canvas in self._canvases:
                if canvas.shown is not None:
                    self._send(canvas, canvas.shown)
        self._check_alive()

    def _compose(self, picture: AvatarPicture) -> bool:
        """Prepare the picture for every sink; True if at least one canvas took it."""
        done = False
        for canvas in self._canvases:
            try:
                canvas.shown = canvas.compositor.compose(
                    picture.pixels, picture.backdrop, self.mirror
                )
            except Exception as error:  # the last good picture stays on
                self._faults.note("compositor", error)
            else:
                self._faults.well("compositor")
                done = self._begun = True
        return done

    def _show_camera(self, passthrough: Passthrough) -> bool:
        """While the key is held: the camera on every canvas. False, and no trace of it, otherwise."""
        camera = passthrough.picture(self._clock.now())
        if camera is None:
            for canvas in self._canvases:
                canvas.camera = None
            return False
        try:
            for canvas in self._canvases:
                if canvas.camera is None:
                    width, height = canvas.compositor.size
                    canvas.camera = np.empty((height, width, 3), np.uint8)
                letterbox(camera, canvas.camera)
        except Exception as error:
            self._faults.note("passthrough", error)
            return False
        for canvas in self._canvases:
            if canvas.camera is not None:
                self._send(canvas, canvas.camera)
        return True

    def _send(self, canvas: _Canvas, pixels: Pixels) -> None:
        for sink in list(canvas.sinks):
            try:
                sink.send(pixels)
            except Exception as error:
                self.errors.append(error)
                canvas.sinks.remove(sink)
                self._close(sink)
                self._stats.notes[sink.name] = f"{sink.name} lost: {error}"

    def _check_alive(self) -> None:
        if any(canvas.sinks for canvas in self._canvases):
            return
        if self.errors:
            raise self.errors[-1]
        raise DeviceError("there is nothing to show pictures on", "name an output with --output")

    def _close(self, sink: Sink) -> None:
        try:
            sink.close()
        except Exception as error:  # the other sinks still have to be finished
            self.errors.append(error)


def _canvases(outputs: list[Output], config: PipelineConfig) -> list[_Canvas]:
    """One composed picture for all sinks of the same size and badge."""
    found: dict[tuple[tuple[int, int], bool], _Canvas] = {}
    for output in outputs:
        badge = config.badge if output.badge is None else output.badge
        key = (output.sink.size, badge)
        if key not in found:
            found[key] = _Canvas(Compositor(output.sink.size, config.background, badge))
        found[key].sinks.append(output.sink)
    return list(found.values())
