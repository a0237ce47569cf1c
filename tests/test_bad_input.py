"""Everything a person can get wrong: an exit code, one line that says what, one that says what to do.

Most cases run in this process through ``main``; the real program is started where signals or file
descriptors matter.
"""

from __future__ import annotations

import argparse
import os
import pickle
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from lia_live.cli import main
from tests.cli import material
from tests.io import clips

QUIET = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


@pytest.fixture(autouse=True)
def state(tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """tiny.safetensors, other.safetensors, me.png, clip.mp4: good ones. Not to be written to."""
    folder = tmp_path_factory.mktemp("files")
    material.write_weights(folder / "tiny.safetensors")
    material.write_weights(folder / "other.safetensors", seed=1)
    material.write_portrait(folder / "me.png")
    material.write_face_clip(folder / "clip.mp4", sound=True)
    return folder


@pytest.fixture
def refused(capfd):
    """Runs the program and checks the two lines; returns them."""

    def check(code: int, *words: object) -> tuple[str, str]:
        capfd.readouterr()
        found = main([str(word) for word in words])
        said = capfd.readouterr().err
        lines = said.splitlines()
        assert found == code, said
        assert [line.partition(": ")[0] for line in lines] == ["error", "to do"], said
        what, to_do = (line.partition(": ")[2] for line in lines)
        assert what and to_do, said
        return what, to_do

    return check


@pytest.fixture
def live(files, refused):
    """``lia-live`` with good defaults; what the test adds takes their place."""

    def check(code: int, **changes: object) -> tuple[str, str]:
        given = {
            "avatar": files / "me.png",
            "camera": files / "clip.mp4",
            "output": "none",
            "weights": files / "tiny.safetensors",
            "device": "cpu",
            "consent": "me",
            **changes,
        }
        words = [
            word for key, value in given.items() for word in (f"--{key.replace('_', '-')}", value)
        ]
        return refused(code, *words)

    return check


@pytest.fixture
def animate(files, refused, tmp_path):
    """``lia-live animate``, likewise."""

    def check(code: int, **changes: object) -> tuple[str, str]:
        given = {
            "avatar": files / "me.png",
            "driving": files / "clip.mp4",
            "out": tmp_path / "out.mp4",
            "weights": files / "tiny.safetensors",
            "device": "cpu",
            "consent": "me",
            **changes,
        }
        words = [word for key, value in given.items() for word in (f"--{key}", value)]
        return refused(code, "animate", *words)

    return check


# Portraits


def bomb(path: Path, side: int = 30_000) -> None:
    """A valid PNG of side x side black pixels: about 100 kB that unpack to 112 MB, or 2.7 GB as RGB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    rows = zlib.compressobj(9)
    data = b"".join(rows.compress(bytes(1 + side // 8)) for _ in range(side)) + rows.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def bad_portrait(kind: str, folder: Path, good: Path) -> Path:
    from PIL import Image

    path = folder / f"{kind}.png"
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("this is a letter, not a picture\n" * 50)
    elif kind == "empty":
        path.touch()
    elif kind == "truncated":
        path.write_bytes(good.read_bytes()[:20_000])
    elif kind == "bomb":
        bomb(path)
    elif kind == "animated":
        path = folder / "animated.gif"
        frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
        frames[0].save(path, save_all=True, append_images=frames[1:])
    elif kind == "faceless":
        Image.new("RGB", (400, 400), "grey").save(path)
    return path


PORTRAITS = ("missing", "folder", "text", "empty", "truncated", "bomb", "animated", "faceless")


@pytest.mark.parametrize("kind", PORTRAITS)
def test_portrait(kind, files, live, tmp_path):
    path = bad_portrait(kind, tmp_path, files / "me.png")
    what, _ = live(3, avatar=path)
    assert path.name in what


@pytest.mark.parametrize("kind", ("text", "bomb"))
def test_portrait_of_the_other_commands(kind, files, animate, refused, tmp_path):
    path = bad_portrait(kind, tmp_path, files / "me.png")
    weights = files / "tiny.safetensors"
    animate(3, avatar=path)
    refused(3, "avatar", "build", path, "--weights", weights, "--consent", "me")
    assert not path.with_suffix(".avatar").exists()


@pytest.fixture(scope="module")
def good_bundle(files) -> Path:
    from lia_live.avatar import Avatar
    from lia_live.model import load_model

    model = load_model(files / "tiny.safetensors", "cpu")
    Avatar.from_image(files / "me.png", model).with_consent("me").save(files / "me.avatar")
    return files / "me.avatar"


@pytest.mark.parametrize("kind", ("missing", "empty", "text", "truncated", "other model"))
def test_bundle(kind, files, good_bundle, live, refused, tmp_path):
    bundle = tmp_path / "me.avatar"
    shutil.copy(good_bundle, bundle)
    if kind == "missing":
        bundle.unlink()
    elif kind == "empty":
        bundle.write_bytes(b"")
    elif kind == "text":
        bundle.write_text("not a bundle " * 20)
    elif kind == "truncated":
        bundle.write_bytes(bundle.read_bytes()[:-1000])
    weights = "other" if kind == "other model" else "tiny"
    live(3, avatar=bundle, weights=files / f"{weights}.safetensors")
    if kind != "other model":
        refused(3, "avatar", "info", bundle)


@pytest.mark.parametrize("label", (b'\\"size\\": "', b'\\"sine\\": 64'))
def test_bundle_with_a_damaged_label(label, good_bundle, refused, tmp_path):
    bundle = tmp_path / "me.avatar"
    whole = good_bundle.read_bytes()
    assert whole.count(b'\\"size\\": 64') == 1
    bundle.write_bytes(whole.replace(b'\\"size\\": 64', label.ljust(12)))
    assert bundle.stat().st_size == len(whole)
    for more in ([], ["--json"]):
        what, _ = refused(3, "avatar", "info", bundle, *more)
        assert "damaged" in what or "not an avatar bundle" in what


# Cameras and clips


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


# Outputs


def test_no_virtual_camera(live, monkeypatch):
    from lia_live.io import v4l2

    monkeypatch.setattr(v4l2, "nodes", list)
    what, to_do = live(5, output="virtual")
    assert "virtual camera" in what
    assert "modprobe" in to_do or "OBS" in to_do


def test_no_screen_for_the_preview(live, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    live(5, output="preview")


def test_output_that_is_none(live):
    live(2, output="vitual")
    live(2, output="out.avi")


@pytest.mark.parametrize("place", ("no such folder/out.mp4", "folder.mp4", "file/out.mp4"))
def test_output_place(place, live, animate, tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").touch()
    live(4, output=tmp_path / place)
    animate(4, out=tmp_path / place)
    live(4, stats_json=tmp_path / place)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_output_without_permission(live, animate, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    live(4, output=locked / "out.mp4")
    animate(4, out=locked / "out.mp4")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk(live, animate, tmp_path):
    full = tmp_path / "out.mp4"
    for check in (lambda: live(4, output=full), lambda: animate(4, out=full)):
        full.symlink_to("/dev/full")
        what, to_do = check()
        assert "full" in what
        assert "space" in to_do
        full.unlink(missing_ok=True)
    live(4, stats_json="/dev/full")


# Flags, settings, consent


def test_unknown_flag(refused):
    _, to_do = refused(2, "--avatar", "me.png", "--strenght", "1")
    assert "--strength" in to_do


def test_one_file_for_two_outputs(live, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    what, _ = live(2, output="a.mp4", stats_json=tmp_path / "sub" / ".." / "a.mp4")
    assert "the same" in what
    what, _ = refused(2, "demo", "--out", "a.mp4", "--stats-json", "./a.mp4")
    assert "the same" in what
    assert list(tmp_path.iterdir()) == []


def test_video_of_another_kind(animate, refused, tmp_path, monkeypatch):
    """Said before the model is loaded: the weights named here do not even exist."""
    monkeypatch.chdir(tmp_path)
    assert ".mp4" in animate(2, out="out.avi", weights="none.safetensors")[0]
    assert ".mp4" in refused(2, "demo", "--out", "out.gif", "--weights", "none.safetensors")[0]


def test_clip_by_url_is_for_live_use(animate):
    what, to_do = animate(2, driving="http://user:secret@127.0.0.1:9/clip.mp4")
    assert "secret" not in what
    assert "download" in to_do


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("fps", "0"), ("fps", "61"), ("fps", "nan"), ("fps", "many"), ("strength", "2.01"),
        ("strength", "-1"), ("smooth", "1.5"), ("smooth", "-0.1"), ("smooth", "nan"),
        ("duration", "0"), ("device", "tpu"), ("mode", "sideways"),
    ],
)  # fmt: skip
def test_out_of_range(flag, value, live):
    what, _ = live(2, **{flag: value})
    assert flag in what


def test_device_that_is_not_there(live):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    what, to_do = live(5, device="cuda")
    assert "cuda" in what.lower()
    assert "--device cpu" in to_do


def test_settings_file(live, tmp_path):
    settings = tmp_path / "my.toml"
    for text, meant in (("strenght = 1", "strength"), ("fsp = 30", "fps")):
        settings.write_text(text)
        what, to_do = live(2, config=settings)
        assert "my.toml" in what
        assert meant in to_do
    for text in ("strength = 9", "fps = 'fast'", "= 3", "[run]\nfps = 30"):
        settings.write_text(text)
        live(2, config=settings)
    live(2, config=tmp_path / "none.toml")


def test_no_answer_about_consent(files, refused, monkeypatch, tmp_path):
    with (tmp_path / "nobody").open("w+") as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        what, to_do = refused(
            2, "--avatar", files / "me.png", "--camera", files / "clip.mp4", "--output", "none"
        )
    assert "me.png" in what
    assert "--consent me" in to_do


# Weights


def damaged_weights(kind: str, good: Path, path: Path) -> Path:
    with safe_open(good, framework="pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    key = sorted(tensors)[0]
    if kind == "truncated":
        path.write_bytes(good.read_bytes()[:-500])
        return path
    if kind == "text":
        path.write_text("no weights " * 100)
        return path
    if kind == "empty":
        path.touch()
        return path
    if kind == "missing":
        return path
    if kind == "missing key":
        del tensors[key]
    elif kind == "extra key":
        tensors["extra"] = torch.zeros(1)
    elif kind == "wrong shape":
        tensors[key] = torch.zeros(3, 3)
    elif kind == "nan":
        tensors[key] = torch.full_like(tensors[key], torch.nan)
    elif kind == "no header":
        metadata = None
    save_file(tensors, path, metadata=metadata)
    return path


@pytest.mark.parametrize(
    "kind",
    (
        "missing",
        "empty",
        "text",
        "truncated",
        "missing key",
        "extra key",
        "wrong shape",
        "nan",
        "no header",
    ),
)
def test_weights(kind, files, live, refused, tmp_path):
    path = damaged_weights(kind, files / "tiny.safetensors", tmp_path / "bad.safetensors")
    live(3, weights=path)
    what, _ = refused(3, "weights", "info", path)
    assert "bad.safetensors" in what


class Evil:
    """Unpickled carelessly, it makes a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.canary}",)


