"""Small real objects that stand in for devices, detectors and networks in tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from lia_live.avatar.mouths import Mouth
from lia_live.errors import DeviceError
from lia_live.frame import Box, Crop, Face, Frame, Pixels
from lia_live.model.config import LIAConfig
from lia_live.model.lia import LIA, Look
from lia_live.timing import MonotonicClock

CAMERA_COLOUR = (255, 0, 255)
"""No avatar, background or badge in these doubles comes near this colour (RGB)."""


def tiny_config() -> LIAConfig:
    """A network that runs on a CPU in milliseconds."""
    return LIAConfig(size=64, width=0.0625, latent_dim=32)


def tiny_model(seed: int = 0) -> LIA:
    """Random weights, the same every time."""
    torch.manual_seed(seed)
    return LIA(tiny_config()).eval()


class HandClock:
    """A clock that is moved by hand; ``sleep`` moves it. Any thread."""

    def __init__(self, now: float = 100.0) -> None:
        self._now = now
        self._lock = threading.Lock()

    def now(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self.advance(max(0.0, seconds))

    def advance(self, seconds: float) -> float:
        with self._lock:
            self._now += seconds
            return self._now


def camera_picture(width: int = 96, height: int = 72) -> Pixels:
    """A picture in the one colour that must never come out."""
    return np.full((height, width, 3), CAMERA_COLOUR, np.uint8)


def shows_camera(pixels: Pixels, tolerance: int = 60) -> bool:
    """Whether any pixel is near the camera's colour, blended or compressed as it may be."""
    away = np.abs(pixels.astype(np.int16) - np.array(CAMERA_COLOUR, np.int16)).max(axis=-1)
    return bool((away <= tolerance).any())


class ListSource:
    """Plays a list as a camera: pictures as frames, None as "nothing came", exceptions raised.

    ``fps`` paces it on ``clock`` (None: as fast as it is read). ``loop`` starts over at the end.
    """

    name = "list"

    def __init__(
        self,
        items: Sequence[Pixels | Exception | None],
        fps: float | None = None,
        clock: MonotonicClock | HandClock | None = None,
        loop: bool = False,
    ) -> None:
        self._items, self._loop = list(items), loop
        self._clock = clock or MonotonicClock()
        self._interval = 1 / fps if fps else 0.0
        self._due: float | None = None
        self._next = self._number = 0
        self.fps = fps or 30.0
        self.ended = False
        self.closed = False

    def read(self) -> Frame | None:
        if self._next >= len(self._items) and self._loop:
            self._next = 0
        if self.closed or self._next >= len(self._items):
            self.ended = True
            return None
        if self._interval:
            now = self._clock.now()
            self._due = now if self._due is None else max(self._due + self._interval, now - 0.1)
            self._clock.sleep(self._due - now)
        item = self._items[self._next]
        self._next += 1
        if item is None:
            return None
        if isinstance(item, Exception):
            raise item
        self._number += 1
        return Frame(item, self._clock.now(), self._number - 1)

    def close(self) -> None:
        self.closed = True


class ListSink:
    """Keeps what it is sent (or only looks at it), with the time. ``fail_at``: that send raises."""

    def __init__(
        self,
        size: tuple[int, int] = (160, 90),
        *,
        keep: bool = True,
        name: str = "list",
        fail_at: int | None = None,
        error: Exception | None = None,
        look: Callable[[Pixels], None] | None = None,
    ) -> None:
        self.size, self.name = size, name
        self._keep, self._fail_at, self._look = keep, fail_at, look
        self._error = error or DeviceError(f"{name} has gone", "plug it in again")
        self.pictures: list[Pixels] = []
        self.times: list[float] = []
        self.closed = 0

    def send(self, pixels: Pixels) -> None:
        if self.closed:
            raise RuntimeError("sent to a closed sink")
        if pixels.shape != (self.size[1], self.size[0], 3) or pixels.dtype != np.uint8:
            raise ValueError(f"{self.name} takes {self.size}, got {pixels.shape} {pixels.dtype}")
        if self._fail_at is not None and len(self.times) >= self._fail_at:
            raise self._error
        self.times.append(time.perf_counter())
        if self._look is not None:
            self._look(pixels)
        if self._keep:
            self.pictures.append(pixels.copy())

    def close(self) -> None:
        self.closed += 1


