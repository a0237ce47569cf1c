"""Crops of the two public-domain faces, and clips made by moving them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from lia_live.frame import Pixels
from lia_live.model import Framing
from lia_live.track import crop_square, find_faces, framed_box
from tests.track import faces

SIZE = 256


def cut(picture: Pixels, size: int = SIZE) -> Pixels:
    (face, *_) = find_faces(picture, max_faces=1)
    return crop_square(picture, framed_box(face.landmarks, Framing()), size)


@lru_cache(maxsize=1)
def astronaut() -> Pixels:
    """(256, 256, 3) in the default framing."""
    return cut(faces.astronaut())


@lru_cache(maxsize=1)
def hopper() -> Pixels:
    return cut(faces.hopper())


def moved(picture: Pixels, x: float, y: float = 0.0) -> Pixels:
    """The picture shifted by so many pixels, its border repeated."""
    shift = np.array([[1, 0, x], [0, 1, y]], np.float32)
    size = picture.shape[1::-1]
    return cv2.warpAffine(picture, shift, size, borderMode=cv2.BORDER_REPLICATE).astype(np.uint8)


def write_frames(folder: Path, count: int, reach: float = 14.0) -> Path:
    """A clip as a folder of frames: the astronaut swaying to the sides, 320 x 320."""
    folder.mkdir()
    face = cv2.resize(faces.astronaut()[:360, 60:420], (320, 320), interpolation=cv2.INTER_AREA)
    for number in range(count):
        sway = reach * np.sin(2 * np.pi * number / 25)
        picture = moved(face, sway)
        cv2.imwrite(str(folder / f"frame{number}.png"), picture[:, :, ::-1])
    return folder
