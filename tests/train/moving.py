"""A public-domain face in motion, drawn here: frames for clips that must be kept, cut or refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import skimage.data
from PIL import Image

from lia_live.frame import Pixels
from lia_live.io import VideoFileSink

SIDE = 320


def astronaut() -> Pixels:
    """(320, 320, 3), the eyes about 55 pixels apart."""
    return np.asarray(Image.fromarray(skimage.data.astronaut()[:400, 30:430]).resize((SIDE, SIDE)))


def hopper() -> Pixels:
    """(320, 320, 3), another person before another background."""
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB").crop((40, 0, 500, 460)).resize((SIDE, SIDE)))


def swaying(
    face: Pixels, count: int, reach_px: float = 12.0, lean_deg: float = 4.0
) -> list[Pixels]:
    """``face`` moved to and fro and tilted a little, once in 24 frames."""
    frames = []
    for number in range(count):
        phase = 2 * np.pi * number / 24
        matrix = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), lean_deg * np.sin(phase), 1.0)
        matrix[0, 2] += reach_px * np.sin(phase)
        moved = cv2.warpAffine(face, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
        frames.append(np.asarray(moved, np.uint8))
    return frames


def write(path: Path, frames: Sequence[Pixels], fps: float = 25.0) -> Path:
    """An MP4 of ``frames``."""
    height, width = frames[0].shape[:2]
    sink = VideoFileSink(path, (width, height), fps)
    for frame in frames:
        sink.send(frame)
    sink.close()
    return path


def write_frames(folder: Path, frames: Sequence[Pixels]) -> Path:
    """FOMM's layout: 0000000.png, 0000001.png, ..."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number:07}.png", compress_level=1)
    return folder
