"""``lia-live evaluate``: how good weights are, measured on clips; a table, the numbers, a page with pictures."""

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
    from lia_live.cli.status import StatusLine

REDRAWN_S = 0.1


def _add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "clips", type=Path, nargs="+", metavar="CLIPS",
        help="videos, folders of them, or folders of folders of frames",
    )  # fmt: skip
    parser.add_argument(
        "--portraits", type=Path, metavar="DIR",
        help="faces that the clips move (default: the first frames of the other clips)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("evaluation"), metavar="DIR",
        help="for report.html and figures.json (default: evaluation)",
    )  # fmt: skip
    parser.add_argument(
        "--json", action="store_true", default=False, help="print the numbers instead of tables"
    )
    parser.add_argument(
        "--limit-frames", type=int, metavar="N", help="of each clip's beginning (default: 300)"
    )
    parser.add_argument(
        "--sources", type=int, metavar="N", help="portraits that each clip moves (default: 3)"
    )
    parser.add_argument(
        "--identity-net", type=Path, metavar="FILE.onnx", help="face recognition, for AED, identity"
    )
    parser.add_argument("--lpips-net", type=Path, metavar="FILE.onnx", help="for LPIPS")
    parser.add_argument("--fid-net", type=Path, metavar="FILE.onnx", help="for FID")
    add_model_flags(parser)


def _execute(flags: argparse.Namespace, interrupts: Interrupts) -> int:
    given = vars(flags)
    settings = model_settings(flags)
    with interrupts.deferred():
        from lia_live.cli.loading import open_network
        from lia_live.cli.status import StatusLine
        from lia_live.evaluate.clips import find_clips, find_pictures
        from lia_live.evaluate.evaluation import EvaluateConfig, evaluate
        from lia_live.evaluate.nets import Nets
        from lia_live.evaluate.page import make_folder
        from lia_live.evaluate.report import as_text, write_report
        from lia_live.evaluate.summary import as_json

    told = {name: given[name] for name in ("limit_frames", "sources") if name in given}
    config = EvaluateConfig(**told)
    clips, skipped = find_clips(flags.clips)
    portraits = find_pictures(flags.portraits) if "portraits" in given else None
    make_folder(flags.out)
    # Numbers alone on stdout when they are asked for: other programs read it.
    aside = contextlib.redirect_stdout(sys.stderr) if flags.json else contextlib.nullcontext()
    line = StatusLine()
    try:
        with aside, interrupts.deferred():
            nets = Nets.open(
                given.get("identity_net"), given.get("lpips_net"), given.get("fid_net")
            )
            model, renderer = open_network(settings)
            say = _saying(line, interrupts)
            done = evaluate(model, renderer, clips, portraits, config, nets, say, skipped)
    finally:
        line.clear()
    with interrupts.deferred():
        page, numbers = write_report(done, flags.out)
    if flags.json:
        print(json.dumps(as_json(done), indent=1))
        return 0
    print(as_text(done))
    print(f"\n{page}: pictures and curves; {numbers}: the numbers. {done.took_s:.0f} s")
    return 0


def _saying(line: StatusLine, interrupts: Interrupts) -> Callable[[str], None]:
    """Shows where the work is, and ends it after a signal: there is no report of half an evaluation."""
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
    "evaluate",
    "how good weights are, measured on clips: tables and a page",
    _add_arguments,
    _execute,
)
