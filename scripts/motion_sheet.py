"""What weights make of one motion after the other, on public-domain faces: how far they carry, and where they fail.

    python scripts/motion_sheet.py docs/images/motions.jpg [--weights FILE]

Eileen Collins (NASA photograph, public domain; skimage's astronaut) and Rear Admiral Grace Hopper (US Navy photograph,
public domain; matplotlib's sample data).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import matplotlib
import numpy as np
import skimage.data
from PIL import Image, ImageDraw

from lia_live.avatar import Avatar
from lia_live.avatar.mouths import Mouths
from lia_live.evaluate.transfer import posed
from lia_live.model import load_model
from lia_live.puppet.theta import THETA

SETTINGS: Final = (
    ("at rest", {}),
    ("lips part", {"mouth open": 0.07}),
    ("mouth open", {"mouth open": 0.2}),
    ("torn open", {"mouth open": 0.55}),
    ("eyes shut", {"blink left": 1.0, "blink right": 1.0}),
    ("brows up", {"brow raise": 1.0}),
    ("smile", {"smile": 1.0}),
    ("lips forward", {"pucker": 0.9}),
    ("looks aside", {"gaze x": 0.07}),
    ("jaw aside", {"jaw x": 0.8}),
    ("turned 15", {"yaw": 15.0}),
    ("turned 30", {"yaw": -30.0}),
    ("nods", {"pitch": 14.0}),
    ("tilted", {"roll": 15.0}),
    ("far aside", {"x": 0.4}),
    ("far down", {"y": 0.25}),
)
"""Changes from rest, in the units of ``puppet.theta.THETA``."""
ACROSS: Final = 8
SIDE: Final = 200


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", default="default")
    arguments = parser.parse_args()
    model = load_model(arguments.weights, "cpu")
    places = {direction.name: place for place, direction in enumerate(model.directions)}
    hopper = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    rows = []
    for picture in (skimage.data.astronaut(), np.asarray(Image.open(hopper).convert("RGB"))):
        avatar = Avatar.from_image(picture, model)
        codes = avatar.look.motion.repeat(len(SETTINGS), 1).numpy()
        for row, (_, changes) in enumerate(SETTINGS):
            for name, change in changes.items():
                control = next(one for one in THETA if one.name == name)
                one_label = model.directions[places[name]].scale
                codes[row, places[name]] += change / control.scale * one_label
        frames = posed(model, Mouths(avatar.look, avatar.mouths, model.directions), codes)
        rows.append([Image.fromarray(frame).resize((SIDE, SIDE)) for frame in frames])
    lines = len(SETTINGS) // ACROSS * len(rows)
    sheet = Image.new("RGB", (ACROSS * SIDE, lines * (SIDE + 16)), "white")
    pen = ImageDraw.Draw(sheet)
    for face, frames in enumerate(rows):
        for place, frame in enumerate(frames):
            line = place // ACROSS * len(rows) + face
            corner = (place % ACROSS * SIDE, line * (SIDE + 16))
            sheet.paste(frame, corner)
            pen.text((corner[0] + 4, corner[1] + SIDE + 2), SETTINGS[place][0], fill="black")
    sheet.save(arguments.out, quality=88)


if __name__ == "__main__":
    main()
