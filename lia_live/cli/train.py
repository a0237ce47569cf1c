"""``lia-live train``: prepared data into weights, in a folder that survives being killed."""

from __future__ import annotations

import argparse
from pathlib import Path

from lia_live.cli.config import in_range
from lia_live.cli.failures import INTERRUPTED
from lia_live.cli.interrupts import Interrupts
from lia_live.cli.parser import Command, Parser


def _add_arguments(parser: Parser) -> None:
    parser.add_argument("data", type=Path, help="made by `lia-live train prepare`")
    parser.add_argument("folder", type=Path, help="where the run lives")
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help="first (default), continued, longer, finish, gpu, paper: docs/training.md",
    )
    parser.add_argument("--scale", type=float, metavar="X", help="stretches the preset's steps")
    parser.add_argument("--config", type=Path, metavar="FILE.toml", help="settings over the preset")
    parser.add_argument(
        "--set", action="append", metavar="KEY=VALUE", help="one setting over that; repeatable"
    )
    parser.add_argument("--base", metavar="FILE", help='weights to go on from, or "default"')
    parser.add_argument("--vgg", type=Path, metavar="FILE", help="VGG19's weights (fetch-vgg)")
    parser.add_argument("--device", metavar="NAME", help="auto (default), cpu, cuda")
    parser.add_argument("--devices", type=int, metavar="N", help="processes on this machine")
    parser.add_argument("--threads", type=int, metavar="N", help="of a CPU, for each process")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    parser.add_argument("--name", help="of the weights, for lists and messages")
    parser.add_argument("--licence", help="of the weights, stored with them (default: the base's)")
    parser.add_argument(
        "--checkpoint-seconds", type=float, metavar="S", help="between checkpoints (default: 180)"
    )
    parser.add_argument(
        "--checkpoint-steps", type=int, metavar="N", help="besides, after every so many steps"
    )
    parser.add_argument("--log-steps", type=int, metavar="N", help="between figures (default: 10)")


_PACE = ("checkpoint_seconds", "checkpoint_steps", "log_steps")


def _execute(flags: argparse.Namespace, interrupts: Interrupts) -> int:
    given = vars(flags)
    for name, low, high in (("scale", 1e-4, 1e4), ("devices", 1, 1024), ("threads", 1, 1024)):
        if name in given:
            in_range(name, given[name], low, high)
    for name in _PACE:
        if name in given:
            in_range(name.replace("_", "-"), given[name], 1, 1e9)
    with interrupts.deferred():
        from lia_live.cli.status import StatusLine
        from lia_live.train.devices import is_companion
        from lia_live.train.loop import Pace
        from lia_live.train.running import TrainJob, train

    pace = Pace(
        checkpoint_s=given.get("checkpoint_seconds", Pace.checkpoint_s),
        checkpoint_steps=given.get("checkpoint_steps", Pace.checkpoint_steps),
        log_steps=given.get("log_steps", Pace.log_steps),
    )
    renamed = {"set": "settings", "devices": "processes"}
    fields = {renamed.get(key, key): value for key, value in given.items() if key not in _PACE}
    fields["settings"] = tuple(fields.get("settings", ()))
    job = TrainJob(**fields, pace=pace)
    line = StatusLine()
    try:
        with interrupts.deferred():
            weights = train(job, line.say, line.show, lambda: interrupts.pending)
    finally:
        line.clear()
    if is_companion():
        return (
            0  # the first process speaks for all; another code would have it killed while it closes
        )
    return INTERRUPTED if weights is None else 0


COMMAND = Command("train", "train a network from prepared data", _add_arguments, _execute)
