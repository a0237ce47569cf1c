"""Flags that several commands share, and the way from flags to a configuration."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import get_args

from lia_live.cli.config import (
    Background,
    ConsentAnswer,
    Device,
    Engine,
    Mirror,
    Mode,
    ModelSettings,
    MotionSettings,
    RunConfig,
    overlay,
    read_toml,
)
from lia_live.cli.parser import Parser
from lia_live.errors import ConfigError


def add_model_flags(parser: Parser) -> None:
    """Which network, on what."""
    parser.add_argument(
        "--weights", metavar="FILE", help="safetensors or official .pt (default: shipped)"
    )
    parser.add_argument(
        "--device", choices=get_args(Device), help="default: auto, which says what it took"
    )
    parser.add_argument(
        "--engine",
        choices=get_args(Engine),
        help="what runs the network (default: auto, the fastest as measured at the first start)",
    )


def add_motion_flags(parser: Parser) -> None:
    """How the driver moves the avatar."""
    parser.add_argument(
        "--mode", choices=get_args(Mode), help="default: relative (to a neutral face)"
    )
    parser.add_argument(
        "--strength", type=float, metavar="0..2", help="of the movement (default: 1)"
    )
    parser.add_argument(
        "--smooth", type=float, metavar="0..1", help="calm against delay (default: 0.3)"
    )


def add_consent_flag(parser: Parser) -> None:
    """Whose portrait it is."""
    parser.add_argument(
        "--consent",
        choices=get_args(ConsentAnswer),
        help="whose portrait it is; asked on the terminal otherwise, once per picture",
    )


def add_badge_flag(parser: Parser, default: str) -> None:
    """The mark that tells viewers what they see."""
    parser.add_argument(
        "--badge",
        action=argparse.BooleanOptionalAction,
        help=f'the small "AI avatar" badge (default: {default})',
    )


def add_run_flags(parser: Parser) -> None:
    """Everything of ``run``."""
    parser.add_argument(
        "--avatar",
        action="append",
        metavar="PATH",
        help="portrait, .avatar bundle or a folder of them; repeat it to switch live with keys 1-9",
    )
    parser.add_argument(
        "--camera", metavar="0|PATH|URL", help="camera, video file or stream (default: 0)"
    )
    parser.add_argument(
        "--output",
        action="append",
        metavar="virtual|preview|none|FILE.mp4",
        help="where the avatar goes; repeatable (default: virtual)",
    )
    add_model_flags(parser)
    add_motion_flags(parser)
    parser.add_argument(
        "--mirror",
        nargs="?",
        const="in",
        choices=get_args(Mirror),
        help="in: move as in a looking glass (plain --mirror); out: mirror the finished picture",
    )
    parser.add_argument("--fps", type=float, metavar="1..60", help="frames a second (default: 30)")
    parser.add_argument("--width", type=int, metavar="PIXELS", help="of the output (default: 1280)")
    parser.add_argument("--height", type=int, metavar="PIXELS", help="of the output (default: 720)")
    parser.add_argument("--size", metavar="WxH", help="width and height in one: 1280x720")
    parser.add_argument("--background", choices=get_args(Background), help="default: plain")
    parser.add_argument("--loop", action="store_true", help="begin a file again when it ends")
    parser.add_argument("--duration", type=float, metavar="SECONDS", help="stop after that long")
    parser.add_argument("--stats-json", metavar="FILE", help="write the counters there at the end")
    add_consent_flag(parser)
    add_badge_flag(parser, "only in recordings")
    parser.add_argument(
        "--allow-passthrough",
        action="store_true",
        help="let the held key P show the real camera picture; without this nothing ever does",
    )
    parser.add_argument(
        "--config", metavar="FILE.toml", help="the same settings; flags lie over it"
    )


def run_config(flags: argparse.Namespace) -> RunConfig:
    """Defaults, the file of ``--config`` over them, the flags over that."""
    given = vars(flags).copy()
    given.pop("debug", None)
    config = RunConfig()
    file = given.pop("config", None)
    if file is not None:
        config = overlay(config, read_toml(Path(file)), str(file))
    size = given.pop("size", None)
    if size is not None:
        given.update(zip(("width", "height"), _parsed_size(size), strict=True))
    return overlay(config, given, "")


def _parsed_size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,5})[x×X*](\d{1,5})", text)
    if found is None:
        raise ConfigError(f"size must be WIDTHxHEIGHT, got {text!r}", "write it as 1280x720")
    return int(found[1]), int(found[2])


def model_settings(flags: argparse.Namespace) -> ModelSettings:
    """The model flags alone, for commands that take no configuration file."""
    given = vars(flags)
    return overlay(ModelSettings(), {k: given[k] for k in _MODEL_FLAGS if k in given}, "")


def motion_settings(flags: argparse.Namespace) -> MotionSettings:
    """The motion flags alone."""
    given = vars(flags)
    return overlay(MotionSettings(), {k: given[k] for k in _MOTION_FLAGS if k in given}, "")


_MODEL_FLAGS = ("weights", "device", "engine")
_MOTION_FLAGS = ("mode", "strength", "smooth")
