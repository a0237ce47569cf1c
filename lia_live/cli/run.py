"""``lia-live run``, which is also plain ``lia-live``: the live avatar."""

from __future__ import annotations

import argparse
import sys
import time

from lia_live.cli.config import ZOOM_SAFE_FPS
from lia_live.cli.flags import add_run_flags, run_config
from lia_live.cli.interrupts import Interrupts
from lia_live.cli.parser import Command

DISCLOSURE = (
    "no badge: tell the people who see this that they see an AI-generated avatar; "
    "in many places the law asks for it"
)


def _execute(flags: argparse.Namespace, interrupts: Interrupts) -> int:
    config = run_config(flags)
    if config.picture.fps > ZOOM_SAFE_FPS:
        print(
            f"note: Zoom hangs on virtual cameras above {ZOOM_SAFE_FPS} fps; --fps 30 is safe",
            file=sys.stderr,
        )
    if config.picture.badge is False:
        print(f"note: {DISCLOSURE}", file=sys.stderr)

    began_at = (
        time.perf_counter()
    )  # MonotonicClock's time, before the heavy imports: they count too
    with interrupts.deferred():
        from lia_live.cli.live import go_live

    return go_live(config, interrupts, began_at)


COMMAND = Command("run", "live: your face moves the portrait", add_run_flags, _execute)
