"""Where pictures come from and where they go: cameras, clips, stills; virtual camera, window, file."""

from lia_live.io.camera import CameraSource
from lia_live.io.devices import list_cameras
from lia_live.io.null import NullSink
from lia_live.io.opening import open_sink, open_source
from lia_live.io.playback import VideoSource
from lia_live.io.preview import PreviewSink
from lia_live.io.stills import StillSource
from lia_live.io.video import VideoReader
from lia_live.io.video_file import VideoFileSink
from lia_live.io.virtual_camera import VirtualCameraSink, setup_hint, virtual_cameras

__all__ = [
    "CameraSource",
    "NullSink",
    "PreviewSink",
    "StillSource",
    "VideoFileSink",
    "VideoReader",
    "VideoSource",
    "VirtualCameraSink",
    "list_cameras",
    "open_sink",
    "open_source",
    "setup_hint",
    "virtual_cameras",
]
