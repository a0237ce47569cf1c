"""Video files and URLs, decoded: sizes checked first, times from the file, pictures upright.

``VideoReader`` is unpaced: as fast as it is asked, for ``animate``. ``playback`` paces it as a camera.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit

import av
import numpy as np

from lia_live.errors import LiaLiveError, MediaError, StorageError
from lia_live.frame import Frame, Pixels

MAX_PIXELS: Final = 8192 * 4608
"""8K and a little: larger pictures are refused before they are decoded."""
MAX_GAP_S: Final = 10.0
"""A longer gap between two frames is a fault in the timestamps, not a pause."""
MAX_BAD_PACKETS: Final = 500
"""So many undecodable packets before the first picture, and the file counts as damaged."""
URL_TIMEOUT_S: Final = (10.0, 10.0)
"""To open a URL and to wait for its next packet."""
NETWORK_SCHEMES: Final = frozenset({"http", "https", "rtsp", "rtsps", "rtmp", "rtmps", "srt"})

_FALLBACK_FPS: Final = 25.0


def is_url(spec: str) -> bool:
    """True for "scheme://..."."""
    return "://" in spec


def public_name(spec: str) -> str:
    """The name for a status line: a file's last part; a URL without user, password and query."""
    if not is_url(spec):
        return os.path.basename(spec)
    parts = urlsplit(spec)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"


class VideoReader:
    """One pass over the pictures of a video. Not for sharing between threads.

    Iterating gives ``Frame``s whose ``captured_at`` is the media time: seconds since the first picture.
    """

    def __init__(self, spec: str | Path, *, max_side: int | None = None) -> None:
        """Open ``spec`` (a file or URL) and decode its first picture. ``max_side``: larger pictures are
        shrunk to it. Raises ``MediaError``, or ``StorageError`` where the file may not be read.
        """
        self._spec = str(spec)
        self.name = public_name(self._spec)
        self._container = _open(self._spec, self.name)
        try:
            self._stream = self._picture_stream()
            self._check_size(self._stream.codec_context.width, self._stream.codec_context.height)
            self._stream.codec_context.thread_type = "AUTO"
            self._stream.codec_context.thread_count = 2  # a core stays free for the model
            self._max_side = max_side
            self.bad_packets = 0
            """Packets that could not be decoded so far."""
            self._decoded = self._decode()
            self._first: av.VideoFrame | None = next(self._decoded, None)
            if self._first is None:
                raise MediaError(
                    f"{self.name} has no picture that can be decoded",
                    "the file is damaged or was cut off; try another clip, or convert it with ffmpeg",
                )
            self.fps = self._nominal_fps()
            """Frames a second, nominal or average; > 0."""
            self.start_s = self._time(self._first) or 0.0
            """Where the first picture lies on the container's clock, seconds (sound is aligned to it)."""
            height, width = self.pixels(self._first).shape[:2]
            self.size = (width, height)
            """(width, height) of the pictures: upright, square pixels, after ``max_side``."""
        except BaseException:
            self._container.close()
            raise

    @property
    def duration_s(self) -> float | None:
        """Length in seconds, as the file states it; None for a live stream."""
        if self._container.duration is None:
            return None
        return float(self._container.duration / av.time_base)

    @property
    def has_audio(self) -> bool:
        """True if the clip carries sound."""
        return bool(self._container.streams.audio)

    def timed(self) -> Iterator[tuple[float, av.VideoFrame]]:
        """The decoded frames with their media time in seconds, from 0, strictly rising. Once only.

        Missing, repeated and wild timestamps are replaced by one frame time after the last.
        """
        step = 1.0 / self.fps
        last: float | None = None
        first, self._first = self._first, None
        if first is None:
            return
        for frame in _chain(first, self._decoded):
            at = self._time(frame)
            if last is None:
                moment = 0.0
            elif at is None or not 0.0 < at - self.start_s - last <= MAX_GAP_S:
                moment = last + step
            else:
                moment = at - self.start_s
            last = moment
            yield moment, frame

    def __iter__(self) -> Iterator[Frame]:
        for number, (moment, frame) in enumerate(self.timed()):
            yield Frame(self.pixels(frame), moment, number)

    def constant_rate(self, fps: float) -> Iterator[Frame]:
        """The pictures as a clip of exactly ``fps`` shows them: repeated or left out where they must be.

        A picture stands from its own time to the next one's; ``captured_at`` is ``number / fps``.
        """
        slack = 0.25 / fps  # so that rounding never makes a 30 fps clip lose and repeat frames
        number = 0
        shown: av.VideoFrame | None = None
        end = 0.0
        for moment, frame in self.timed():
            if shown is not None and number / fps < moment - slack:
                pixels = self.pixels(shown)
                while number / fps < moment - slack:
                    yield Frame(pixels, number / fps, number)
                    number += 1
            shown, end = frame, moment + 1.0 / self.fps
        if shown is not None:
            pixels = self.pixels(shown)
            while number / fps < end - slack:
                yield Frame(pixels, number / fps, number)
                number += 1

    def pixels(self, frame: av.VideoFrame) -> Pixels:
        """A decoded frame as (H, W, 3) uint8 RGB: upright, square pixels, within ``max_side``."""
        width, height = frame.width, frame.height
        self._check_size(width, height)
        aspect = self._stream.sample_aspect_ratio
        if aspect and aspect != 1 and 0.1 < aspect < 10:
            width = max(1, round(width * float(aspect)))
        if self._max_side and max(width, height) > self._max_side:
            shrink = self._max_side / max(width, height)
            width, height = max(1, round(width * shrink)), max(1, round(height * shrink))
        if (width, height) == (frame.width, frame.height):
            upright = frame.reformat(format="rgb24")
        else:
            upright = frame.reformat(width, height, format="rgb24", interpolation="AREA")
        pixels = upright.to_ndarray().astype(np.uint8, copy=False)
        turns = (
            round(frame.rotation / 90) % 4
        )  # a phone held upright; counterclockwise, as np.rot90
        return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._decoded.close()
        self._container.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _picture_stream(self) -> av.VideoStream:
        covers = av.stream.Disposition.attached_pic  # the album cover of a song is not a video
        moving = [s for s in self._container.streams.video if not s.disposition & covers]
        if moving:
            return moving[0]
        if self.has_audio:
            raise MediaError(f"{self.name} has sound but no picture", "choose a clip with video")
        raise MediaError(f"{self.name} has no video in it", "choose a clip with video")

    def _check_size(self, width: int, height: int) -> None:
        if width * height > MAX_PIXELS:
            raise MediaError(
                f"{self.name} is {width} × {height}: more than the {MAX_PIXELS // 10**6} million"
                " pixels that lia-live decodes",
                "scale it down: ffmpeg -i IN -vf scale=1280:-2 OUT.mp4",
            )

    def _decode(self) -> Generator[av.VideoFrame, None, None]:
        packets = self._container.demux(self._stream)
        seen = False
        while True:
            try:
                packet = next(packets)
            except (StopIteration, av.FFmpegError):  # a file that was cut off ends here
                return
            try:
                frames = packet.decode()
            except av.EOFError:
                return
            except av.FFmpegError:
                self.bad_packets += 1
                if not seen and self.bad_packets > MAX_BAD_PACKETS:
                    return
                continue
            for frame in frames:
                seen = True
                yield frame

    def _nominal_fps(self) -> float:
        for rate in (
            self._stream.average_rate,
            self._stream.guessed_rate,
            self._stream.base_rate,
        ):
            if rate and 0.5 <= rate <= 240:
                return float(rate)
        return _FALLBACK_FPS

    def _time(self, frame: av.VideoFrame) -> float | None:
        return None if frame.time is None else float(frame.time)


