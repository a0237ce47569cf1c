"""``lia-live weights convert|info|export``: official checkpoints become safetensors; what a model file is; ONNX."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from lia_live.cli.interrupts import Interrupts
from lia_live.cli.parser import Command, Parser
from lia_live.cli.targets import check_target
from lia_live.errors import ConfigError


def _add_convert(parser: Parser) -> None:
    parser.add_argument("checkpoint", type=Path, help="an official LIA .pt (vox, taichi or ted)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: beside it, .safetensors")
    parser.add_argument("--force", action="store_true", default=False, help="overwrite --out")


def _convert(flags: argparse.Namespace, interrupts: Interrupts) -> int:
    from lia_live.model import LICENCE_NOTE, convert_checkpoint, describe

    source: Path = flags.checkpoint
    out: Path = getattr(flags, "out", source.with_suffix(".safetensors"))
    if out.suffix != ".safetensors":
        raise ConfigError(
            f"{out} does not end in .safetensors", "name a .safetensors file after --out"
        )
    if out.exists() and not flags.force:
        raise ConfigError(
            f"{out} is there already", "add --force to overwrite it, or choose another --out"
        )
    check_target(out, [source])
    convert_checkpoint(source, out)
    about = describe(out)
    print(f"{out}: {about['size']}x{about['size']}, {about['bytes'] / 1e6:.1f} MB")
    print(about["notes"].get("framing_note", ""))
    print(LICENCE_NOTE)
    return 0


def _add_info(parser: Parser) -> None:
    parser.add_argument(
        "weights", nargs="?", default="default", help="a file; without: the shipped ones"
    )
    parser.add_argument("--json", action="store_true", default=False, help="for other programs")


def _info(flags: argparse.Namespace, interrupts: Interrupts) -> int:
    from lia_live.model import describe

    about = describe(flags.weights)
    if flags.json:
        print(json.dumps(about, indent=1, default=str))
        return 0
    directions = about.pop("directions")
    for key, value in about.items():
        print(f"{key + ':':<14}{value}")
    print("directions:")
    for number, direction in enumerate(directions):
        seen = f"{direction['low']:+.2f} to {direction['high']:+.2f}"
        print(f"  {number:>2}  {direction['name']:<14}{seen}")
    return 0


def _add_export(parser: Parser) -> None:
    parser.add_argument(
        "weights", nargs="?", default="default", help="a file; without: the shipped ones"
    )
    parser.add_argument(
        "--onnx", type=Path, metavar="FOLDER", help="write encoder.onnx and renderer.onnx there"
    )
    parser.add_argument(
        "--force", action="store_true", default=False, help="overwrite files that are there"
    )


def _export(flags: argparse.Namespace, interrupts: Interrupts) -> int:
    from lia_live.model import load_model
    from lia_live.render.onnx_export import ENCODER, RENDERER, export_onnx

    folder: Path | None = getattr(flags, "onnx", None)
    if folder is None:
        raise ConfigError("the export needs a place", "name a folder: --onnx FOLDER")
    if folder.is_dir():
        there = [name for name in (ENCODER, RENDERER) if (folder / name).exists()]
        if there and not flags.force:
            raise ConfigError(
                f"{folder / there[0]} is there already",
                "add --force to overwrite it, or choose another folder",
            )
        for name in (ENCODER, RENDERER):
            check_target(folder / name, [flags.weights])
    else:
        check_target(folder, [flags.weights])  # a file in the way, or no folder to make it in
        if folder.exists():
            raise ConfigError(f"{folder} is a file", "name a folder after --onnx")
    model = load_model(flags.weights, device="cpu")
    for path in export_onnx(model, folder):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    print(f"licence of the weights: {model.licence or 'unknown'}; it holds for these files too")
    return 0


CONVERT = Command("weights convert", "an official LIA .pt into safetensors", _add_convert, _convert)
INFO = Command("weights info", "what a model file is: sizes, framing, licence", _add_info, _info)
EXPORT = Command("weights export", "the network as two ONNX files", _add_export, _export)
