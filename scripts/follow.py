"""How well an avatar follows a clip: correlation and slope of each movement, face found, jitter.

    python scripts/follow.py PORTRAIT CLIP...

Relative transfer, neutral learned from the first two seconds. Movements are read off both pictures by
mediapipe; x and y are the middle of the eyes in pixels of a 256-pixel square.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

import lia_live
from lia_live.frame import Frame
from lia_live.io import VideoReader
from lia_live.track import expression, find_faces, open_tracker

NAMES = ("yaw", "pitch", "roll", "x", "y", "mouth", "eyes", "brows")
LEAST_SD = (1.0, 1.0, 1.0, 1.0, 1.0, 0.02, 0.02, 0.02)
"""Movements of the driver smaller than this are not judged: degrees, pixels, shares."""
EYES = (33, 263)


def numbers(landmarks: np.ndarray, side: float) -> list[float]:
    """What is compared, in the order of ``NAMES``."""
    shape = expression(landmarks)
    x, y = landmarks[list(EYES), :2].mean(0) * (256 / side)
    eyes = (shape.eye_open_left + shape.eye_open_right) / 2
    return [shape.yaw, shape.pitch, shape.roll, x, y, shape.mouth_open, eyes, shape.brow_raise]


def main() -> None:
    """Print one line a clip."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portrait", type=Path)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--weights", default="default")
    arguments = parser.parse_args()
    model = lia_live.load_model(arguments.weights)
    avatar = lia_live.Avatar.from_image(arguments.portrait, model)
    for clip in arguments.clips:
        with VideoReader(clip) as reader:
            frames = list(reader)
        print(json.dumps({"clip": clip.name, **follow(model, avatar, frames)}), flush=True)


def follow(model: lia_live.LIA, avatar: lia_live.Avatar, frames: list[Frame]) -> dict[str, object]:
    """Animate ``avatar`` with ``frames`` and compare."""
    tracker = open_tracker(model.config.framing, model.config.size)
    size = model.config.size
    rows: list[list[float]] = []
    lost = 0
    with lia_live.Animator(model, avatar) as animator:
        animator.learn_neutral(frames[:60])
        for frame in frames:
            crop = tracker.track(frame)
            out = animator.animate(frame)
            faces = find_faces(out.pixels, max_faces=1)
            if crop is None or crop.face is None or not faces:
                lost += 1
                continue
            seen = (crop.face.landmarks - [crop.box.x, crop.box.y, 0]) * (size / crop.box.side)
            rows.append([*numbers(seen, size), *numbers(faces[0].landmarks, out.pixels.shape[1])])
    tracker.close()
    table = np.array(rows[30:])  # the crop has settled by then
    result: dict[str, object] = {"frames": len(frames), "face_lost": lost}
    for i, (name, least) in enumerate(zip(NAMES, LEAST_SD, strict=True)):
        driver, output = table[:, i], table[:, i + len(NAMES)]
        if driver.std() > least:
            correlation = np.corrcoef(driver, output)[0, 1]
            slope = np.polyfit(driver, output, 1)[0]
            result[name] = [round(float(correlation), 2), round(float(slope), 2)]
    return result


if __name__ == "__main__":
    main()
