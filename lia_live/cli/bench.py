"""``lia-live bench``: how fast this machine is at it, in tables, JSON and one page with plots."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lia_live.cli.flags import add_model_flags, model_settings
from lia_live.cli.interrupts import Interrupts
from lia_live.cli.parser import Command, Parser

if TYPE_CHECKING:
    from lia_live.cli.config import ModelSettings
    from lia_live.cli.status import StatusLine

PARTS = ("full-size", "default", "live", "media")
REDRAWN_S = 0.1


def _add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "--only", choices=PARTS, action="append",
        help="one part: the official layout, the weights in use, the whole loop, all around the "
             "network; may be repeated (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--quick", action="store_true", default=False, help="a look: too few rounds to be quoted"
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="of the network (default: one for each core)"
    )
    parser.add_argument(
        "--json", action="store_true", default=False, help="print the numbers instead of tables"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="for bench.html and bench.json")
    parser.add_argument(
        "--faces", type=Path, metavar="FILE.npz",
        help="the faces, cut on another machine, where this one lacks decoder or tracker; written "
             "if it is not there",
    )  # fmt: skip
    add_model_flags(parser)


def _execute(flags: argparse.Namespace, interrupts: Interrupts) -> int:
    given = vars(flags)
    settings = model_settings(flags)
    parts, threads = tuple(given.get("only", PARTS)), given.get("threads", 0)
    out: Path | None = given.get("out")
    if "threads" in given:
        from lia_live.cli.config import in_range

        in_range("threads", threads, 1, 256)
    with interrupts.deferred():
        from lia_live.cli.assets import DEMO_AVATAR, DEMO_DRIVER
        from lia_live.cli.loading import Networks
        from lia_live.cli.status import StatusLine
        from lia_live.evaluate.bench import BenchConfig, bench, known_engines
        from lia_live.evaluate.bench_report import as_json, as_text, write_report
        from lia_live.evaluate.page import make_folder

    config = BenchConfig.quick(parts, threads) if flags.quick else BenchConfig(parts, threads)
    if out is not None:
        make_folder(out)
    # Numbers alone on stdout when they are asked for: other programs read it.
    aside = contextlib.redirect_stdout(sys.stderr) if flags.json else contextlib.nullcontext()
    line = StatusLine()
    try:
        with aside, interrupts.deferred():
            model = Networks(settings).model()
            done = bench(
                config,
                model,
                DEMO_AVATAR,
                DEMO_DRIVER,
                _words(settings),
                quick=flags.quick,
                faces=given.get("faces"),
                engines=known_engines(model, settings.engine),
                say=_saying(line, interrupts),
            )
    finally:
        line.clear()
    if out is not None:
        with interrupts.deferred():
            written = write_report(done, out)
    if flags.json:
        print(json.dumps(as_json(done), indent=1))
        return 0
    print(as_text(done))
    if out is not None:
        print(f"\n{written[0]}: plots; {written[1]}: the numbers. {done.took_s:.0f} s")
    return 0


def _words(settings: ModelSettings) -> list[str]:
    """The flags that give a live run the same network on the same device."""
    return [
        "--weights", settings.weights, "--device", settings.device, "--engine", settings.engine
    ]  # fmt: skip


def _saying(line: StatusLine, interrupts: Interrupts) -> Callable[[str], None]:
    """Shows where the work is, and ends it after a signal: half a bench compares nothing."""
    last = 0.0

    def say(text: str) -> None:
        nonlocal last
        if interrupts.pending:
            raise KeyboardInterrupt
        now = time.perf_counter()
        if now - last >= REDRAWN_S:
            last = now
            line.show(text)

    return say


COMMAND = Command(
    "bench",
    "how fast this machine is: network, live loop, start-up, media",
    _add_arguments,
    _execute,
)
