"""The two public-domain faces that installed packages carry, and webcam frames made of them."""

from __future__ import annotations

from functools import lru_cache

import cv2
import matplotlib.cbook
import numpy as np
import skimage.data

from lia_live.frame import Pixels

ASTRONAUT_FACE = (226.0, 124.0, 108.0)
"""Centre x, y and side of the mesh's tight square, pixels."""
HOPPER_FACE = (262.0, 232.0, 206.0)


@lru_cache(maxsize=1)
def astronaut() -> Pixels:
    """(512, 512, 3) RGB: Eileen Collins, NASA, public domain."""
    return np.ascontiguousarray(skimage.data.astronaut())


@lru_cache(maxsize=1)
def hopper() -> Pixels:
    """(600, 512, 3) RGB: Grace Hopper, US Navy, public domain."""
    path = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return np.ascontiguousarray(picture[:, :, ::-1])


@lru_cache(maxsize=8)
def room(width: int, height: int) -> Pixels:
    """A blurred background without a face."""
    small = cv2.GaussianBlur(cv2.resize(hopper()[430:], (160, 90)), (0, 0), 4)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def paste(
    frame: Pixels,
    x: float,
    y: float,
    side: float,
    picture: Pixels | None = None,
    place: tuple[float, float, float] = ASTRONAUT_FACE,
    roll: float = 0.0,
) -> Pixels:
    """``frame`` with a face of ``side`` pixels centred on (x, y), cut out with some of its surroundings."""
    picture = astronaut() if picture is None else picture
    face_x, face_y, face_side = place
    reach = int(1.1 * face_side)
    left, top = int(face_x) - reach, max(int(face_y) - reach, 0)
    head = picture[top : int(face_y) + reach, max(left, 0) : int(face_x) + reach]
    scale = side / face_side
    if scale < 0.5:
        head = cv2.GaussianBlur(head, (0, 0), 0.35 / scale).astype(np.uint8)
    turn = cv2.getRotationMatrix2D((face_x - max(left, 0), face_y - top), -roll, scale)
    turn[0, 2] += x - (face_x - max(left, 0))
    turn[1, 2] += y - (face_y - top)
    height, width = frame.shape[:2]
    pasted = cv2.warpAffine(
        head, turn, (width, height), dst=frame.copy(), borderMode=cv2.BORDER_TRANSPARENT
    )
    return pasted.astype(np.uint8)


def webcam(
    width: int, height: int, x: float, y: float, side: float, seed: int, roll: float = 0.0
) -> Pixels:
    """One noisy frame of a person in a room; x and y as fractions of the frame, ``side`` of its width."""
    frame = paste(room(width, height), x * width, y * height, side * width, roll=roll)
    noise = np.random.default_rng(seed).normal(0, 3, (height // 2, width // 2))
    grain = cv2.resize(noise.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST)
    return np.clip(frame + grain[:, :, None], 0, 255).astype(np.uint8)
