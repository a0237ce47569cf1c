"""Where a clip's frames come from: a video file, a folder of frames, or a list. Each can be gone through twice."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from lia_live.avatar.picture import read_picture
from lia_live.errors import LiaLiveError, MediaError
from lia_live.frame import Pixels
from lia_live.io import VideoReader
from lia_live.train.prepare_config import ClipConfig

MAX_SIDE: Final = 1920
"""Larger videos are reduced to this on the long side while they are decoded."""


class FrameSource(Protocol):
    """A clip before anything is known about it."""

    @property
    def fps(self) -> float:
        """Frames a second of what ``read`` gives."""

    @property
    def cut_short(self) -> bool:
        """Whether there is more than ``read`` gives, once it has been gone through."""

    def read(self) -> Iterator[Pixels | None]:
        """The frames (H, W, 3) uint8 RGB from the first one on; None for one that is damaged."""


@dataclass
class VideoFrames:
    """A video file, thinned to the wanted rate; its own where that is lower."""

    path: Path
    config: ClipConfig
    fps: float = field(init=False)
    cut_short: bool = False

    def __post_init__(self) -> None:
        with VideoReader(self.path) as reader:  # raises MediaError, StorageError
            self.fps = min(self.config.fps, reader.fps)

    def read(self) -> Iterator[Pixels | None]:
        most = int(self.config.max_video_s * self.fps)
        with VideoReader(self.path, max_side=MAX_SIDE) as reader:
            for frame in reader.constant_rate(self.fps):
                if frame.number >= most:
                    self.cut_short = True
                    return
                yield frame.pixels


@dataclass
class FolderFrames:
    """Pictures in the order of time, thinned by a whole number."""

    files: Sequence[Path]
    config: ClipConfig
    cut_short: bool = False

    @property
    def _step(self) -> int:
        return max(1, round(self.config.frames_fps / self.config.fps))

    @property
    def fps(self) -> float:
        return self.config.frames_fps / self._step

    def read(self) -> Iterator[Pixels | None]:
        chosen = self.files[:: self._step]
        most = max(1, int(self.config.max_video_s * self.fps))
        self.cut_short = len(chosen) > most
        for file in chosen[:most]:
            try:
                pixels: Pixels | None = read_picture(file)
            except LiaLiveError:  # one damaged frame is a gap, no reason to lose the rest
                pixels = None
            yield pixels


@dataclass
class ListedFrames:
    """Pictures in memory, at a rate that is known."""

    frames: Sequence[Pixels]
    fps: float
    cut_short: bool = False

    def read(self) -> Iterator[Pixels | None]:
        return itertools.chain(self.frames)


@dataclass
class StoppableFrames:
    """Another source, given up as soon as ``stop`` answers true: ``read`` raises ``KeyboardInterrupt``."""

    source: FrameSource
    stop: Callable[[], bool]

    @property
    def fps(self) -> float:
        return self.source.fps

    @property
    def cut_short(self) -> bool:
        return self.source.cut_short

    def read(self) -> Iterator[Pixels | None]:
        for pixels in self.source.read():
            if self.stop():
                raise KeyboardInterrupt
            yield pixels


def thinned(frames: Sequence[Pixels], fps: float, config: ClipConfig) -> ListedFrames:
    """``frames`` taken at ``fps`` as a source of the wanted rate. Raises ``MediaError`` for an impossible rate."""
    if not 0 < fps <= 1000:
        raise MediaError(f"{fps:g} frames a second is no rate", "give the rate of the frames")
    step = max(1, round(fps / config.fps))
    return ListedFrames(frames[::step], fps / step)
