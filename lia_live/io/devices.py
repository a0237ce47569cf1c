"""Which cameras this machine has, and which of them must not be opened: our own output."""

from __future__ import annotations

import functools
import os
import re
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lia_live.errors import DeviceError
from lia_live.io import v4l2

VIRTUAL_CAMERA_LABEL = "lia-live"
"""The name that our set-up line gives to the virtual camera (``card_label``)."""

Role = Literal["camera", "output"]

_claims: dict[str, Role] = {}
_claims_lock = threading.Lock()


@dataclass(frozen=True)
class Camera:
    """One camera as the user names it."""

    index: int
    """What ``--camera`` takes."""
    path: str
    """/dev/videoN on Linux, else empty."""
    name: str
    """As call programs show it."""

    @property
    def key(self) -> str:
        """What two handles on the same device have in common."""
        return device_key(self.path or self.name or str(self.index))

    def __str__(self) -> str:
        return f"{self.index} ({self.name})" if self.name else str(self.index)


def list_cameras() -> list[Camera]:
    """The cameras of this machine, our own virtual camera left out. Empty where the system does not tell."""
    if v4l2.ON_LINUX:
        found = [
            Camera(int(re.sub(r"\D", "", node.path)), node.path, node.name)
            for node in v4l2.nodes()
            if node.capture
        ]
    else:
        found = _listed_by_ffmpeg()
    return [camera for camera in found if not is_own_output(camera.path, camera.name)]


@functools.cache
def _listed_by_ffmpeg() -> list[Camera]:
    """macOS and Windows: the names that FFmpeg's own camera reader lists, in the system's order.

    Asked once, at the start: PyAV reads them from FFmpeg's log, and switching that log on while another
    thread decodes can lock both up. A camera that comes back is opened by its number there.
    """
    import av

    system = {"darwin": "avfoundation", "win32": "dshow"}.get(sys.platform)
    if system is None:
        return []
    try:
        devices = av.enumerate_input_devices(system)
    except (av.FFmpegError, OSError, ValueError):  # this build of FFmpeg has no such reader
        return []
    names = [d.description or d.name for d in devices if "video" in d.media_types]
    names = [name for name in names if not name.startswith("Capture screen")]
    return [Camera(index, "", name) for index, name in enumerate(names)]


def describe(cameras: Sequence[Camera]) -> str:
    """One line for a hint: the cameras that exist, or what to do without one."""
    if not cameras:
        return "no camera was found here: plug one in, or play a file with --camera clip.mp4"
    return f"cameras here: {', '.join(map(str, cameras))}; choose one with --camera"


def device_key(device: str) -> str:
    """One spelling per device: symlinks such as /dev/v4l/by-id/... resolved."""
    return os.path.realpath(device) if device.startswith("/") else device


def is_own_output(path: str, name: str) -> bool:
    """True for our virtual camera: opened as a sink by this process, or called by our label."""
    if name == VIRTUAL_CAMERA_LABEL:
        return True
    with _claims_lock:
        return any(_claims.get(device_key(key)) == "output" for key in (path, name) if key)


def claim(device: str, role: Role) -> None:
    """Note that this process uses ``device`` as ``role``. Raises ``DeviceError`` if it is the other one:
    an avatar that films itself would show nothing but its own past.
    """
    key = device_key(device)
    with _claims_lock:
        held = _claims.get(key)
        if held is not None and held != role:
            raise DeviceError(
                f"{device} cannot be both the camera and the virtual camera",
                "choose another camera with --camera, or another output",
            )
        _claims[key] = role


def release(device: str) -> None:
    """Forget what ``claim`` noted. Safe to repeat."""
    with _claims_lock:
        _claims.pop(device_key(device), None)
