"""From what the user wrote to the right source or sink."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches

from lia_live.errors import ConfigError
from lia_live.interfaces import Clock, Sink, Source
from lia_live.io.camera import CameraSource
from lia_live.io.null import NullSink
from lia_live.io.playback import VideoSource
from lia_live.io.preview import PreviewSink
from lia_live.io.stills import StillSource, is_picture
from lia_live.io.video import check_file, is_url
from lia_live.io.video_file import SUFFIXES, VideoFileSink
from lia_live.io.virtual_camera import VirtualCameraSink


def open_source(
    spec: str,
    *,
    loop: bool = False,
    fps: float | None = None,
    width: int = 1280,
    height: int = 720,
    clock: Clock | None = None,
) -> Source:
    """``spec``: a camera's number or path (``0``, ``/dev/video2``), a video file, a URL, or a picture.

    ``loop``: a video starts over at its end. ``fps``, ``width``, ``height`` are asked of a camera; a still
    picture comes at ``fps``; a video keeps its own times. Raises ``DeviceError``, ``MediaError``.
    """
    if spec.isdigit() or spec.startswith("/dev/"):
        return CameraSource(spec, width=width, height=height, fps=fps or 30.0, clock=clock)
    if not is_url(spec):
        check_file(spec)
        if is_picture(spec):
            return StillSource(spec, fps=fps or 30.0, clock=clock)
    return VideoSource(spec, loop=loop, clock=clock)


def open_sink(
    spec: str,
    *,
    width: int = 1280,
    height: int = 720,
    fps: float = 30.0,
    on_key: Callable[[str], None] | None = None,
    on_close: Callable[[], None] | None = None,
    metadata: Mapping[str, str] | None = None,
    clock: Clock | None = None,
) -> Sink:
    """``spec``: ``virtual``, ``virtual:/dev/video10``, ``preview``, ``none``, or a file that ends in .mp4.

    ``on_key`` and ``on_close`` are the preview window's, ``metadata`` and ``clock`` the recording's (see
    there). Raises ``ConfigError``, ``DeviceError``, ``StorageError``.
    """
    kind, _, device = spec.partition(":")
    if kind == "virtual":
        return VirtualCameraSink(width, height, fps, device or None)
    if spec == "preview":
        return PreviewSink(width, height, on_key=on_key, on_close=on_close)
    if spec == "none":
        return NullSink(width, height)
    if spec.lower().endswith(SUFFIXES):
        return VideoFileSink(
            spec, (width, height), fps, metadata=metadata, preset="superfast", clock=clock
        )
    near = get_close_matches(spec, ["virtual", "preview", "none"], 1)
    raise ConfigError(
        f"{spec!r} is no output",
        f"did you mean {near[0]}?"
        if near
        else "use virtual, preview, none, or a file such as out.mp4",
    )
