"""What a judge looks at: portraits moved by clips as the program moves them, one sheet for each clip.

    python scripts/judging_sheet.py OUT --portraits a.jpg b.jpg --clips talk.mp4 nod.mp4 [--weights FILE]

Writes OUT/CLIP.png: the driver's crops above, then a row for each portrait, the portrait itself first. Moments are
evenly spaced over the clip, after the second in which an avatar eases in: nobody chose them.
"""

from __future__ import annotations

import argparse
from itertools import takewhile
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from lia_live.avatar import Avatar
from lia_live.engine import Animator
from lia_live.frame import Crop, Frame, Pixels
from lia_live.interfaces import Tracker
from lia_live.io import VideoReader
from lia_live.model import load_model
from lia_live.render import open_renderer
from lia_live.track import open_tracker

NEUTRAL_S: Final = 2.0
"""The neutral is looked for in that much of a clip's beginning, as ``animate`` does."""
SETTLE_S: Final = 1.0


class Watched:
    """A tracker that remembers its last crop."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self.last: Crop | None = None

    def track(self, frame: Frame) -> Crop | None:
        """As the tracker does."""
        self.last = self._tracker.track(frame)
        return self.last

    def recalibrate(self) -> None:
        """As the tracker does."""
        self._tracker.recalibrate()

    def close(self) -> None:
        """As the tracker does."""
        self._tracker.close()


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
        with VideoReader(clip) as reader:
            frames = list(reader)
        begin = next(place for place, frame in enumerate(frames) if frame.captured_at >= SETTLE_S)
        moments = (
            np.linspace(begin, len(frames) - 1, arguments.moments).round().astype(int).tolist()
        )
        rows: list[list[Pixels]] = []
        for avatar in avatars:
            watched = Watched(open_tracker(model.config.framing, model.config.size))
            drivers, outputs = [], []
            with Animator(
                renderer, avatar, tracker=watched, directions=model.directions
            ) as animator:
                animator.learn_neutral(
                    takewhile(lambda frame: frame.captured_at <= NEUTRAL_S, frames)
                )
                for place, frame in enumerate(frames):
                    made = animator.animate(frame).pixels
                    if place in moments:
                        outputs.append(made)
                        drivers.append(
                            np.zeros_like(made) if watched.last is None else watched.last.pixels
                        )
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