def bad_checkpoint(kind: str, path: Path, canary: Path) -> Path:
    if kind == "malicious":
        torch.save({"gen": Evil(canary)}, path)
    elif kind == "malicious, old format":
        path.write_bytes(pickle.dumps({"gen": Evil(canary)}))
    elif kind == "malicious beside good":
        torch.save({"gen": {"w": torch.zeros(1)}, "args": Evil(canary)}, path)
    elif kind == "truncated":
        torch.save({"gen": {"w": torch.zeros(1000)}}, path)
        path.write_bytes(path.read_bytes()[:-1000])
    elif kind == "another network":
        torch.save({"gen": {"w": torch.zeros(1)}, "args": argparse.Namespace(size=256)}, path)
    elif kind == "nan":
        torch.save({"gen": {"dec.direction.weight": torch.full((512, 20), torch.nan)}}, path)
    elif kind == "text":
        path.write_text("no checkpoint")
    return path


@pytest.mark.parametrize(
    "kind",
    (
        "malicious", "malicious, old format", "malicious beside good", "truncated", "another network",
        "nan", "text", "missing",
    ),
)  # fmt: skip
def test_checkpoint(kind, refused, live, tmp_path):
    canary, out = tmp_path / "canary", tmp_path / "out.safetensors"
    path = bad_checkpoint(kind, tmp_path / "vox.pt", canary)
    refused(3, "weights", "convert", path, "--out", out)
    assert not out.exists()
    if kind == "malicious":
        live(3, weights=path)
    assert not canary.exists()


