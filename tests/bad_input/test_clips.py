"""Cameras and clips that cannot be used."""

from __future__ import annotations

import random
import shutil
import time

import numpy as np
import pytest

from tests.io import clips


def test_camera_that_is_not_there(live):
    what, _ = live(5, camera=99)
    assert "99" in what


def test_camera_that_is_busy(live, monkeypatch):
    from lia_live.io import camera, devices

    mine = devices.Camera(0, "/dev/video0", "USB camera")
    monkeypatch.setattr(camera.LocalCameras, "find", lambda self, spec: mine)
    monkeypatch.setattr(camera.LocalCameras, "open", lambda self, *wanted: None)
    monkeypatch.setattr(camera.LocalCameras, "list", lambda self: [mine])
    what, to_do = live(5, camera=0)
    assert "busy" in what
    assert "close" in to_do


class Webcam:
    """A ``cv2.VideoCapture`` of a camera that works."""

    def __init__(self) -> None:
        self.released = False

    def grab(self) -> bool:
        return True

    def retrieve(self) -> tuple[bool, np.ndarray]:
        time.sleep(1 / 30)
        return True, np.zeros((48, 64, 3), np.uint8)

    def get(self, name: int) -> float:
        return 30.0

    def release(self) -> None:
        self.released = True


def test_no_device_is_held_after_a_failure(live, monkeypatch):
    from lia_live.io import camera, devices, v4l2

    mine, webcam = devices.Camera(0, "/dev/video0", "USB camera"), Webcam()
    monkeypatch.setattr(camera.LocalCameras, "find", lambda self, spec: mine)
    monkeypatch.setattr(camera.LocalCameras, "open", lambda self, *wanted: webcam)
    monkeypatch.setattr(v4l2, "nodes", list)
    live(5, camera=0, output="virtual")
    assert webcam.released
    assert not devices._claims


@pytest.mark.parametrize(
    "kind", ("missing", "folder", "empty", "corrupt", "audio only", "no frames", "text")
)
def test_clip(kind, files, live, animate, tmp_path):
    path = tmp_path / "bad.mp4"
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "corrupt":
        good = (files / "clip.mp4").read_bytes()
        path.write_bytes(good[:200] + random.Random(1).randbytes(len(good) - 200))
    elif kind == "audio only":
        clips.write_sound(path, 0.5)
    elif kind == "no frames":
        whole = clips.write_clip(tmp_path / "whole.mkv", clips.even_times(3)).read_bytes()
        path = tmp_path / "bad.mkv"
        path.write_bytes(whole[: whole.index(b"\x1f\x43\xb6\x75")])  # up to the first cluster
    elif kind == "text":
        path.write_text("not a film")
    for what, _ in (live(3, camera=path), animate(3, driving=path)):
        assert path.name in what


def test_own_recording_is_not_its_own_camera(files, live, tmp_path):
    clip = tmp_path / "clip.mp4"
    shutil.copy(files / "clip.mp4", clip)
    before = clip.read_bytes()
    live(2, camera=clip, output=clip)
    assert clip.read_bytes() == before
