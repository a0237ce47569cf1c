"""The four Video4Linux calls that OpenCV and pyvirtualcam do not offer. Linux only."""

from __future__ import annotations

import os
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ON_LINUX: Final = sys.platform.startswith("linux")
SYSFS: Final = Path("/sys/class/video4linux")
LOOPBACK_DRIVER: Final = "v4l2 loopback"

# From <linux/videodev2.h>: struct v4l2_capability is 104 bytes, STREAMON takes one int.
_VIDIOC_QUERYCAP = 0x80685600
_VIDIOC_STREAMON = 0x40045612
_BUFFER_VIDEO_OUTPUT = 2
_CAP_VIDEO_CAPTURE = 0x00000001
_CAP_VIDEO_OUTPUT = 0x00000002
_CAP_DEVICE_CAPS = 0x80000000


@dataclass(frozen=True)
class Node:
    """One /dev/video* node and what its driver says it can do."""

    path: str
    """/dev/videoN."""
    name: str
    """What programs show in their camera list ("card")."""
    driver: str
    capture: bool
    """Pictures can be read from it."""
    output: bool
    """Pictures can be written to it."""

    @property
    def loopback(self) -> bool:
        """True for the device of a v4l2loopback module: a virtual camera."""
        return self.driver == LOOPBACK_DRIVER


def query(path: str) -> Node:
    """Ask the driver behind ``path``. Raises ``OSError`` (missing, no permission, not a V4L2 device)."""
    import fcntl  # not on Windows

    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        answer = fcntl.ioctl(descriptor, _VIDIOC_QUERYCAP, bytes(104))
    finally:
        os.close(descriptor)
    driver, card, _bus, _version, capabilities, device_capabilities = struct.unpack_from(
        "<16s32s32sIII", answer
    )
    # A webcam has several nodes (pictures, metadata): what this one does is in device_caps.
    caps = device_capabilities if capabilities & _CAP_DEVICE_CAPS else capabilities
    return Node(
        path=path,
        name=_text(card),
        driver=_text(driver),
        capture=bool(caps & _CAP_VIDEO_CAPTURE),
        output=bool(caps & _CAP_VIDEO_OUTPUT),
    )


def nodes() -> list[Node]:
    """Every video node of this machine that answers, by number."""
    if not SYSFS.is_dir():
        return []
    found = []
    names = [entry.name for entry in SYSFS.iterdir() if entry.name[5:].isdigit()]
    for name in sorted(names, key=lambda n: int(n[5:])):
        with suppress(OSError):  # unplugged this moment, or not ours to open
            found.append(query(f"/dev/{name}"))
    return found


def release_stuck_loopback(path: str) -> None:
    """Make a v4l2loopback device writable again after its writer has closed it.

    pyvirtualcam writes without STREAMON, so with ``exclusive_caps=1`` the driver (0.12.7, perhaps others)
    never learns who the writer was and, once that one has closed, offers neither capture nor output until
    the module is reloaded. STREAMON on the output side marks this descriptor as the writer even where
    the call itself fails, and closing it brings the output back. Never call it while another
    program is writing.
    """
    import fcntl  # not on Windows

    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        with suppress(OSError):
            fcntl.ioctl(descriptor, _VIDIOC_STREAMON, struct.pack("i", _BUFFER_VIDEO_OUTPUT))
    finally:
        os.close(descriptor)


def is_present(path: str) -> bool:
    """True while the kernel still has a video device at ``path``: a stat, microseconds."""
    return os.path.exists(path) and (SYSFS / os.path.basename(path)).exists()


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")
