"""A webcam: by index or path, newest picture first, found again after it was unplugged."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import cv2

from lia_live.errors import DeviceError
from lia_live.frame import Frame
from lia_live.interfaces import Clock
from lia_live.io import devices, v4l2
from lia_live.io.devices import Camera
from lia_live.io.grabber import Grabber
from lia_live.timing import MonotonicClock

FIRST_PICTURE_S = 8.0
"""A slow webcam needs 2 to 3 s from opening to its first picture."""
RETRY_S = 1.0
"""How often an unplugged camera is looked for."""
MEASURED_FRAMES = 30
MEASURED_S = 2.0
"""The real frame rate is taken over so many frames, or so long if the camera is slow."""
SKIPPED_FRAMES = 3
"""Not measured: the first ones come out of the driver's buffer all at once."""


class Capture(Protocol):
    """The part of ``cv2.VideoCapture`` that is used here."""

    def grab(self) -> bool: ...
    def retrieve(self) -> tuple[bool, Any]: ...
    def get(self, propId: int) -> float: ...
    def release(self) -> None: ...


class CameraSystem(Protocol):
    """How cameras are found and opened. The tests bring one whose cables they can pull."""

    def list(self) -> list[Camera]: ...
    def find(self, spec: str) -> Camera:
        """The camera that ``spec`` (index or path) names. Raises ``DeviceError``."""
        ...

    def open(self, camera: Camera, width: int, height: int, fps: float) -> Capture | None:
        """None if it cannot be opened."""
        ...


class LocalCameras:
    """The cameras of this machine, through OpenCV and the system's own interface."""

    def list(self) -> list[Camera]:
        return devices.list_cameras()

    def find(self, spec: str) -> Camera:
        if v4l2.ON_LINUX:
            return self._find_node(f"/dev/video{int(spec)}" if spec.isdigit() else spec)
        if not spec.isdigit():
            raise DeviceError(f"{spec} is not a camera", devices.describe(self.list()))
        known = {camera.index: camera for camera in self.list()}
        return known.get(int(spec), Camera(int(spec), "", ""))

    def _find_node(self, path: str) -> Camera:
        try:
            node = v4l2.query(path)
        except FileNotFoundError:
            raise DeviceError(
                f"there is no camera at {path}", devices.describe(self.list())
            ) from None
        except PermissionError:
            raise DeviceError(
                f"{path} may not be opened by this user",
                'run: sudo usermod -aG video "$USER", then log out and in again',
            ) from None
        except OSError as error:
            raise DeviceError(
                f"{path} is not a camera ({os.strerror(error.errno or 0)})",
                devices.describe(self.list()),
            ) from None
        if devices.is_own_output(path, node.name):
            raise DeviceError(
                f"{path} is lia-live's own virtual camera, not a webcam",
                devices.describe(self.list()),
            )
        if not node.capture:
            raise DeviceError(
                f"{path} ({node.name}) delivers no pictures", devices.describe(self.list())
            )
        real = os.path.realpath(path)
        digits = "".join(c for c in os.path.basename(real) if c.isdigit())
        return Camera(int(digits or 0), real, node.name)

    def open(self, camera: Camera, width: int, height: int, fps: float) -> Capture | None:
        interface = {"darwin": cv2.CAP_AVFOUNDATION, "win32": cv2.CAP_MSMF}.get(
            sys.platform, cv2.CAP_V4L2
        )
        with _quiet_opencv():
            capture = cv2.VideoCapture(camera.path or camera.index, interface)
            if not capture.isOpened():
                capture.release()
                return None
            # MJPG before the size: raw YUYV at 720p does not fit through USB 2 at 30 fps.
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
            capture.set(cv2.CAP_PROP_FPS, fps)
            # Two, not one: with one the driver has nowhere to put the next picture while this one is
            # being decoded, and half of the frames are lost.
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 2)
        return capture


