"""Make the files that ``lia-live demo`` shows, from public-domain faces that packages carry.

    python scripts/demo_assets.py lia_live/weights/demo

``avatar.png``: Eileen Collins (NASA photograph, public domain; skimage's astronaut).
``driver.mp4``: Rear Admiral Grace Hopper (US Navy photograph, public domain; matplotlib's sample data),
set in motion by the synthetic performer: nobody was filmed. CREDITS.md beside them says so.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np
import skimage.data
import torch
from PIL import Image

from lia_live.io import VideoFileSink
from lia_live.model import to_pixels
from lia_live.puppet.theta import OPEN, PITCH, ROLL, YAW, limits
from lia_live.train.motion import smooth_motion
from lia_live.train.performer import Performer
from lia_live.train.prepare import prepare_portrait

SIDE = 480
"""Pixels of the driver clip, square."""
FPS = 30
SECONDS = 12
SEED = 6
"""Chosen by eye: the head turns both ways, nods, and the mouth opens wide."""
POSE_GAIN, MOUTH_GAIN = 1.5, 1.0
"""How much more than ``smooth_motion`` draws by itself."""


def main() -> None:
    """Write both files into the folder given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)

    Image.fromarray(skimage.data.astronaut()).save(folder / "avatar.png", optimize=True)

    hopper = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    performer = Performer(prepare_portrait(np.asarray(Image.open(hopper).convert("RGB"))))
    generator = torch.Generator().manual_seed(SEED)
    own = performer.rig.own[0]
    gain = torch.ones(16)
    gain[[YAW, PITCH, ROLL]], gain[OPEN] = POSE_GAIN, MOUTH_GAIN
    theta = own + (smooth_motion(SECONDS, FPS, generator, neutral=own) - own) * gain
    low, high = limits()
    theta = theta.clamp(low, high)
    sink = VideoFileSink(folder / "driver.mp4", (SIDE, SIDE), FPS)
    try:
        for part in theta.split(30):
            for frame in to_pixels(performer.perform(0, part, SIDE, raster=SIDE)):
                sink.send(np.ascontiguousarray(frame))
    finally:
        sink.close()


if __name__ == "__main__":
    main()
