"""Virtual camera through a test backend, preview window, null sink, and what ``open_sink`` makes of words."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import pyvirtualcam

from lia_live.errors import ConfigError, DeviceError, StorageError
from lia_live.interfaces import Sink
from lia_live.io import NullSink, PreviewSink, VideoFileSink, VirtualCameraSink, open_sink, v4l2
from lia_live.io import devices as devices_module
from lia_live.io import virtual_camera as virtual_camera_module
from tests.io.clips import numbered

PROJECT = Path(__file__).parents[2]


class MemoryCamera:
    """A pyvirtualcam backend that keeps what it is sent."""

    opened: list[MemoryCamera] = []  # noqa: RUF012 (cleared by the fixture)
    fault: str | None = None

    def __init__(self, *, width, height, fps, fourcc, device, **_options):
        if MemoryCamera.fault:
            raise RuntimeError(MemoryCamera.fault)
        self.size, self.fps, self.pictures, self.closed = (width, height), fps, [], False
        self.broken = False
        self._device = device or "memory camera"
        MemoryCamera.opened.append(self)

    def close(self):
        self.closed = True

    def send(self, flat):
        if self.broken:
            raise RuntimeError("the driver went away")
        self.pictures.append(flat.copy())

    def device(self):
        return self._device

    def native_fourcc(self):
        return None


@pytest.fixture
def backend(monkeypatch):
    monkeypatch.setitem(pyvirtualcam.camera.BACKENDS, "memory", MemoryCamera)
    MemoryCamera.opened.clear()
    MemoryCamera.fault = None
    return "memory"


def test_pictures_arrive_unchanged(backend):
    sink = VirtualCameraSink(backend=backend)
    assert isinstance(sink, Sink)
    assert sink.size == (1280, 720) and MemoryCamera.opened[0].fps == 30
    picture = numbered(3, 1280, 720)
    sink.send(picture)
    sink.send(picture[:, ::-1])  # not contiguous
    assert np.array_equal(MemoryCamera.opened[0].pictures[0].reshape(720, 1280, 3), picture)
    assert np.array_equal(
        MemoryCamera.opened[0].pictures[1].reshape(720, 1280, 3), picture[:, ::-1]
    )
    with pytest.raises(ValueError, match="expected a picture"):
        sink.send(picture[:100])
    sink.close()
    sink.close()
    sink.send(picture)  # after close: nothing happens
    assert MemoryCamera.opened[0].closed and len(MemoryCamera.opened[0].pictures) == 2


def test_it_is_known_as_our_own_output_while_it_is_open(backend):
    sink = VirtualCameraSink(64, 48, backend=backend)
    assert devices_module.is_own_output("", sink.device)
    sink.close()
    assert not devices_module.is_own_output("", sink.device)


def test_a_camera_in_use_as_input_is_no_output(backend):
    devices_module.claim("memory camera", "camera")
    try:
        with pytest.raises(DeviceError, match="both"):
            VirtualCameraSink(64, 48, backend=backend)
        assert MemoryCamera.opened[0].closed
    finally:
        devices_module.release("memory camera")


def test_a_driver_that_fails_is_a_device_error_for_good(backend):
    sink = VirtualCameraSink(64, 48, backend=backend)
    MemoryCamera.opened[0].broken = True
    for _ in range(2):
        with pytest.raises(DeviceError, match="gone") as caught:
            sink.send(np.zeros((48, 64, 3), np.uint8))
        assert caught.value.hint
    sink.close()


def test_a_device_that_disappears_is_noticed(backend, monkeypatch):
    monkeypatch.setattr(virtual_camera_module, "PRESENCE_S", 0.0)
    monkeypatch.setattr(v4l2, "ON_LINUX", True)
    sink = VirtualCameraSink(64, 48, device="/dev/video77", backend=backend)
    with pytest.raises(DeviceError, match="no longer exists"):
        sink.send(np.zeros((48, 64, 3), np.uint8))
    sink.close()


def test_busy_says_who_must_close(backend):
    MemoryCamera.fault = "Device /dev/video10 is already in use."
    with pytest.raises(DeviceError, match="already in use") as caught:
        VirtualCameraSink(64, 48, backend=backend)
    assert "close the program" in caught.value.hint


def test_an_unknown_backend_is_no_bare_key_error():
    with pytest.raises(DeviceError, match="backend 'nonsense'") as caught:
        VirtualCameraSink(64, 48, backend="nonsense")
    assert caught.value.hint


def test_odd_sides_are_refused():
    with pytest.raises(ConfigError, match="even"):
        VirtualCameraSink(641, 480)


@pytest.mark.skipif(not v4l2.ON_LINUX, reason="the modprobe line is Linux's")
def test_without_a_device_the_hint_is_the_very_line():
    if any(node.loopback for node in v4l2.nodes()):
        pytest.skip("this machine has a virtual camera")
    for device in ("", ":/dev/video98"):
        with pytest.raises(DeviceError) as caught:
            open_sink(f"virtual{device}")
        assert (
            "sudo modprobe v4l2loopback devices=1 video_nr=10 exclusive_caps=1"
            ' card_label="lia-live"' in caught.value.hint
        )


def test_without_pyvirtualcam_the_hint_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(DeviceError) as caught:
        VirtualCameraSink(64, 48)
    assert "pip install pyvirtualcam" in caught.value.hint


def test_pyvirtualcam_and_torch_are_not_loaded_with_the_room():
    code = (
        "import sys, lia_live.io; sys.exit('pyvirtualcam' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=PROJECT).returncode == 0


def test_open_sink_understands_the_words(tmp_path, backend):
    null = open_sink("none", width=64, height=48)
    assert isinstance(null, NullSink) and isinstance(null, Sink) and null.size == (64, 48)
    null.send(np.zeros((48, 64, 3), np.uint8))
    null.close()
    assert null.sent == 1
    file = open_sink(str(tmp_path / "out.mp4"), width=64, height=48, fps=10)
    assert isinstance(file, VideoFileSink) and file.size == (64, 48)
    file.close()
    with pytest.raises(ConfigError) as caught:
        open_sink("virtul")
    assert "virtual" in caught.value.hint
    with pytest.raises(ConfigError):
        open_sink("movie.avi")
    with pytest.raises(StorageError):
        open_sink(str(tmp_path / "nowhere" / "out.mp4"))


def test_no_display_is_one_line(monkeypatch):
    monkeypatch.setattr(v4l2, "ON_LINUX", True)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(DeviceError, match="no display") as caught:
        open_sink("preview")
    assert "--output" in caught.value.hint


@pytest.mark.skipif(not v4l2.ON_LINUX, reason="Qt ends the process only there")
def test_a_display_that_does_not_answer_is_one_line_too(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":6123")
    with pytest.raises(DeviceError, match=":6123"):
        PreviewSink()


def test_no_preview_on_macos(monkeypatch):
    """The output thread would open the window, and macOS ends such a program without a word."""
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(DeviceError, match="macOS") as caught:
        open_sink("preview")
    assert "--output" in caught.value.hint


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb")
def test_the_window_shows_the_picture_and_hands_over_keys(tmp_path):
    """In a child with a display of its own; the picture is read from that display's memory."""
    number = 90 + os.getpid() % 800
    server = subprocess.Popen(
        ["Xvfb", f":{number}", "-screen", "0", "800x600x24", "-fbdir", str(tmp_path)],
        stderr=subprocess.DEVNULL,
    )
    code = """
        import sys, time, numpy as np, cv2
        from lia_live.io import PreviewSink
        keys = []
        sink = PreviewSink(640, 480, on_key=keys.append)
        # pollKey is the window system's; what it returns is what this test decides
        cv2.pollKey = iter([ord("x"), -1, ord("+")] + [-1] * 100).__next__
        real = cv2.waitKey
        picture = np.zeros((480, 640, 3), np.uint8); picture[:] = (250, 10, 120)
        for _ in range(20):
            sink.send(picture); real(20)
        print(keys, flush=True); sys.stdin.readline()
        sink.close(); sink.close(); sink.send(picture)
    """
    try:
        lock = Path(f"/tmp/.X{number}-lock")
        for _ in range(100):
            if lock.exists():
                break
            server.poll()
            import time

            time.sleep(0.05)
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
            env={**os.environ, "DISPLAY": f":{number}"},
        )
        line = child.stdout.readline()
        screen = (tmp_path / "Xvfb_screen0").read_bytes()
        _out, errors = child.communicate("\n", timeout=30)
        assert child.returncode == 0, errors
        assert line == "['x', '+']\n", errors
        assert screen.count(bytes([120, 10, 250])) > 200_000  # BGR of the picture, 640 × 480 of it
    finally:
        server.terminate()
        server.wait(10)
