"""The work of ``animate``: every frame of a clip, no frame dropped, the file whole whatever ends it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import cv2
import numpy as np

from lia_live.cli.config import ConsentAnswer, ModelSettings, MotionSettings
from lia_live.cli.consent import ConsentBook
from lia_live.cli.interrupts import Interrupts
from lia_live.cli.live import policy_config
from lia_live.cli.loading import Networks
from lia_live.cli.portraits import open_portraits, settle_portraits
from lia_live.cli.run import DISCLOSURE
from lia_live.cli.status import Progress, StatusLine
from lia_live.cli.targets import check_recording
from lia_live.engine import Animator, Compositor, beginning
from lia_live.errors import ConfigError
from lia_live.frame import Frame, Pixels
from lia_live.io import VideoFileSink, VideoReader
from lia_live.io.video import is_url, public_name

DEFAULT_SIDE = 512
MAX_FPS = 60.0
LIVE_MAX_SIDE = 1920
"""Larger clips are shrunk on the way in: the tracker and the model need less."""


@dataclass(frozen=True)
class Job:
    """One clip to make."""

    avatar: str
    driving: str
    out: Path
    model: ModelSettings
    motion: MotionSettings
    consent: ConsentAnswer | None
    side_by_side: bool
    side: int | None
    """Pixels of the avatar's square; None: ``DEFAULT_SIDE``, or the model's own where that is larger."""
    duration: float | None
    """Seconds of the clip; None: all of it."""
    badge: bool


def animate(job: Job, interrupts: Interrupts) -> int:
    """Make the video; returns 0. Raises ``LiaLiveError``; ``KeyboardInterrupt`` after the file is whole."""
    if is_url(job.driving):
        raise ConfigError(
            f"{public_name(job.driving)} is not a file",
            "download the clip first, then name its file",
        )
    check_recording(job.out, [job.avatar, job.driving])
    portrait = settle_portraits([Path(job.avatar)], job.consent, ConsentBook(), interrupts)[0]
    with ExitStack() as closing:
        reader = closing.enter_context(VideoReader(job.driving, max_side=LIVE_MAX_SIDE))
        fps = min(reader.fps, MAX_FPS)
        networks = Networks(job.model)
        avatar = open_portraits([portrait], networks, interrupts)[0]
        model = avatar.network or networks.model()
        side = job.side or max(DEFAULT_SIDE, model.config.size)
        compositor = Compositor((side, side), badge=job.badge)
        beside = reader.size if job.side_by_side else None
        size = (side + _width_beside(beside, side), side)
        with interrupts.deferred():
            animator = closing.enter_context(
                Animator(
                    model,
                    avatar,
                    policy=policy_config(job.motion, model.config.motion_dim),
                    engine=job.model.engine,
                    device=networks.device,
                )
            )
            networks.say(animator.renderer)
            sink = VideoFileSink(job.out, size, fps, audio_from=job.driving)
            closing.callback(sink.close)
        with interrupts.deferred():
            if job.motion.mode == "relative":
                animator.learn_neutral(_beginning(job.driving, fps, interrupts))
            progress = Progress(StatusLine(), _expected(reader, fps, job.duration))
            began, faces = time.perf_counter(), 0
            for frame in _frames(reader, fps, job.duration, interrupts):
                made = animator.animate(frame)
                faces += animator.policy.face
                picture = compositor.compose(made.pixels)
                sink.send(_beside(frame.pixels, picture) if job.side_by_side else picture)
                progress.show(sink.frames)
            progress.end()
            sink.close()
            took = time.perf_counter() - began
        sound = "sound kept" if sink.has_audio else "no sound in the clip"
        print(
            f"{job.out}: {sink.frames} frames, {fps:g} fps, {sound}, "
            f"made at {sink.frames / max(took, 1e-9):.1f} frames a second"
        )
        if not faces:
            print(
                "note: no face was seen in the clip; the avatar rests throughout", file=sys.stderr
            )
        if not job.badge:
            print(f"note: {DISCLOSURE}", file=sys.stderr)
    return 0


def _frames(
    reader: VideoReader, fps: float, duration: float | None, interrupts: Interrupts
) -> Iterator[Frame]:
    """The clip at a constant rate, to its end, to ``duration`` or to the next signal."""
    end = float("inf") if duration is None else duration
    return takewhile(
        lambda frame: frame.captured_at < end and not interrupts.pending, reader.constant_rate(fps)
    )


def _beginning(driving: str, fps: float, interrupts: Interrupts) -> Iterator[Frame]:
    """The first seconds once more, for the neutral."""
    with VideoReader(driving, max_side=LIVE_MAX_SIDE) as reader:
        yield from beginning(_frames(reader, fps, None, interrupts))


def _expected(reader: VideoReader, fps: float, duration: float | None) -> int:
    """Frames to come; 0 where nobody can say."""
    length = reader.duration_s
    if length is None:
        return 0 if duration is None else round(duration * fps)
    return max(1, round(min(length, duration or length) * fps))


def _width_beside(size: tuple[int, int] | None, side: int) -> int:
    """Even width of the clip's picture at the height ``side``; 0 without one."""
    if size is None:
        return 0
    width, height = size
    return max(2, round(width * side / height / 2) * 2)


def _beside(driver: Pixels, picture: Pixels) -> Pixels:
    """The clip's picture at the avatar's height, to its left."""
    side = picture.shape[0]
    height, width = driver.shape[:2]
    wide = _width_beside((width, height), side)
    how = cv2.INTER_AREA if height > side else cv2.INTER_CUBIC
    small = cv2.resize(driver, (wide, side), interpolation=how)
    return np.hstack([small, picture])
