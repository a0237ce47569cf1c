"""What a frame costs outside the network: decoding, tracking, cropping, the canvas, colour conversion, encoding."""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

import numpy as np

from lia_live.engine.compositor import Badge, Compositor, scale_into
from lia_live.frame import Box, Frame, Pixels
from lia_live.io import VideoFileSink, VideoReader
from lia_live.model.config import LIAConfig
from lia_live.track import crop_square, open_tracker

SIZE: Final = (1280, 720)
"""Of camera and output: what a call program shows."""
TURN: Final = 6
"""Calls a turn, the first of them unmeasured."""
SEED: Final = 7

Say = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True)
class MediaCost:
    """One step, milliseconds for each frame."""

    step: str
    ms_p50: float
    ms_p95: float
    where: str
    """ "before the model", "tracking thread", "output thread", "a recording"."""


def measure_media(
    clip: Path,
    pictures: Pixels,
    config: LIAConfig,
    rounds: int,
    say: Say = lambda text: None,
) -> list[MediaCost]:
    """Every step in turns. ``clip``: 720p; ``pictures``: avatar pictures (N, S, S, 3) uint8."""
    steps, close = _steps(clip, pictures, config)
    taken: dict[str, list[float]] = {name: [] for name, _, _ in steps}
    order = random.Random(SEED)
    try:
        for number in range(rounds):
            say(f"media: round {number + 1} of {rounds}")
            turn = list(steps)
            order.shuffle(turn)
            for name, _, call in turn:
                for count in range(TURN):
                    began = time.perf_counter()
                    call()
                    if count:
                        taken[name].append(time.perf_counter() - began)
    finally:
        close()
    return [
        MediaCost(
            name,
            round(statistics.median(taken[name]) * 1000, 3),
            round(float(np.percentile(taken[name], 95)) * 1000, 3),
            where,
        )
        for name, where, _ in steps
    ]


def _steps(
    clip: Path, pictures: Pixels, config: LIAConfig
) -> tuple[Sequence[tuple[str, str, Callable[[], object]]], Callable[[], None]]:
    """(name, where, call) of each step, and what closes them all."""
    import av

    width, height = SIZE
    with VideoReader(clip) as reader:
        frames = [frame for frame, _ in zip(reader, range(30), strict=False)]
    shown = _Round(list(pictures))
    camera = _Round(frames)
    tracker = open_tracker(config.framing, config.size)
    box = Box.around(width / 2, height / 2, 0.7 * height)
    square = np.empty((height, height, 3), np.uint8)
    badge = Badge(height)
    canvas = Compositor(SIZE, "plain", badge=True)
    composed = [np.array(Compositor(SIZE).compose(picture)) for picture in pictures[:4]]
    full = _Round(composed)
    decoder = _Decoder(clip)
    folder = tempfile.TemporaryDirectory()
    recording = VideoFileSink(Path(folder.name, "bench.mp4"), SIZE, 30, preset="superfast")
    clock = [0.0]

    def track() -> None:
        clock[0] += 1 / 30
        frame = camera.next()
        tracker.track(Frame(frame.pixels, clock[0], frame.number))

    def to_yuv() -> None:
        picture = av.VideoFrame.from_ndarray(full.next(), format="rgb24")
        picture.reformat(format="yuv420p", dst_colorspace=1, dst_color_range=1)

    steps: list[tuple[str, str, Callable[[], object]]] = [
        ("decode 720p H.264", "before the model", decoder.decode),
        ("YUV to RGB, 720p", "before the model", decoder.convert),
        ("track and crop", "tracking thread", track),
        (
            "crop alone",
            "tracking thread",
            lambda: crop_square(camera.next().pixels, box, config.size),
        ),
        ("resize to 720 x 720", "output thread", lambda: scale_into(shown.next(), square)),
        ("badge", "output thread", lambda: badge.stamp(square)),
        ("whole canvas", "output thread", lambda: canvas.compose(shown.next())),
        ("RGB to YUV, 720p", "a recording", to_yuv),
        ("RGB to YUV and H.264", "a recording", lambda: recording.send(full.next())),
    ]

    def close() -> None:
        tracker.close()
        decoder.close()
        recording.close()
        folder.cleanup()

    return steps, close


class _Round(Generic[T]):
    """Items again and again."""

    def __init__(self, items: Sequence[T]) -> None:
        self._items, self._at = items, -1

    def next(self) -> T:
        self._at = (self._at + 1) % len(self._items)
        return self._items[self._at]


class _Decoder:
    """A clip's frames again and again; the file is opened anew at its end."""

    def __init__(self, clip: Path) -> None:
        self._clip = clip
        self._reader = VideoReader(clip)
        self._frames = self._reader.timed()
        self._frame = next(self._frames)[1]

    def decode(self) -> None:
        """Decode the next one."""
        found = next(self._frames, None)
        if found is None:
            self._reader.close()
            self._reader = VideoReader(self._clip)
            self._frames = self._reader.timed()
            found = next(self._frames)
        self._frame = found[1]

    def convert(self) -> Pixels:
        """The last one decoded, as the loop gets it."""
        return self._reader.pixels(self._frame)

    def close(self) -> None:
        self._reader.close()