def _chain(first: av.VideoFrame, rest: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    yield first
    yield from rest


def _open(spec: str, name: str) -> av.container.InputContainer:
    """The container, with the network shut for files: a playlist named .mp4 must not fetch anything."""
    options = {"max_pixels": str(MAX_PIXELS)}
    timeout: tuple[float, float] | None = None
    if is_url(spec):
        scheme = urlsplit(spec).scheme.lower()
        if scheme not in NETWORK_SCHEMES:
            raise MediaError(
                f"{name}: {scheme}:// is not a kind of URL that can be played",
                f"use one of {', '.join(sorted(NETWORK_SCHEMES))}, or a file",
            )
        options["protocol_whitelist"] = "http,https,tls,tcp,udp,rtp,rtsp,rtmp,rtmps,srt,crypto"
        if scheme.startswith("rtsp"):
            options |= {"rtsp_transport": "tcp", "fflags": "nobuffer"}
        location, timeout = spec, URL_TIMEOUT_S
    else:
        check_file(spec)
        options["protocol_whitelist"] = "file"
        location = f"file:{os.path.abspath(spec)}"
    try:
        return av.open(location, options=options, timeout=timeout, metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:
        raise _cannot_open(spec, name, error) from error


def check_file(path: str) -> None:
    """Raise the one line that says why ``path`` cannot be a picture or clip; return if it can."""
    if not os.path.exists(path):
        raise MediaError(f"there is no file {path}", "check the path")
    if os.path.isdir(path):
        raise MediaError(f"{path} is a folder, not a file", "name the file in it")
    if not os.path.isfile(path):
        raise MediaError(f"{path} is not an ordinary file", "name a video or picture file")
    if not os.access(path, os.R_OK):
        raise StorageError(f"{path} may not be read by this user", "change its permissions")
    if os.path.getsize(path) == 0:
        raise MediaError(f"{path} is empty (0 bytes)", "copy or download it again")


def _cannot_open(spec: str, name: str, error: Exception) -> LiaLiveError:
    if is_url(spec):
        reason = getattr(error, "strerror", None) or type(error).__name__
        return MediaError(
            f"{name} cannot be played: {reason}", "check the address and that its server is running"
        )
    return MediaError(
        f"{name} is not a video, or it is damaged",
        "play it in a video player to check; ffmpeg -i IN OUT.mp4 converts odd formats",
    )
