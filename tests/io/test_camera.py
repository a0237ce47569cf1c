"""The webcam: missing, busy, unplugged and replugged, measured; our own output is never an input."""

from __future__ import annotations

import threading
import time

import cv2
import numpy as np
import pytest

from lia_live.errors import DeviceError
from lia_live.interfaces import Source
from lia_live.io import CameraSource, devices
from lia_live.io.devices import VIRTUAL_CAMERA_LABEL, Camera
from tests.io.clips import number_of, numbered

WEBCAM = Camera(0, "", "Test Webcam")


class Cable:
    """A camera on a cable: grabs pictures at a rate until the cable is pulled."""

    def __init__(self, fps=60.0):
        self.fps = fps
        self.plugged = True
        self.count = 0
        self.open_handles = 0


class CableCapture:
    def __init__(self, cable):
        self._cable = cable
        self._picture = None
        cable.open_handles += 1

    def grab(self):
        time.sleep(1 / self._cable.fps)
        if not self._cable.plugged:
            return False
        self._picture = numbered(self._cable.count % 256)
        self._cable.count += 1
        return True

    def retrieve(self):
        return True, np.ascontiguousarray(self._picture[..., ::-1])  # BGR, as OpenCV's

    def get(self, _property):
        return 30.0

    def release(self):
        self._cable.open_handles -= 1


class Desk:
    """The cameras on a desk (``CameraSystem``)."""

    def __init__(self, cables):
        self.cables = cables

    def list(self):
        return [camera for camera, cable in self.cables.items() if cable.plugged]

    def find(self, spec):
        for camera in self.list():
            if str(camera.index) == spec:
                return camera
        raise DeviceError(f"there is no camera {spec}", devices.describe(self.list()))

    def open(self, camera, width, height, fps):
        return CableCapture(self.cables[camera]) if camera in self.list() else None


def open_test_camera(cables=None, **options):
    return CameraSource("0", system=Desk(cables or {WEBCAM: Cable()}), retry_s=0.05, **options)


def next_frame(source, within_s=3.0):
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        frame = source.read()
        if frame is not None:
            return frame
    raise AssertionError("no frame came")


def test_frames_are_rgb_numbered_and_newest_first():
    cable = Cable()
    source = open_test_camera({WEBCAM: cable})
    assert isinstance(source, Source)
    assert source.name == "camera 0 (Test Webcam)"
    first = next_frame(source)
    assert np.array_equal(first.pixels, numbered(number_of(first.pixels)))
    time.sleep(0.3)  # a slow reader
    sent = cable.count
    late = next_frame(source)
    assert number_of(late.pixels) >= sent - 2
    assert late.number - first.number > 5
    source.close()
    assert cable.open_handles == 0


def test_the_real_rate_is_measured():
    source = open_test_camera({WEBCAM: Cable(fps=100)})
    assert source.fps == 30.0  # what the driver says
    for _ in range(45):
        next_frame(source)
    source.close()
    assert 40 < source.fps < 101  # what it does; time.sleep adds a little to each frame


def test_unplugged_gives_none_and_replugged_goes_on():
    cable = Cable()
    source = open_test_camera({WEBCAM: cable})
    before = next_frame(source)
    cable.plugged = False
    source.read()
    began = time.perf_counter()
    assert [source.read() for _ in range(2)] == [None, None]
    assert 0.5 < time.perf_counter() - began < 1.5  # waits, neither spins nor blocks
    assert not source.ended
    cable.plugged = True
    after = next_frame(source)
    assert after.number > before.number and after.captured_at > before.captured_at
    assert source.reconnects == 1
    source.close()
    assert cable.open_handles == 0


def test_replugged_under_another_number_is_found_by_name_and_no_other_camera_is_taken():
    moved = Camera(4, "", "Test Webcam")
    other = Camera(1, "", "Somebody Else's Webcam")
    cables = {WEBCAM: Cable(), other: Cable(), moved: Cable()}
    cables[moved].plugged = False
    source = open_test_camera(cables)
    next_frame(source)
    cables[WEBCAM].plugged = False
    source.read()
    time.sleep(0.3)
    assert source.read() is None
    assert cables[other].open_handles == 0  # a stranger's picture is never shown instead
    cables[moved].plugged = True
    next_frame(source)
    assert source.name == "camera 4 (Test Webcam)"
    source.close()


