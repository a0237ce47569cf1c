"""Runs in the guest of run.sh: the virtual camera and the webcam against real kernel devices.

    check.py            every part, then PASS or FAIL
    check.py sink       only the parts named
    check.py prepare    outside the guest, which is slow: draws the clip, the portrait and a tiny network

Pictures are read back by ffmpeg, a program that knows nothing of lia-live, as a call program would.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from lia_live.errors import DeviceError
from lia_live.io import (
    VideoFileSink,
    VirtualCameraSink,
    list_cameras,
    open_sink,
    open_source,
    v4l2,
    virtual_cameras,
)
from tests.io.clips import frames_of, number_of, numbered

PROJECT = Path(__file__).resolve().parents[2]  # run.sh puts it on the path
VIRTUAL = "/dev/video10"
WEBCAM = "/dev/video20"
VIVID = Path("/sys/bus/platform/drivers/vivid")
SHARED = Path(os.environ["VM_RESULTS"])
"""The one folder that host and guest both see."""
CLIP, WEIGHTS, PORTRAIT = (SHARED / n for n in ("clip.mp4", "tiny.safetensors", "me.png"))
DISTINCT = 20
"""So many different avatar frames have to come through."""
LOADING_S = 600
"""torch alone takes minutes to import on an emulated CPU."""
TOLERANCE = 4
"""Grey levels: the way there is RGB to I420 and back."""


def say(text: str) -> None:
    print(f"[{time.monotonic():6.1f}] {text}", flush=True)


def _ffmpeg(*options: str) -> subprocess.Popen[bytes]:
    """ffmpeg reading the virtual camera and writing raw RGB to a pipe."""
    # Without passthrough it repeats frames to fill the gap of its own start.
    command = ["ffmpeg", "-v", "error", "-f", "v4l2", "-i", VIRTUAL, "-fps_mode", "passthrough"]
    command += [*options, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)


def read_back(count: int, size: tuple[int, int], timeout_s: float = 240) -> list[np.ndarray]:
    """``count`` frames of the virtual camera, as ffmpeg sees them."""
    with _ffmpeg("-frames:v", str(count)) as reader:
        data, _errors = reader.communicate(timeout=timeout_s)
    assert reader.returncode == 0
    width, height = size
    return list(np.frombuffer(data, np.uint8).reshape(-1, height, width, 3))


class Feed:
    """Sends numbered pictures at a steady rate on a thread, as the engine's clock does."""

    def __init__(self, sink: VirtualCameraSink, fps: float) -> None:
        self.sink, self.fps, self.sent = sink, fps, 0
        self.error: DeviceError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        width, height = self.sink.size
        while not self._stop.wait(1 / self.fps):
            try:
                self.sink.send(numbered(self.sent % 256, width, height))
            except DeviceError as error:
                self.error = error
                return
            self.sent += 1


def check_sink() -> None:
    """What is sent is what call programs see; closing and opening again works every time."""
    size = (640, 352)
    assert [node.path for node in virtual_cameras()] == [VIRTUAL]
    for attempt in range(2):  # exclusive_caps=1 leaves the device stuck after the first writer
        sink = VirtualCameraSink(*size, 15)
        assert sink.device == VIRTUAL
        with Feed(sink, 15) as feed:
            time.sleep(0.5)
            frames = read_back(25, size)
        sink.close()
        sink.close()
        assert feed.error is None
        numbers = [number_of(frame) for frame in frames]
        assert numbers == sorted(numbers), numbers
        assert len(set(numbers)) >= 20, numbers
        worst = max(
            _difference(f, numbered(n, *size)) for f, n in zip(frames, numbers, strict=True)
        )
        assert worst <= TOLERANCE, worst
        say(f"round {attempt + 1}: {len(set(numbers))} distinct of 25, colours within {worst}")


