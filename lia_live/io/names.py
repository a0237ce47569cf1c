"""The order of file names that people mean."""

from __future__ import annotations

import re

NaturalKey = tuple[list[list[tuple[int, int, str]]], str]


def natural(name: str) -> NaturalKey:
    """Sorts a name, or a path with / between its parts, so that 10 comes after 2."""
    parts = [re.split(r"(\d+)", part.lower()) for part in name.split("/")]
    keys = [[(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in part] for part in parts]
    return keys, name  # 1 and 01, a and A: by their letters
