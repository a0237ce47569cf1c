"""What ``demo`` shows: one portrait and one driver clip, both in the public domain, shipped in the package."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).resolve().parent.parent / "weights" / "demo"

DEMO_AVATAR = _FOLDER / "avatar.png"
DEMO_DRIVER = _FOLDER / "driver.mp4"
