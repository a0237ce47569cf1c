"""A video, a folder of frames or frames in memory -> prepared clips, or the reasons why not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from lia_live.errors import MediaError, StorageError
from lia_live.frame import Pixels
from lia_live.io.names import natural
from lia_live.track import crop_square
from lia_live.train.clips import Clips, join, starts_of
from lia_live.train.prepare_config import PrepareConfig
from lia_live.train.prepare_finder import LandmarkFinder
from lia_live.train.prepare_frames import (
    FolderFrames,
    FrameSource,
    StoppableFrames,
    VideoFrames,
    thinned,
)
from lia_live.train.prepare_names import PICTURES
from lia_live.train.prepare_portrait import moved_into
from lia_live.train.prepare_shots import Piece, follow, pieces_of

HINT = "clips need one face, large enough, that stays in the picture for half a second"


@dataclass
class Shots:
    """What one video came to."""

    clips: list[Clips] = field(default_factory=list)
    """Each of length 1, in the order of time."""
    dropped: dict[str, str] = field(default_factory=dict)
    """Name of a piece -> why it was left out."""


def prepare_clip(
    source: str | Path | Iterable[Pixels],
    config: PrepareConfig | None = None,
    finder: LandmarkFinder | None = None,
    name: str = "",
    fps: float | None = None,
) -> Clips:
    """One clip as ``Clips`` of length 1: the longest of the ``prepare_pieces``, whose errors it raises."""
    shots = _usable(source, config, finder, name, fps, None)
    return max(shots.clips, key=lambda clip: len(clip.frames))  # the first of equal ones


def prepare_pieces(
    source: str | Path | Iterable[Pixels],
    config: PrepareConfig | None = None,
    finder: LandmarkFinder | None = None,
    name: str = "",
    fps: float | None = None,
    stop: Callable[[], bool] | None = None,
) -> tuple[Clips, list[str]]:
    """Every usable piece of ``source`` in the order of time, and a remark (name: reason) for each that is none.

    ``source``: a video file, a folder of frames in the order of their names (2 before 10), or frames (H, W, 3)
    uint8 RGB. ``fps``: rate of frames that come without one, default ``config.clips.frames_fps``. ``stop`` is
    asked between frames; once it answers true, ``KeyboardInterrupt`` is raised. Raises ``MediaError`` (its message
    is the reason) if there is no usable piece, ``StorageError`` if the file may not be read.
    """
    shots = _usable(source, config, finder, name, fps, stop)
    return join(shots.clips), [f"{piece}: {reason}" for piece, reason in shots.dropped.items()]


def prepare_shots(
    source: FrameSource, name: str, config: PrepareConfig, finder: LandmarkFinder
) -> Shots:
    """Every usable piece of a clip, and why others are none. Goes through ``source`` twice: the square in which
    a piece is seen is known only when all of it was.
    """
    shots = Shots()
    try:
        pieces = pieces_of(follow(source, finder), source.fps, config)
    except MediaError as error:
        return Shots(dropped={name: error.message})
    if not pieces:
        return Shots(dropped={name: "no face found"})
    names = [name] if len(pieces) == 1 else [f"{name}#{i + 1}" for i in range(len(pieces))]
    shots.dropped |= {n: p.reason for n, p in zip(names, pieces, strict=True) if p.reason}
    good = {n: p for n, p in zip(names, pieces, strict=True) if not p.reason}
    if good:
        shots.clips = _cut_out(source, good, config)
    if source.cut_short:
        reason = f"too long: what follows the first {config.clips.max_video_s:g} s is not used"
        shots.dropped[f"{name}#rest"] = reason
    return shots


def _usable(
    source: str | Path | Iterable[Pixels],
    config: PrepareConfig | None,
    finder: LandmarkFinder | None,
    name: str,
    fps: float | None,
    stop: Callable[[], bool] | None,
) -> Shots:
    """What ``source`` comes to, with at least one clip. See ``prepare_pieces``."""
    config = config or PrepareConfig()
    name = name or (Path(source).name if isinstance(source, str | Path) else "clip")
    frames = _source(source, config, fps)
    if stop is not None:
        frames = StoppableFrames(frames, stop)
    with ExitStack() as closing:
        if finder is None:
            finder = closing.enter_context(LandmarkFinder())
        shots = prepare_shots(frames, name, config, finder)
    if not shots.clips:
        raise MediaError(next(iter(shots.dropped.values())), HINT)
    return shots


def _cut_out(source: FrameSource, pieces: dict[str, Piece], config: PrepareConfig) -> list[Clips]:
    """The second pass: ``pieces`` (in the order of time) out of their frames."""
    side = config.clips.side
    made: list[Clips] = []
    waiting = list(pieces.items())
    frames: list[Pixels] = []
    for number, pixels in enumerate(source.read()):
        if not waiting:
            break
        name, piece = waiting[0]
        if number < piece.first:
            continue
        if (
            pixels is None
        ):  # damaged: what was seen before stands for it, as its landmarks are bridged
            frames.append(frames[-1])
        else:
            frames.append(crop_square(pixels, piece.box, side))
        if number == piece.last - 1:
            made.append(_one(name, np.stack(frames), piece, source.fps))
            frames = []
            waiting.pop(0)
    if waiting:
        raise MediaError(f"{waiting[0][0]} changed while it was read", "run it again")
    return made


def _one(name: str, frames: Pixels, piece: Piece, fps: float) -> Clips:
    """``frames`` (F, P, P, 3) of ``piece`` as ``Clips`` of length 1."""
    return Clips(
        torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous(),
        torch.from_numpy(moved_into(piece.points, piece.box, frames.shape[1])),
        starts_of([len(frames)]),
        torch.tensor([fps], dtype=torch.float32),
        (name,),
        ("",),
        torch.zeros(1, dtype=torch.bool),
    )


def _source(
    source: str | Path | Iterable[Pixels], config: PrepareConfig, fps: float | None
) -> FrameSource:
    if not isinstance(source, str | Path):
        return thinned(list(source), fps or config.clips.frames_fps, config.clips)
    path = Path(source)
    if not path.is_dir():
        return VideoFrames(path, config.clips)
    try:
        inside = sorted(path.iterdir(), key=lambda file: natural(file.name))
    except OSError as error:
        raise StorageError(f"{path} may not be read", "change its permissions") from error
    files = [f for f in inside if f.suffix.lower() in PICTURES and not f.name.startswith(".")]
    if not files:
        raise MediaError(f"no frames in {path}", "name a video, or a folder of pictures")
    limits = config.clips
    if fps is not None:
        limits = replace(limits, frames_fps=fps)
    return FolderFrames(files, limits)