@dataclass(frozen=True)
class PlainShape:
    """A ``HeadShape`` by numbers."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    mouth_open: float = 0.0
    eye_open_left: float = 0.3
    eye_open_right: float = 0.3
    mouth_width: float = 0.55
    brow_raise: float = 0.30
    brow_inner: float = 0.01
    gaze_x: float = 0.0
    gaze_y: float = 0.0


class ScriptedTracker:
    """Finds a face in the middle of every frame, unless the script says otherwise.

    ``script(frame)``: False means no face; an exception is raised; anything else is returned as it is.
    """

    def __init__(self, size: int, script: Callable[[Frame], object] | None = None) -> None:
        self._size, self._script = size, script
        self.recalibrated = 0
        self.closed = 0

    def track(self, frame: Frame) -> Crop | None:
        answer = True if self._script is None else self._script(frame)
        if isinstance(answer, Exception):
            raise answer
        if answer is False:
            return None
        if answer is not True:
            return answer  # type: ignore[return-value]
        height, width = frame.pixels.shape[:2]
        side = min(height, width)
        box = Box.around(width / 2, height / 2, side)
        left, top = int(box.x), int(box.y)
        square = frame.pixels[top : top + side, left : left + side]
        small = cv2.resize(square, (self._size, self._size), interpolation=cv2.INTER_AREA)
        pixels = np.asarray(small, np.uint8)
        face = Face(np.zeros((478, 3), np.float32), box, 1.0)
        return Crop(pixels, box, face, frame.captured_at, frame.number)

    def recalibrate(self) -> None:
        self.recalibrated += 1

    def close(self) -> None:
        self.closed += 1


@dataclass
class ScriptedAvatar:
    """What the engine reads of an avatar, made of one colour."""

    name: str
    look: Look
    crop: Pixels
    face_landmarks: NDArray[np.float32] | None = None
    network: Any = None
    fingerprint: str = "shared"
    mouths: tuple[Mouth, ...] = ()


def scripted_avatar(
    name: str = "green", colour: tuple[int, int, int] = (20, 150, 60), rest: float = 0.0
) -> Any:
    """A ``ScriptedAvatar`` of that colour, in place of an ``Avatar``; ``rest``: its own code's numbers."""
    config = tiny_config()
    look = Look(
        latent=torch.tensor([colour], dtype=torch.float32),
        motion=torch.full((1, config.motion_dim), rest),
        features=(),
    )
    return ScriptedAvatar(name, look, np.full((config.size, config.size, 3), colour, np.uint8))


@dataclass(frozen=True)
class ScriptedAvatarLoaded:
    """What ``ScriptedRenderer`` keeps of an avatar: its colour."""

    colour: tuple[int, ...]
    bytes_held: int = 3


@dataclass
class ScriptedRenderer:
    """A renderer of plain squares: the avatar's colour, and a white bar as wide as the first coefficient.

    The code of a crop is ``code(crop)`` in every coefficient (None: 0). ``encode_s``, ``render_s``,
    ``load_s``: how long each takes. ``before_encode``, ``before_render`` may raise or return what to give
    back instead.
    """

    config: LIAConfig = field(default_factory=tiny_config)
    encode_s: float = 0.0
    render_s: float = 0.0
    load_s: float = 0.0
    code: Callable[[Pixels], float] | None = None
    before_encode: Callable[[Pixels], object] | None = None
    before_render: Callable[[], object] | None = None
    device: str = "cpu"
    engine: str = "scripted"
    precision: str = "fp32"
    description: str = "cpu, scripted"
    threads: set[str] = field(default_factory=set)
    rendered: list[NDArray[np.float32]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def load_avatar(self, look: Look) -> ScriptedAvatarLoaded:
        time.sleep(self.load_s)
        return ScriptedAvatarLoaded(tuple(int(v) for v in look.latent[0]))

    def encode_motion(self, crops: Pixels) -> NDArray[np.float32]:
        self.threads.add(threading.current_thread().name)
        time.sleep(self.encode_s)
        answer = None if self.before_encode is None else self.before_encode(crops)
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            return answer  # type: ignore[return-value]
        value = 0.0 if self.code is None else self.code(crops[0])
        return np.full((len(crops), self.config.motion_dim), value, np.float32)

    def render(self, avatars: Sequence[Any], alpha: NDArray[np.float32]) -> Pixels:
        self.threads.add(threading.current_thread().name)
        time.sleep(self.render_s)
        answer = None if self.before_render is None else self.before_render()
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            return answer  # type: ignore[return-value]
        self.rendered.append(alpha[0].copy())
        self.times.append(time.perf_counter())
        size = self.config.size
        out = np.empty((len(avatars), size, size, 3), np.uint8)
        for picture, avatar, code in zip(out, avatars, alpha, strict=True):
            picture[:] = avatar.colour
            bar = int(np.clip(size / 2 + 4 * code[0], 0, size))
            picture[: size // 4, :bar] = 255
        return out
