"""The virtual camera that call programs open: v4l2loopback on Linux, OBS on macOS and Windows."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any, Final

import numpy as np

from lia_live.errors import ConfigError, DeviceError
from lia_live.frame import Pixels
from lia_live.io import devices, v4l2
from lia_live.io.devices import VIRTUAL_CAMERA_LABEL

MODPROBE_LINE: Final = (
    "sudo modprobe v4l2loopback devices=1 video_nr=10 exclusive_caps=1"
    f' card_label="{VIRTUAL_CAMERA_LABEL}"'
)
"""exclusive_caps: Chrome and Zoom list only devices that say nothing but "capture"."""
OBS_LINE: Final = (
    "install OBS Studio (30 or newer on macOS), start it once, click Start Virtual Camera"
    " and Stop Virtual Camera, then quit it"
)
PRESENCE_S: Final = 0.5
"""How often a send looks whether the device still exists: pyvirtualcam itself never tells."""


def setup_hint() -> str:
    """The line that makes a virtual camera on this system; for ``doctor`` too."""
    return f"run: {MODPROBE_LINE}" if v4l2.ON_LINUX else OBS_LINE


def virtual_cameras() -> list[v4l2.Node]:
    """Linux: the v4l2loopback devices of this machine, ours (by its label) first."""
    found = [node for node in v4l2.nodes() if node.loopback]
    return sorted(found, key=lambda node: node.name != VIRTUAL_CAMERA_LABEL)


class VirtualCameraSink:
    """Shows pictures to call programs. Hold it open for the program's life: readers drop off otherwise."""

    def __init__(
        self,
        width: int = 1280,
        height: int = 720,
        fps: float = 30.0,
        device: str | None = None,
        *,
        backend: str | None = None,
    ) -> None:
        """Open ``device`` (None: ours, else the first that is free) for pictures of one size for its
        life. ``backend``: a name registered with pyvirtualcam; None: the system's own.
        Raises ``DeviceError`` with the line that sets a virtual camera up.
        """
        if width % 2 or height % 2:
            raise ConfigError(f"a virtual camera needs even sides, got {width} × {height}")
        self._size = (width, height)
        self._lock = threading.Lock()
        self._camera: Any = _open(width, height, fps, device, backend)
        self._device = str(self._camera.device)
        self._loopback = _loopback(self._device)
        self._seen_at = time.monotonic()
        self._lost = False
        try:
            devices.claim(self._device, "output")
        except DeviceError:
            self.close()
            raise

    @property
    def name(self) -> str:
        return f"virtual camera {self._device}"

    @property
    def device(self) -> str:
        """What call programs open: /dev/videoN, or the camera's name."""
        return self._device

    @property
    def size(self) -> tuple[int, int]:
        return self._size

    def send(self, pixels: Pixels) -> None:
        """Show one picture, (height, width, 3) uint8 RGB. Raises ``DeviceError`` once the device is gone."""
        width, height = self._size
        if pixels.shape != (height, width, 3):
            raise ValueError(f"expected a picture of {height, width, 3}, got {pixels.shape}")
        with self._lock:
            if self._camera is None:
                return
            self._check_presence()
            try:
                self._camera.send(np.ascontiguousarray(pixels))
            except (RuntimeError, OSError) as error:
                self._lost = True
                raise self._gone(str(error)) from error

    def close(self) -> None:
        """Give the device back, ready for the next program. May be called twice, from any thread."""
        with self._lock:
            camera, self._camera = self._camera, None
        if camera is None:
            return
        devices.release(self._device)
        with suppress(RuntimeError, OSError):  # of a device that is gone
            camera.close()
        if self._loopback and not self._lost:
            with suppress(OSError):
                _unstick(self._device)

    def _check_presence(self) -> None:
        now = time.monotonic()
        if not self._lost and self._loopback and now - self._seen_at >= PRESENCE_S:
            self._seen_at = now
            self._lost = not v4l2.is_present(self._device)
        if self._lost:
            raise self._gone("it no longer exists")

    def _gone(self, reason: str) -> DeviceError:
        return DeviceError(
            f"the virtual camera {self._device} is gone: {reason}",
            f"set it up again ({setup_hint()}) and start lia-live anew",
        )


def _loopback(device: str) -> bool:
    return v4l2.ON_LINUX and device.startswith("/dev/")


def _open(width: int, height: int, fps: float, device: str | None, backend: str | None) -> Any:
    """A ``pyvirtualcam.Camera``. GPL and native: imported here, when somebody wants one, and not before."""
    try:
        import pyvirtualcam
    except ImportError as error:
        raise DeviceError(
            f"the virtual camera needs pyvirtualcam, which cannot be loaded ({error})",
            "run: pip install pyvirtualcam",
        ) from error
    known = pyvirtualcam.camera.BACKENDS
    if backend is not None and backend not in known:  # pyvirtualcam: a bare KeyError
        raise DeviceError(
            f"there is no virtual camera backend {backend!r}",
            f"known: {', '.join(sorted(known)) or 'none on this system'}",
        )
    wanted: list[str | None] = [device]
    if v4l2.ON_LINUX and backend in (None, "v4l2loopback"):
        wanted = list(_candidates(device))
    failures = []
    for choice in wanted:
        try:
            try:
                return pyvirtualcam.Camera(width, height, fps, device=choice, backend=backend)
            except RuntimeError:
                # A stuck device is the one fault that we can cure; then try once more.
                if not (choice and _loopback(choice) and _unstick(choice)):
                    raise
                return pyvirtualcam.Camera(width, height, fps, device=choice, backend=backend)
        except (RuntimeError, OSError, ValueError) as error:
            failures.append(str(error).strip().replace("\n", "; "))
    raise DeviceError(
        f"the virtual camera cannot be opened: {' · '.join(failures)}", _failure_hint(failures)
    )


def _candidates(device: str | None) -> list[str]:
    """Linux: the device asked for, or every loopback device, ours first. Raises ``DeviceError``."""
    if device is None:
        found = [node.path for node in virtual_cameras()]
        if not found:
            raise DeviceError("this machine has no virtual camera", setup_hint())
        return found
    try:
        node = v4l2.query(device)
    except FileNotFoundError:
        raise DeviceError(f"there is no virtual camera {device}", setup_hint()) from None
    except PermissionError:
        raise DeviceError(
            f"{device} may not be opened by this user",
            'run: sudo usermod -aG video "$USER", then log out and in again',
        ) from None
    except OSError:
        raise DeviceError(f"{device} is not a video device", setup_hint()) from None
    if not node.loopback and not node.output:
        raise DeviceError(f"{device} ({node.name}) is a camera, not a virtual one", setup_hint())
    return [device]


def _failure_hint(failures: list[str]) -> str:
    text = " ".join(failures).lower()
    if "in use" in text or "busy" in text or "not a video output" in text:
        return (
            "close the program that writes to it; one program at a time can feed a virtual camera"
        )
    return setup_hint()


def _unstick(device: str) -> bool:
    """Cure a loopback device that nobody can write to any more; True if there was something to cure."""
    node = v4l2.query(device)
    if not node.loopback or node.output or node.capture:
        return False
    v4l2.release_stuck_loopback(device)
    return True