def _difference(seen: np.ndarray, sent: np.ndarray) -> int:
    """Largest difference in the middle of the three colour fields: edges blur in 4:2:0."""
    height, width = sent.shape[:2]
    places = [np.s_[height // 2 :, k * width // 3 + 8 : (k + 1) * width // 3 - 8] for k in range(3)]
    return max(int(np.abs(seen[p].astype(int) - sent[p]).max()) for p in places)


def check_refusals() -> None:
    """Missing, taken, or our own output as a camera: one line each, and the line that helps."""
    with _refused("no virtual camera /dev/video11", "modprobe v4l2loopback"):
        VirtualCameraSink(device="/dev/video11")
    with _refused("is a camera, not a virtual one", "modprobe"):
        VirtualCameraSink(device=WEBCAM)
    sink = open_sink("virtual", width=320, height=192, fps=15)
    sink.send(numbered(0))
    with _refused("in use", "close the program"):
        VirtualCameraSink(320, 192, 15)
    for spec in ("10", VIRTUAL):
        with _refused("own virtual camera", "20 (vivid"):
            open_source(spec)
    assert all(camera.path != VIRTUAL for camera in list_cameras())
    sink.close()
    with _refused("no camera at /dev/video99", "20 (vivid"):
        open_source("99")


class _refused:
    def __init__(self, message: str, hint: str) -> None:
        self._message, self._hint = message, hint

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, _trace: object) -> bool:
        assert isinstance(error, DeviceError), f"expected {self._message!r}, got {error!r}"
        assert self._message in error.message, error.message
        assert self._hint in error.hint, error.hint
        say(f"refused: {error.message} → {error.hint}")
        return True


def check_loss() -> None:
    """The device node goes away under the writer: noticed, said, and no crash on close."""
    sink = VirtualCameraSink(320, 192, 15)
    with Feed(sink, 15) as feed:
        time.sleep(1)
        device = os.stat(VIRTUAL).st_rdev
        os.unlink(VIRTUAL)
        began = time.monotonic()
        while feed.error is None and time.monotonic() < began + 10:
            time.sleep(0.05)
        took = time.monotonic() - began
    assert feed.error is not None and "gone" in feed.error.message
    say(f"loss noticed after {took:.1f} s: {feed.error.message}")
    sink.close()
    os.mknod(VIRTUAL, 0o20666, device)
    if not v4l2.query(VIRTUAL).output:
        v4l2.release_stuck_loopback(VIRTUAL)


def check_webcam() -> None:
    """Read, busy, unplugged, plugged in again: the kernel's own test webcam."""
    source = open_source(WEBCAM, width=320, height=180, fps=15)
    say(f"{source.name}, declared {source.fps:.1f} fps")
    frames = [frame for frame in (source.read() for _ in range(50)) if frame is not None]
    assert len(frames) >= 20
    assert frames[0].pixels.shape[2] == 3 and frames[0].pixels.std() > 20
    rate = (len(frames) - 1) / (frames[-1].captured_at - frames[0].captured_at)
    say(f"{len(frames)} frames, {rate:.1f} fps, measured {source.fps:.1f}")
    with _refused("busy", "close the program"):
        open_source(WEBCAM, width=320, height=180)
    (VIVID / "unbind").write_text("vivid.0")
    began = time.monotonic()
    misses = 0
    while misses < 2 and time.monotonic() < began + 15:
        misses = misses + 1 if source.read() is None else 0
    assert misses == 2 and not source.ended
    say(f"unplugged: no frames after {time.monotonic() - began:.1f} s")
    (VIVID / "bind").write_text("vivid.0")
    began = time.monotonic()
    again = None
    while again is None and time.monotonic() < began + 20:
        again = source.read()
    assert again is not None
    say(f"plugged in again: {source.name} after {time.monotonic() - began:.1f} s")
    source.close()


def check_program() -> None:
    """``lia-live --output virtual`` itself, with a tiny network: what the camera shows is what it made."""
    size = (320, 192)
    record, stats = SHARED / "out.mp4", SHARED / "stats.json"
    command = [sys.executable, "-m", "lia_live", "--avatar", str(PORTRAIT), "--camera", str(CLIP)]
    command += ["--loop", "--weights", str(WEIGHTS), "--engine", "torch", "--device", "cpu"]
    command += ["--output", "virtual", "--output", str(record), "--no-badge", "--mode", "absolute"]
    command += ["--strength", "1.5", "--smooth", "0"]
    command += ["--size", f"{size[0]}x{size[1]}", "--fps", "4", "--consent", "not-a-person"]
    command += ["--duration", "600", "--stats-json", str(stats)]
    say(" ".join(command[1:]))
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.DEVNULL) as program:
        deadline = time.monotonic() + LOADING_S
        while not v4l2.query(VIRTUAL).capture:  # becomes a camera with the first picture
            assert program.poll() is None, f"lia-live ended with {program.returncode}"
            assert time.monotonic() < deadline, "lia-live opened no virtual camera"
            time.sleep(1)
        frames = _watch(size, DISTINCT + 4, 300)
        program.send_signal(2)
        assert program.wait(120) in (0, 130)
    recorded = [pixels for _time, pixels in frames_of(record)]
    say(f"{len(frames)} distinct frames read; {len(recorded)} recorded")
    say(stats.read_text())
    np.savez_compressed(SHARED / "frames.npz", frames=frames)  # to be looked at
    assert len(frames) >= DISTINCT, len(frames)
    # The recording got the same pictures: every frame of the camera is one of them, in the same order.
    whole = np.stack(recorded).astype(np.int16)
    differences = [np.abs(whole - frame).mean(axis=(1, 2, 3)) for frame in frames]
    strangers = float(np.median([np.median(d) for d in differences]))
    assert strangers > 2 * TOLERANCE, strangers  # else the next lines would prove nothing
    place, worst = 0, 0.0
    for number, difference in enumerate(differences):
        same = np.flatnonzero(difference[place:] <= TOLERANCE / 2)
        assert len(same), f"frame {number} is not in the recording after {place}"
        place += int(same[0])
        worst = max(worst, float(difference[place]))
    say(
        f"every picture of the camera is one of the recording, in its order: mean difference"
        f" ≤ {worst:.2f} (between any two pictures: {strangers:.1f})"
    )


