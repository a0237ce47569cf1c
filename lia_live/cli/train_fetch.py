"""``lia-live train fetch-vgg``: the weights of the paper's perceptual loss, fetched and made safe to load."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from lia_live.cli.interrupts import Interrupts
from lia_live.cli.parser import Command, Parser
from lia_live.cli.status import StatusLine
from lia_live.cli.targets import check_target
from lia_live.errors import ConfigError

REDRAW_S = 0.1
NOTE = (
    "note: these weights were trained on ImageNet and come under their makers' terms; "
    "they judge training and are no part of what it makes"
)


def _add_fetch(parser: Parser) -> None:
    parser.add_argument(
        "source",
        help="torchvision's vgg19-dcbb9e9d.pth: a path, or its http(s):// or file:// address",
    )
    parser.add_argument("out", type=Path, metavar="OUT.safetensors", help="what `train` is given")
    parser.add_argument(
        "--dtype", choices=("float32", "float16"), default="float32", help="52 or 26 MB"
    )
    parser.add_argument(
        "--any",
        action="store_true",
        default=False,
        help="take a file whose hash is not in its name",
    )
    parser.add_argument("--force", action="store_true", default=False, help="overwrite OUT")


def _fetch(flags: argparse.Namespace, interrupts: Interrupts) -> int:
    source: str = flags.source
    out: Path = flags.out
    if out.suffix.lower() != ".safetensors":
        raise ConfigError(f"{out} does not end in .safetensors", "name a .safetensors file")
    # an address may be longer than any path may be
    local = "://" not in source and Path(source).exists()
    same = local and out.exists() and out.samefile(source)
    if out.exists() and not same and not flags.force:
        raise ConfigError(f"{out} is there already", "add --force to overwrite it, or name another")
    check_target(out, [])
    with interrupts.deferred():
        from lia_live.train.fetch import fetch_vgg, file_name

    line = StatusLine()
    drawn = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal drawn
        if time.monotonic() - drawn > REDRAW_S:
            drawn = time.monotonic()
            of = f" of {total / 1e6:.0f}" if total else ""
            line.show(f"fetching {file_name(source)}: {done / 1e6:.0f}{of} MB")

    try:
        made = fetch_vgg(source, out, dtype=flags.dtype, any_file=flags.any, progress=progress)
    finally:
        line.clear()
    if made.was_safetensors:
        print(f"{file_name(source)}: converted already; keys, shapes and numbers are right")
    if made.written:
        print(f"{out}: VGG19 up to relu5_1, {flags.dtype}, {out.stat().st_size / 1e6:.1f} MB")
    print(f"sha256 of {file_name(source)}: {made.sha256}")
    print(NOTE)
    return 0


COMMAND = Command(
    "train fetch-vgg", "weights of the perceptual loss, fetched and converted", _add_fetch, _fetch
)
