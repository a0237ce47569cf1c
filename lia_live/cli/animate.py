"""``lia-live animate``: a portrait and a clip become a video, frame by frame, as fast as it goes."""

from __future__ import annotations

import argparse
from pathlib import Path

from lia_live.cli.config import in_range
from lia_live.cli.flags import (
    add_badge_flag,
    add_consent_flag,
    add_model_flags,
    add_motion_flags,
    model_settings,
    motion_settings,
)
from lia_live.cli.interrupts import Interrupts
from lia_live.cli.parser import Command, Parser
from lia_live.errors import ConfigError


def _add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "--avatar", required=True, metavar="PATH", help="portrait or .avatar bundle"
    )
    parser.add_argument(
        "--driving", required=True, metavar="CLIP", help="video whose face moves it"
    )
    parser.add_argument("--out", type=Path, default=Path("out.mp4"), metavar="FILE.mp4")
    parser.add_argument(
        "--side-by-side", action="store_true", default=False, help="the clip beside the avatar"
    )
    parser.add_argument(
        "--side", type=int, metavar="PIXELS", help="of the avatar's square (default: 512 or more)"
    )
    parser.add_argument(
        "--duration", type=float, metavar="SECONDS", help="only the clip's beginning"
    )
    add_model_flags(parser)
    add_motion_flags(parser)
    add_consent_flag(parser)
    add_badge_flag(parser, "on")


def _execute(flags: argparse.Namespace, interrupts: Interrupts) -> int:
    side = getattr(flags, "side", None)
    if side is not None:
        in_range("side", side, 64, 2160)
        if side % 2:
            raise ConfigError(f"side must be even, got {side}", f"take {side - 1} or {side + 1}")
    duration = getattr(flags, "duration", None)
    if duration is not None:
        in_range("duration", duration, 0.04, 86400)
    model, motion = model_settings(flags), motion_settings(flags)

    with interrupts.deferred():
        from lia_live.cli.offline import Job, animate

    job = Job(
        avatar=flags.avatar,
        driving=flags.driving,
        out=flags.out,
        model=model,
        motion=motion,
        consent=getattr(flags, "consent", None),
        side_by_side=flags.side_by_side,
        side=side,
        duration=duration,
        badge=getattr(flags, "badge", True),
    )
    return animate(job, interrupts)


COMMAND = Command(
    "animate", "offline: a portrait moved by a clip, sound kept", _add_arguments, _execute
)