def _watch(size: tuple[int, int], count: int, timeout_s: float) -> list[np.ndarray]:
    """The first ``count`` frames that differ from the one before: a slow network repeats each many times."""
    width, height = size
    seen: list[np.ndarray] = []
    with _ffmpeg() as reader:
        assert reader.stdout is not None
        alarm = threading.Timer(timeout_s, reader.kill)
        alarm.start()
        while len(seen) < count:
            data = reader.stdout.read(width * height * 3)
            if len(data) < width * height * 3:
                break
            frame = np.frombuffer(data, np.uint8).reshape(height, width, 3)
            # More than the noise of coding: the same picture comes back the same.
            if not seen or np.abs(frame.astype(np.int16) - seen[-1]).max() > 2 * TOLERANCE:
                seen.append(frame)
        alarm.cancel()
        reader.kill()
    return seen


def prepare() -> None:
    """What the program part needs."""
    _moving_clip(CLIP)
    _tiny_weights(WEIGHTS)
    cv2.imwrite(str(PORTRAIT), numbered(170, 256, 256)[..., ::-1])


def _tiny_weights(path: Path) -> None:
    """A network too small for an emulated CPU to notice, untrained, whole frame in, no face tracker."""
    import torch

    from lia_live.model import LIA, Framing, LIAConfig, save_weights

    torch.manual_seed(0)
    config = LIAConfig(
        size=64, width=0.0625, latent_dim=32, motion_dim=20, framing=Framing(kind="full")
    )
    model = LIA(config)
    with torch.no_grad():
        dict(model.named_parameters())["enc.fc.4.weight"].mul_(8)  # untrained, it would hardly move
    save_weights(model, path, name="tiny", licence="none")


def _moving_clip(path: Path) -> None:
    """A quarter of a minute in which every frame differs from the last."""
    recording = VideoFileSink(path, (320, 192), 4)
    for number in range(60):
        picture = np.roll(numbered(number), (number * 7, number * 11), axis=(0, 1))
        recording.send(255 - picture if number % 3 == 0 else picture)
    recording.close()


PARTS: dict[str, Callable[[], None]] = {
    "sink": check_sink,
    "refusals": check_refusals,
    "loss": check_loss,
    "webcam": check_webcam,
    "program": check_program,
    "prepare": prepare,
}


def main(names: list[str]) -> int:
    failed = []
    for name in names or [part for part in PARTS if part != "prepare"]:
        say(f"--- {name}")
        try:
            PARTS[name]()
        except (AssertionError, DeviceError, OSError, subprocess.SubprocessError) as error:
            import traceback

            traceback.print_exc()
            say(f"{name}: FAILED: {error}")
            failed.append(name)
    if names == ["prepare"]:
        return bool(failed)
    print(f"virtual camera: {'FAIL ' + ', '.join(failed) if failed else 'PASS'}", flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
