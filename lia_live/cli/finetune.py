"""``lia-live finetune``: an avatar with a network of its own, made from a clip or photographs of the person."""

from __future__ import annotations

import argparse
from pathlib import Path

from lia_live.cli.config import in_range
from lia_live.cli.failures import INTERRUPTED
from lia_live.cli.flags import add_consent_flag
from lia_live.cli.interrupts import Interrupts
from lia_live.cli.parser import Command, Parser
from lia_live.cli.targets import check_target
from lia_live.errors import ConfigError


def _add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "--avatar", type=Path, required=True, metavar="ME.png", help="the portrait to be animated"
    )
    parser.add_argument(
        "--video", type=Path, metavar="ME.mp4", help="ten seconds or more of the same person"
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="or more photographs of the same person"
    )
    parser.add_argument(
        "--out", type=Path, metavar="ME.avatar", help="default: beside the portrait"
    )
    parser.add_argument(
        "--base", metavar="FILE", help="weights to start from (default: the shipped ones)"
    )
    parser.add_argument("--minutes", type=float, metavar="M", help="of training (default: 10)")
    parser.add_argument("--device", metavar="NAME", help="auto (default), cpu, cuda")
    parser.add_argument("--threads", type=int, metavar="N", help="of a CPU (default: all cores)")
    parser.add_argument("--face", type=int, metavar="N", help="which face of the portrait")
    add_consent_flag(parser)


def _execute(flags: argparse.Namespace, interrupts: Interrupts) -> int:
    given = vars(flags)
    picture: Path = flags.avatar
    out: Path = given.get("out", picture.with_suffix(".avatar"))
    if "video" in given and "images" in given:
        raise ConfigError("--video and --images were both given", "give one of them")
    if out.suffix.lower() != ".avatar":
        raise ConfigError(f"{out} does not end in .avatar", "name an .avatar file after --out")
    if picture.suffix.lower() == ".avatar":
        raise ConfigError(f"{picture} is a bundle already", "give the portrait it was made from")
    in_range("minutes", given.get("minutes", 10.0), 0.1, 1440)
    in_range("threads", given.get("threads", 1), 1, 1024)
    sources = [picture, *(given[key] for key in ("video", "images") if key in given)]
    check_target(out, sources)
    with interrupts.deferred():
        from lia_live.cli.consent import ConsentBook
        from lia_live.cli.portraits import settle_portraits
        from lia_live.cli.status import StatusLine
        from lia_live.cli.tuning import Job, tune
    portrait = settle_portraits([picture], given.get("consent"), ConsentBook(), interrupts)[0]
    line = StatusLine()
    job = Job(
        portrait=portrait,
        out=out,
        video=given.get("video"),
        images=given.get("images"),
        base=given.get("base", "default"),
        minutes=given.get("minutes"),
        device=given.get("device", "auto"),
        threads=given.get("threads"),
        face=given.get("face"),
    )
    try:
        with interrupts.deferred():
            finished = tune(job, line, lambda: interrupts.pending)
    finally:
        line.clear()
    return 0 if finished else INTERRUPTED


COMMAND = Command(
    "finetune",
    "an avatar with weights of its own, from a clip or photographs",
    _add_arguments,
    _execute,
)