def test_the_canary_would_have_sung(tmp_path):
    """The test above can fail: careless unpickling does make the file."""
    path = bad_checkpoint("malicious, old format", tmp_path / "vox.pt", tmp_path / "canary")
    pickle.loads(path.read_bytes())
    assert (tmp_path / "canary").exists()


# The real program


def start(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lia_live", *map(str, words)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **QUIET},
    )


def test_the_real_program_says_two_lines(files):
    program = start("--avatar", files / "none.png", "--output", "none", "--consent", "me")
    _, said = program.communicate(timeout=60)
    assert program.returncode == 3
    assert [line.partition(":")[0] for line in said.splitlines()] == ["error", "to do"]


def test_debug_shows_the_traceback(files):
    program = start("--avatar", files / "none.png", "--consent", "me", "--debug")
    _, said = program.communicate(timeout=60)
    assert program.returncode == 3
    assert "Traceback" in said
    assert said.splitlines()[-1].startswith("to do:")


def recording(command: str, files: Path, out: Path) -> subprocess.Popen[str]:
    """The program while it makes ``out`` and does not end by itself for a long time."""
    clip: tuple[object, ...] = ("--camera", files / "clip.mp4", "--loop", "--output", out)
    if command == "animate":
        clip = ("--driving", files / "long.mp4", "--out", out)
    return start(
        command, "--avatar", files / "me.png", *clip,
        "--weights", files / "tiny.safetensors", "--device", "cpu", "--consent", "me",
    )  # fmt: skip


