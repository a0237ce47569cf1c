"""``lia-live animate``: the main job with nothing plugged in."""

from __future__ import annotations

import argparse
from pathlib import Path

from lia_live.cli.interrupts import Interrupts
from lia_live.cli.parser import Command, Parser

_ASSETS = Path(__file__).resolve().parent.parent / "weights" / "animate"
DEMO_AVATAR = _ASSETS / "avatar.png"
DEMO_DRIVER = _ASSETS / "driver.mp4"


def _add_arguments(parser: Parser) -> None:
    parser.add_argument("--out", type=Path, metavar="FILE.mp4", help="default: animate.mp4")


def _execute(flags: argparse.Namespace, interrupts: Interrupts) -> int:
    return 0


COMMAND = Command(
    "animate",
    "nothing plugged in: a shipped portrait and clip, writes animate.mp4",
    _add_arguments,
    _execute,
)