def test_replugged_where_the_system_lists_no_cameras():
    class SilentDesk(Desk):
        def list(self):
            return []

        def find(self, spec):
            return Camera(int(spec), "", "")

        def open(self, camera, width, height, fps):
            return CableCapture(self.cables[camera]) if self.cables[camera].plugged else None

    cable = Cable()
    source = CameraSource("0", system=SilentDesk({Camera(0, "", ""): cable}), retry_s=0.05)
    next_frame(source)
    cable.plugged = False
    source.read()
    assert source.read() is None
    cable.plugged = True
    next_frame(source)
    assert source.reconnects == 1
    source.close()
    assert cable.open_handles == 0


def test_a_lost_camera_is_looked_for_at_a_bounded_rate():
    cable = Cable(fps=1000)
    desk = Desk({WEBCAM: cable})
    looks = []
    desk_list = desk.list
    desk.list = lambda: looks.append(1) or desk_list()
    source = CameraSource("0", system=desk, retry_s=0.1)
    cable.plugged = False
    looks.clear()
    time.sleep(0.55)
    source.close()
    assert 2 <= len(looks) <= 6


def test_close_ends_a_waiting_read():
    cable = Cable()
    source = open_test_camera({WEBCAM: cable})
    cable.plugged = False
    time.sleep(0.1)
    source.read()
    threading.Timer(0.1, source.close).start()
    began = time.perf_counter()
    assert source.read() is None
    assert time.perf_counter() - began < 0.4
    source.close()


def test_missing_camera_names_those_that_exist():
    with pytest.raises(DeviceError, match="99") as caught:
        CameraSource("99", system=Desk({WEBCAM: Cable()}))
    assert "0 (Test Webcam)" in caught.value.hint


def test_busy_camera_is_refused_and_given_back():
    cable = Cable(fps=1000)
    desk = Desk({WEBCAM: cable, Camera(2, "", "USB Camera"): Cable()})
    camera = desk.find("0")
    cable_open = desk.open
    desk.open = lambda *a: None if a[0] == camera else cable_open(*a)
    with pytest.raises(DeviceError, match="busy") as caught:
        CameraSource("0", system=desk)
    assert "2 (USB Camera)" in caught.value.hint
    assert devices._claims == {}


def test_a_camera_that_never_sends_a_picture_is_refused():
    cable = Cable(fps=1000)
    desk = Desk({WEBCAM: cable})
    opened = desk.open

    def silent(*arguments):
        capture = opened(*arguments)
        capture.grab = lambda: False
        return capture

    desk.open = silent
    with pytest.raises(DeviceError, match="no pictures"):
        CameraSource("0", system=desk, first_picture_s=0.2)
    assert cable.open_handles == 0


def test_opencv_reads_a_real_stream_and_its_end_is_an_unplugged_camera(tmp_path):
    """The same path with ``cv2.VideoCapture`` itself, on a file in place of the device."""
    path = str(tmp_path / "webcam.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 30, (320, 192))
    for number in range(20):
        writer.write(numbered(number)[..., ::-1])
    writer.release()

    class FileDesk(Desk):
        def open(self, camera, width, height, fps):
            return cv2.VideoCapture(path)

    source = CameraSource("0", system=FileDesk({WEBCAM: Cable()}), retry_s=0.05)
    frame = next_frame(source)
    assert np.abs(frame.pixels[100, 50].astype(int) - (200, 40, 40)).max() < 12
    time.sleep(0.5)
    source.close()
    assert source.reconnects >= 1


def test_our_own_output_is_never_opened_as_input():
    assert devices.is_own_output("/dev/video9", VIRTUAL_CAMERA_LABEL)
    devices.claim("/dev/video9", "output")
    try:
        assert devices.is_own_output("/dev/video9", "any name")
        with pytest.raises(DeviceError, match="both"):
            devices.claim("/dev/video9", "camera")
    finally:
        devices.release("/dev/video9")
    assert not devices.is_own_output("/dev/video9", "any name")


def test_the_same_device_by_another_path_is_the_same(tmp_path):
    link = tmp_path / "by-id"
    link.symlink_to("/dev/null")
    devices.claim("/dev/null", "output")
    try:
        assert devices.is_own_output(str(link), "")
    finally:
        devices.release("/dev/null")


def test_something_else_under_dev_is_no_camera():
    with pytest.raises(DeviceError, match="not a camera"):
        CameraSource("/dev/null")