class CameraSource:
    """A webcam as a source of frames. A thread of its own empties the driver's queue."""

    def __init__(
        self,
        spec: str,
        *,
        width: int = 1280,
        height: int = 720,
        fps: float = 30.0,
        system: CameraSystem | None = None,
        clock: Clock | None = None,
        retry_s: float = RETRY_S,
        first_picture_s: float = FIRST_PICTURE_S,
    ) -> None:
        """Open it and see one picture. Raises ``DeviceError`` (missing, busy, our own output)."""
        self._system: CameraSystem = system or LocalCameras()
        self._clock: Clock = clock or MonotonicClock()
        self._wanted = (width, height, fps)
        self._retry_s = retry_s
        self._camera = self._system.find(spec)
        devices.claim(self._camera.key, "camera")
        self.reconnects = 0
        """How often the camera came back after it was lost."""
        try:
            self._capture: Capture | None = self._open_first(first_picture_s)
        except BaseException:
            devices.release(self._camera.key)
            raise
        declared = self._capture.get(cv2.CAP_PROP_FPS) if self._capture else 0.0
        self._fps = declared if 1.0 <= declared <= 240.0 else fps
        self._grabber = Grabber("camera", self._produce)
        self._grabber.start()

    @property
    def name(self) -> str:
        return f"camera {self._camera}"

    @property
    def fps(self) -> float:
        """As declared by the driver, then as measured over the first frames."""
        return self._fps

    @property
    def ended(self) -> bool:
        """Only once closed: an unplugged camera may come back."""
        return self._grabber.stopping()

    def read(self) -> Frame | None:
        return self._grabber.take()

    def close(self) -> None:
        self._grabber.stop()
        devices.release(self._camera.key)

    def _open_first(self, first_picture_s: float) -> Capture:
        capture = self._system.open(self._camera, *self._wanted)
        if capture is not None:
            deadline = time.monotonic() + first_picture_s
            while time.monotonic() < deadline:
                if capture.grab():
                    return capture
                time.sleep(0.05)
            capture.release()
        others = [c for c in self._system.list() if c != self._camera]
        raise DeviceError(
            f"camera {self._camera} sends no pictures: it is busy in another program, or has a fault",
            "close the program that uses it"
            + (f", or take another: {', '.join(map(str, others))}" if others else " and try again"),
        )

    def _produce(self, grabber: Grabber) -> None:
        meter = _RateMeter()
        try:
            while not grabber.stopping():
                if self._capture is None:
                    if grabber.wait(self._retry_s):
                        return
                    self._capture = self._find_again()
                    meter = _RateMeter()
                    continue
                if not self._capture.grab():
                    with _quiet_opencv():
                        self._capture.release()
                    self._capture = None
                    continue
                captured_at = self._clock.now()  # before decoding: that time belongs to the age
                good, picture = self._capture.retrieve()
                if good and picture is not None:
                    grabber.put(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), captured_at)
                    self._fps = meter.update(captured_at) or self._fps
        finally:
            if self._capture is not None:
                self._capture.release()
                self._capture = None

    def _find_again(self) -> Capture | None:
        """The same camera, by its name: after replugging it may have another number. Where the system
        tells no names, by the number it had.
        """
        same = [c for c in self._system.list() if c.name == self._camera.name]
        if not self._camera.name:
            same = [self._camera]
        same.sort(key=lambda camera: camera.path != self._camera.path)
        for camera in same:
            capture = self._system.open(camera, *self._wanted)
            if capture is None:
                continue
            if capture.grab():
                devices.release(self._camera.key)
                self._camera = camera
                devices.claim(camera.key, "camera")
                self.reconnects += 1
                return capture
            capture.release()
        return None


class _RateMeter:
    """Frames a second over the first second or so of a stream."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._done = False

    def update(self, now: float) -> float | None:
        """Note a frame; the rate when there are enough of them, once, else None."""
        if self._done:
            return None
        self._times.append(now)
        measured = self._times[SKIPPED_FRAMES:]
        span = measured[-1] - measured[0] if len(measured) > 2 else 0.0
        if len(measured) <= MEASURED_FRAMES and span < MEASURED_S:
            return None
        self._done = True
        return (len(measured) - 1) / span if span > 0 else None


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """OpenCV prints warnings for every property that a camera lacks; the user gets our line instead."""
    level = cv2.getLogLevel()
    cv2.setLogLevel(0)
    try:
        yield
    finally:
        cv2.setLogLevel(level)
