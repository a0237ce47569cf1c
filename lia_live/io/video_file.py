"""A recording: H.264 in MP4, constant frame rate, playable whatever ends it, marked as AI-generated."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from lia_live.errors import ConfigError, MediaError
from lia_live.frame import Pixels
from lia_live.interfaces import Clock
from lia_live.io import provenance
from lia_live.io.audio import AudioTrack
from lia_live.io.recording_file import RecordingFile, storage_error
from lia_live.io.video import VideoReader

SUFFIXES: Final = (".mp4", ".m4v", ".mov")

_CONTAINER_OPTIONS: Final = {
    # While recording: whole fragments of half a second, so a killed process leaves a playable file.
    # On close: turned into an ordinary MP4 with one index, which every player and editor takes.
    "movflags": "hybrid_fragmented",
    "frag_duration": "500000",
    "flush_packets": "1",
}
_MAX_FILL_S: Final = 5.0
"""A live recording that got no picture for longer than that (laptop asleep) goes on without the gap."""
_BT709: Final = 1
_LIMITED_RANGE: Final = 1


class VideoFileSink:
    """Writes pictures to an MP4 file, each one frame time long.

    With a ``clock`` (live) the frame number follows it: a late picture is preceded by repeats of the last
    one, so a minute of recording plays for a minute. Without one (offline) every picture is one frame.
    """

    def __init__(
        self,
        path: str | Path,
        size: tuple[int, int],
        fps: float,
        *,
        metadata: Mapping[str, str] | None = None,
        audio_from: str | Path | None = None,
        preset: str = "veryfast",
        clock: Clock | None = None,
    ) -> None:
        """Create the file at ``path`` for pictures of ``size`` (width, height). ``metadata``: more
        container tags. ``audio_from``: a clip whose sound is carried over; without sound it is
        silently silent (``has_audio``). Raises ``StorageError``, ``ConfigError``.
        """
        self._path = Path(path)
        if self._path.suffix.lower() not in SUFFIXES:
            raise ConfigError(f"{self._path.name} must end in .mp4", "name the recording out.mp4")
        if audio_from is not None and self._path.exists() and self._path.samefile(audio_from):
            raise ConfigError(f"{self._path} is the clip itself", "write to another file")
        self._size = size
        self._fps = Fraction(fps).limit_denominator(1001)
        self._clock = clock
        self._began: float | None = None
        self._last: av.VideoFrame | None = None
        # One for all pictures: a frame's own ``reformat`` builds its tables anew each time, 1 ms at 720p.
        self._to_yuv = VideoReformatter()
        self._closing = threading.Lock()
        self._closed = False
        self._failure_told = False
        self.frames = 0
        """Frames written, repeats included."""
        self._file = RecordingFile(self._path)
        self._container = av.open(
            self._file, "w", format="mp4", options=_CONTAINER_OPTIONS, buffer_size=1 << 20
        )
        self._container.metadata.update({**provenance.tags(), **(metadata or {})})
        self._stream = self._video_stream(preset)
        self._audio = self._audio_track(audio_from) if audio_from is not None else None
        self.has_audio = self._audio is not None
        """True if the clip's sound goes into the file."""

    @property
    def name(self) -> str:
        return str(self._path)

    @property
    def size(self) -> tuple[int, int]:
        return self._size

    def send(self, pixels: Pixels) -> None:
        """Append one picture, (height, width, 3) uint8 RGB. Raises ``StorageError`` on a full disk."""
        width, height = self._size
        if pixels.shape != (height, width, 3):
            raise ValueError(f"expected a picture of {height, width, 3}, got {pixels.shape}")
        with self._closing:
            if self._closed:
                return
            self._fill()
            frame = av.VideoFrame.from_ndarray(_even(pixels), format="rgb24")
            self._last = self._to_yuv.reformat(
                frame, format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED_RANGE
            )
            self._write(self._last)

    def close(self) -> None:
        """Finish the file: an ordinary MP4 from now on. May be called twice, from any thread."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            try:
                if self.frames:
                    self._mux(None)
                self._container.close()
            finally:
                if self._audio is not None:
                    self._audio.close()
                self._file.finish(provenance.xmp_box() if self.frames else b"")
                if not self.frames:  # nothing was recorded: an empty file helps nobody
                    with contextlib.suppress(OSError):
                        self._path.unlink()
            if not self._failure_told:
                self._raise_failure()

    def _fill(self) -> None:
        """Live: repeat the last picture for every frame time that passed without one."""
        if self._clock is None:
            return
        now = self._clock.now()
        if self._began is None or self._last is None:
            self._began = now
            return
        due = round((now - self._began) * self._fps)
        missing = due - self.frames
        if missing > _MAX_FILL_S * self._fps:
            self._began += float(missing / self._fps)
            return
        for _ in range(missing):
            self._write(self._last)

    def _write(self, frame: av.VideoFrame) -> None:
        frame.pts = self.frames
        frame.time_base = 1 / self._fps
        self._mux(frame)
        self.frames += 1

    def _mux(self, frame: av.VideoFrame | None) -> None:
        """Encode and mux ``frame`` (None: what the encoder still holds), and the sound up to there."""
        try:
            if self._audio is not None:
                self._audio.advance(float(self.frames / self._fps))
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        except av.FFmpegError as error:
            if self._file.failure is None:
                raise MediaError(f"{self._path} cannot be encoded: {error}") from error
        if frame is not None:
            self._raise_failure()

    def _raise_failure(self) -> None:
        if self._file.failure is not None:
            self._failure_told = True
            raise storage_error(self._path, self._file.failure) from self._file.failure

    def _video_stream(self, preset: str) -> av.VideoStream:
        stream = self._container.add_stream("libx264", rate=self._fps)
        width, height = self._size
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        stream.time_base = 1 / self._fps
        context = stream.codec_context
        context.gop_size = max(1, round(2 * self._fps))
        context.max_b_frames = 0  # no picture waits for a later one: it is in the file at once
        context.thread_count = (
            1 if self._clock is not None else 2
        )  # live: the cores are the model's
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE
        stream.options = {"preset": preset, "crf": "20", "tune": "zerolatency"}
        return stream

    def _audio_track(self, clip: str | Path) -> AudioTrack | None:
        with VideoReader(clip) as reader:
            if not reader.has_audio:
                return None
            start_s = reader.start_s
        return AudioTrack(clip, self._container, start_s)


def _even(pixels: Pixels) -> Pixels:
    """H.264 in 4:2:0 has even sides: an odd one grows by repeating its last row or column."""
    height, width = pixels.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return np.ascontiguousarray(pixels)
    return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
