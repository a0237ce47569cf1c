"""``lia-live demo``: the main job with nothing plugged in."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from lia_live.cli.config import in_range
from lia_live.cli.flags import add_model_flags, model_settings
from lia_live.cli.interrupts import Interrupts
from lia_live.cli.parser import Command, Parser


def _add_arguments(parser: Parser) -> None:
    parser.add_argument("--out", type=Path, default=Path("demo.mp4"), metavar="FILE.mp4")
    parser.add_argument("--duration", type=float, metavar="SECONDS", help="default: the whole clip")
    parser.add_argument("--stats-json", type=Path, metavar="FILE", help="write the counters there")
    add_model_flags(parser)


def _execute(flags: argparse.Namespace, interrupts: Interrupts) -> int:
    duration = getattr(flags, "duration", None)
    if duration is not None:
        in_range("duration", duration, 0.1, 3600)
    settings = model_settings(flags)
    stats_json = getattr(flags, "stats_json", None)
    began_at = (
        time.perf_counter()
    )  # MonotonicClock's time, before the heavy imports: they count too

    with interrupts.deferred():
        from lia_live.cli.showing import show

    return show(flags.out, duration, stats_json, settings, interrupts, began_at)


COMMAND = Command(
    "demo",
    "nothing plugged in: a shipped portrait and clip, writes demo.mp4",
    _add_arguments,
    _execute,
)
