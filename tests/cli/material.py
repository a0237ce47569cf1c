"""Files for command line tests, made here: tiny weights, a portrait, a clip in which that face moves."""

from __future__ import annotations

import subprocess
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from tests.doubles import tiny_model


def write_weights(path: Path, seed: int = 0) -> Path:
    """A tiny network with random weights."""
    from lia_live.model import save_weights

    save_weights(tiny_model(seed), path, name=f"tiny {seed}", licence="none")
    return path


def write_portrait(path: Path) -> Path:
    """The public-domain astronaut, 512x512."""
    cv2.imwrite(str(path), cv2.cvtColor(_astronaut(), cv2.COLOR_RGB2BGR))
    return path


def write_face_clip(
    path: Path, seconds: float = 1.0, *, fps: int = 25, sound: bool = False
) -> Path:
    """The astronaut's face swaying to and fro, 320x240; with ``sound`` a tone beside it."""
    face = cv2.resize(_astronaut(), (320, 320), interpolation=cv2.INTER_AREA)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.options = {"preset": "ultrafast"}
        tone = container.add_stream("aac", rate=48000) if sound else None
        for number in range(round(seconds * fps)):
            sway = 12 * np.sin(2 * np.pi * number / fps)
            moved = cv2.warpAffine(
                face, np.array([[1, 0, sway], [0, 1, 0]], np.float32), (320, 320), borderMode=1
            )
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(moved[:240]), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone is not None:
            wave = np.sin(np.arange(int(48000 * seconds)) * 0.05).astype(np.float32)
            for begin in range(0, len(wave) - 1023, 1024):
                piece = av.AudioFrame.from_ndarray(
                    np.stack([wave[begin : begin + 1024]] * 2), format="fltp", layout="stereo"
                )
                piece.sample_rate, piece.pts = 48000, begin
                piece.time_base = Fraction(1, 48000)
                container.mux(tone.encode(piece))
            container.mux(tone.encode(None))
    return path


def frames_in(path: Path) -> list[np.ndarray]:
    """Every picture of a video, (H, W, 3) RGB: it is playable if this returns some."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def wait_for_bytes(path: Path, count: int, program: subprocess.Popen[str]) -> None:
    """Until a file that ``program`` writes has grown to ``count`` bytes; a minute at most."""
    deadline = time.monotonic() + 60
    while not (path.exists() and path.stat().st_size >= count):
        assert time.monotonic() < deadline, f"{path} does not grow"
        assert program.poll() is None, program.communicate()
        time.sleep(0.05)


def _astronaut() -> np.ndarray:
    import skimage.data

    return skimage.data.astronaut()
