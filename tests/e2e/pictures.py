"""What the fake camera sees, what avatars look like, and what a page shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Page

from tests.e2e.serving import ROOT

DEMO = ROOT / "lia_live" / "weights" / "demo"
SIDE = 48
"""Pixels to a side of what is compared."""

GRAB = """([id, side]) => {
  const video = document.getElementById(id);
  if (!video.videoWidth) return null;
  const canvas = new OffscreenCanvas(side, side);
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0, side, side);
  return Array.from(context.getImageData(0, 0, side, side).data);
}"""

Grey = NDArray[np.float32]


def write_clip(path: Path, frames: int = 90, size: tuple[int, int] = (640, 480)) -> Path:
    """The shipped driver clip (a public-domain face in motion) as the y4m that Chromium plays as a camera."""
    width, height = size
    with av.open(str(DEMO / "driver.mp4")) as container, path.open("wb") as out:
        out.write(b"YUV4MPEG2 W%d H%d F30:1 Ip A1:1 C420jpeg\n" % size)
        for number, frame in enumerate(container.decode(video=0)):
            if number == frames:
                break
            face = cv2.resize(frame.to_ndarray(format="rgb24"), (height, height))
            picture = np.full((height, width, 3), 90, np.uint8)
            left = (width - height) // 2
            picture[:, left : left + height] = face
            out.write(b"FRAME\n" + cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420).tobytes())
    return path


def write_counter(path: Path, frames: int, side: int = 512) -> Path:
    """A camera that shows the number of each frame as 16 blocks, black or white: they survive compression."""
    from tests.server.harness import painted

    with path.open("wb") as out:
        out.write(b"YUV4MPEG2 W%d H%d F30:1 Ip A1:1 C420jpeg\n" % (side, side))
        for number in range(frames):
            picture = cv2.cvtColor(painted(number, side), cv2.COLOR_RGB2YUV_I420)
            out.write(b"FRAME\n" + picture.tobytes())
    return path


def write_avatars(folder: Path) -> Path:
    """Two portraits: the shipped one, and the same face in other colours and the other way round."""
    folder.mkdir()
    portrait = cv2.imread(str(DEMO / "avatar.png"))
    cv2.imwrite(str(folder / "astronaut.png"), portrait)
    cv2.imwrite(
        str(folder / "blue_astronaut.png"), np.ascontiguousarray(portrait[:, ::-1, [2, 1, 0]])
    )
    return folder


def shown(page: Page, element: str = "output") -> NDArray[np.float32] | None:
    """What a video shows, (SIDE, SIDE, 3) in [0, 255]; None without a picture."""
    found: Any = page.evaluate(GRAB, [element, SIDE])
    if found is None:
        return None
    return np.array(found, np.float32).reshape(SIDE, SIDE, 4)[..., :3]


def portrait(page: Page, name: str) -> NDArray[np.float32]:
    """The gallery's picture of an avatar, as ``shown``."""
    found: Any = page.evaluate(
        """async ([name, side]) => {
          const input = [...document.querySelectorAll("#avatars input")].find((one) => one.value === name);
          const picture = new Image();
          picture.src = input.closest("label").querySelector("img").src;
          await picture.decode();
          const canvas = new OffscreenCanvas(side, side);
          const context = canvas.getContext("2d");
          context.drawImage(picture, 0, 0, side, side);
          return Array.from(context.getImageData(0, 0, side, side).data);
        }""",
        [name, SIDE],
    )
    return np.array(found, np.float32).reshape(SIDE, SIDE, 4)[..., :3]


def distance(one: NDArray[np.float32] | None, other: NDArray[np.float32] | None) -> float:
    """Mean absolute difference, 0 to 255; infinite where either is missing."""
    if one is None or other is None:
        return float("inf")
    return float(np.abs(one - other).mean())