def interrupt(command: str, files: Path, out: Path, since: str, after_s: float) -> int:
    """Press Ctrl-C ``after_s`` seconds after the program's start, its first word or its first pictures;
    returns how many pictures its file holds, 0 for no file.
    """
    program = recording(command, files, out)
    try:
        if since == "first word":
            assert program.stdout is not None
            assert program.stdout.readline(), program.communicate()[1]
        elif since == "first pictures":
            material.wait_for_bytes(out, 10_000, program)
        time.sleep(after_s)
        program.send_signal(signal.SIGINT)
        _, said = program.communicate(timeout=60)
    finally:
        program.kill()
    assert program.returncode == 130, said
    assert said.splitlines()[-1] == "interrupted"
    assert "Traceback" not in said
    return len(material.frames_in(out)) if out.exists() else 0


@pytest.fixture(scope="module")
def long_clip(files) -> None:
    material.write_face_clip(files / "long.mp4", seconds=60, sound=True)


@pytest.mark.parametrize("command", ("run", "animate"))
def test_interrupted_at_any_moment_leaves_a_playable_file(command, files, long_clip, tmp_path):
    """While things load, while the first pictures are made, and well inside."""
    moments = [
        ("start", random.uniform(0.4, 1.2)),
        ("first word", random.uniform(0.0, 1.0)),
        ("first pictures", random.uniform(0.0, 0.5)),
    ]
    print("moments:", moments)
    held = [
        interrupt(command, files, tmp_path / f"{number}.mp4", *moment)
        for number, moment in enumerate(moments)
    ]
    assert held[0] == 0
    assert held[2] > 0


@pytest.mark.soak
@pytest.mark.parametrize("command", ("run", "animate"))
def test_interrupted_at_many_moments(command, files, long_clip, tmp_path):
    moments = [("start", random.uniform(0.4, 10.0)) for _ in range(30)]
    print("moments:", moments)
    for number, moment in enumerate(moments):
        interrupt(command, files, tmp_path / f"{number}.mp4", *moment)


def test_an_impatient_second_signal_does_not_hurt_the_file(files, tmp_path):
    """It comes while the file is being closed."""
    out = tmp_path / "out.mp4"
    program = recording("run", files, out)
    try:
        material.wait_for_bytes(out, 10_000, program)
        for _ in range(2):
            program.send_signal(signal.SIGINT)
            time.sleep(0.02)
        _, said = program.communicate(timeout=60)
    finally:
        program.kill()
    assert program.returncode == 130, said
    assert len(material.frames_in(out)) > 0
