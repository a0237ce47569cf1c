"""What a judge looks at: portraits moved by clips as the program moves them, one sheet for each clip.

    python scripts/judging_sheet.py OUT --portraits a.jpg b.jpg --clips talk.mp4 nod.mp4 [--weights FILE]

Writes OUT/CLIP.png: the driver's crops above, then a row for each portrait, the portrait itself first. Moments are
evenly spaced over the clip, after the second in which an avatar eases in: nobody chose them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from lia_live.avatar import Avatar
from lia_live.evaluate.clips import Clip
from lia_live.evaluate.driven import SETTLE_S, Driven
from lia_live.frame import Pixels
from lia_live.model import load_model
from lia_live.render import open_renderer


def main() -> None:
    """Write the sheets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for the sheets")
    parser.add_argument("--portraits", type=Path, nargs="+", required=True)
    parser.add_argument("--clips", type=Path, nargs="+", required=True)
    parser.add_argument("--weights", default="default")
    parser.add_argument("--moments", type=int, default=6, help="of each clip")
    parser.add_argument("--side", type=int, default=224, help="of one cell, pixels")
    arguments = parser.parse_args()
    model = load_model(arguments.weights, "cpu")
    renderer = open_renderer(model)
    avatars = [Avatar.from_image(path, model) for path in arguments.portraits]
    arguments.out.mkdir(parents=True, exist_ok=True)
    for clip in arguments.clips:
        frames = list(Clip(clip).frames(sys.maxsize))
        settled = [place for place, one in enumerate(frames) if one.captured_at >= SETTLE_S]
        if not 0 < arguments.moments <= len(settled):
            parser.error(
                f"{clip} has {len(settled)} frames after its first second, for {arguments.moments} moments"
            )
        moments = np.linspace(settled[0], settled[-1], arguments.moments).round().tolist()
        rows: list[list[Pixels]] = []
        for avatar in avatars:
            drivers, outputs = [], []
            with Driven(model, renderer, avatar) as driven:
                driven.learn_neutral(frames)
                for place, frame in enumerate(frames):
                    made = driven.animate(frame)
                    if place in moments:
                        outputs.append(made)
                        crop = driven.crop
                        drivers.append(np.zeros_like(made) if crop is None else crop.pixels)
            rows = rows or [[np.full_like(drivers[0], 255), *drivers]]
            rows.append([avatar.crop, *outputs])
        _sheet(rows, arguments.side).save(arguments.out / f"{clip.stem}.png")


def _sheet(rows: list[list[Pixels]], side: int) -> Image.Image:
    sheet = Image.new("RGB", (len(rows[0]) * side, len(rows) * side), "white")
    for line, row in enumerate(rows):
        for place, pixels in enumerate(row):
            cell = Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS)
            sheet.paste(cell, (place * side, line * side))
    return sheet


if __name__ == "__main__":
    main()
