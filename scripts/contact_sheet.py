"""A picture of a clip: evenly spaced frames in rows.

python scripts/contact_sheet.py demo.mp4 docs/images/demo.png --columns 3 --rows 2
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from lia_live.io import VideoReader


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--columns", type=int, default=3)
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--width", type=int, default=420, help="of one frame, pixels")
    parser.add_argument("--at", type=float, nargs="*", help="seconds, instead of evenly spaced")
    arguments = parser.parse_args()
    with VideoReader(arguments.clip) as reader:
        fps = reader.fps
        frames = [frame.pixels for frame in reader]
    count = arguments.columns * arguments.rows
    spaced = np.linspace(0, len(frames) - 1, count + 2)[1:-1]
    chosen = [round(s * fps) for s in arguments.at] if arguments.at else spaced.round().astype(int)
    cells = [_shrunk(frames[min(i, len(frames) - 1)], arguments.width) for i in chosen[:count]]
    rows = [np.hstack(cells[i : i + arguments.columns]) for i in range(0, count, arguments.columns)]
    Image.fromarray(np.vstack(rows)).save(arguments.out, optimize=True)


def _shrunk(pixels: np.ndarray, width: int) -> np.ndarray:
    height = round(pixels.shape[0] * width / pixels.shape[1])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


if __name__ == "__main__":
    main()
