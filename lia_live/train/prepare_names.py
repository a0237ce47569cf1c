"""Which files are pictures and videos by the suffixes of their names."""

from __future__ import annotations

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
