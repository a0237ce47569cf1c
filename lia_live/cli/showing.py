"""The work of ``demo``: the shipped clip, paced as a camera, moves the shipped portrait through the real loop.

demo.mp4 shows both side by side at the same moment: what the camera shows now, and what the avatar shows
now, so that the delay can be seen. The left half is decoded here from the shipped clip; the loop and
its outputs have no way to a camera picture, in the demo as elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from lia_live.cli.assets import DEMO_AVATAR, DEMO_DRIVER
from lia_live.cli.config import ModelSettings
from lia_live.cli.controls import LiveControls
from lia_live.cli.interrupts import Interrupts
from lia_live.cli.loading import open_network
from lia_live.cli.portraits import Portrait, open_portrait
from lia_live.cli.targets import check_distinct, check_recording, check_target
from lia_live.engine import Output, Pipeline, PipelineConfig
from lia_live.errors import MediaError
from lia_live.frame import Frame, Pixels
from lia_live.interfaces import Clock, Source
from lia_live.io import VideoFileSink, VideoReader, open_source
from lia_live.timing import MonotonicClock
from lia_live.track import import_ahead, open_tracker

SIDE = 512
"""Pixels of each half."""
CONSENT: Final = "permission"
"""The shipped portrait shows a real person and is in the public domain: its answer is shipped with it."""


def show(
    out: Path,
    duration: float | None,
    stats_json: Path | None,
    settings: ModelSettings,
    interrupts: Interrupts,
    began_at: float,
) -> int:
    """Run the demo and say how fast it was; returns 0. ``began_at``: when the user asked for it."""
    for asset in (DEMO_AVATAR, DEMO_DRIVER):
        if not asset.is_file():
            raise MediaError(
                f"this installation has no {asset}", "install a complete lia-live wheel"
            )
    check_recording(out, [DEMO_AVATAR, DEMO_DRIVER])
    if stats_json is not None:
        check_target(stats_json, [DEMO_AVATAR, DEMO_DRIVER])
        check_distinct([out, stats_json])
    clock = MonotonicClock()

    import_ahead()  # weights and engine leave a core idle for it
    with interrupts.deferred():
        model, renderer = open_network(settings)
    with interrupts.deferred():
        avatar = open_portrait(Portrait(DEMO_AVATAR, CONSENT), model)
    controls = LiveControls()
    with ExitStack() as closing:
        with interrupts.deferred():
            source = StartedSource(open_source(str(DEMO_DRIVER), clock=clock))
            closing.callback(source.close)
            tracker = open_tracker(model.config.framing, model.config.size)
            closing.callback(tracker.close)
            sink = SideBySideSink(out, source, clock)
            closing.callback(sink.close)
            pipeline = Pipeline(
                source,
                tracker,
                renderer,
                [avatar],
                [Output(sink, badge=True)],
                PipelineConfig(fps=source.fps, sink_latency_s=0.0),
                clock,
                directions=model.directions,
                began_at=began_at,
            )
        controls.begin(pipeline, renderer.description)
        if stats_json is not None:
            closing.callback(pipeline.stats.write, stats_json)
        with interrupts.deferred(pipeline.stop):
            try:
                pipeline.run(duration, report=controls.report)
            finally:
                controls.end()
    print(f"look at {out}: left the driver, right the avatar")
    return 0


class StartedSource:
    """A source that remembers when its first frame was captured."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.began_at: float | None = None
        """Seconds on the loop's clock; None before the first frame."""

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def fps(self) -> float:
        return self._source.fps

    @property
    def ended(self) -> bool:
        return self._source.ended

    def read(self) -> Frame | None:
        frame = self._source.read()
        if frame is not None and self.began_at is None:
            self.began_at = frame.captured_at
        return frame

    def close(self) -> None:
        self._source.close()


class SideBySideSink:
    """Records the avatar with the shipped clip to its left, at the moment that the clip has reached."""

    def __init__(self, path: Path, source: StartedSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._file = VideoFileSink(path, (2 * SIDE, SIDE), source.fps, clock=clock)
        self._reader = VideoReader(DEMO_DRIVER)
        self._frames: Iterator[Frame] = self._reader.constant_rate(source.fps)
        self._driver: Frame | None = None
        self._canvas: Pixels = np.zeros((SIDE, 2 * SIDE, 3), np.uint8)

    @property
    def name(self) -> str:
        return self._file.name

    @property
    def size(self) -> tuple[int, int]:
        """Of the avatar's half: the only pictures that are handed to it."""
        return SIDE, SIDE

    def send(self, pixels: Pixels) -> None:
        self._advance()
        self._canvas[:, SIDE:] = pixels
        self._file.send(self._canvas)

    def close(self) -> None:
        self._file.close()
        self._reader.close()

    def _advance(self) -> None:
        """Show the clip's picture of this moment on the left."""
        began = self._source.began_at
        reached = 0.0 if began is None else self._clock.now() - began
        fresh = self._driver
        while fresh is None or (fresh.number + 1) / self._source.fps <= reached:
            following = next(self._frames, None)
            if following is None:
                break
            fresh = following
        if fresh is not None and fresh is not self._driver:
            self._driver = fresh
            self._canvas[:, :SIDE] = _square(fresh.pixels)


def _square(pixels: Pixels) -> Pixels:
    """The centred square of a picture, (SIDE, SIDE, 3)."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    cut = pixels[top : top + side, left : left + side]
    how = cv2.INTER_AREA if side > SIDE else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(cut, (SIDE, SIDE), interpolation=how), np.uint8)
