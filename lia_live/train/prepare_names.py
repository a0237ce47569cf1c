"""Names of files: which are pictures and videos by their suffix, and the order that people mean."""

from __future__ import annotations

import re
from typing import Final

# fmt: off
PICTURES: Final = frozenset((
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".jp2", ".ppm", ".heic", ".heif",
))
"""Portraits, and frames in folders. HEIC is among them to be listed: it is not decoded."""
VIDEOS: Final = frozenset((
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".3gp", ".ogv",
))
# fmt: on


def natural(name: str) -> tuple[list[list[tuple[int, int, str]]], str]:
    """Sorts a name, or a path with / between its parts, so that 10 comes after 2."""
    parts = [re.split(r"(\d+)", part.lower()) for part in name.split("/")]
    keys = [[(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in part] for part in parts]
    return keys, name  # 1 and 01, a and A: by their letters
