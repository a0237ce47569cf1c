"""``lia-live train prepare``: portraits and videos into a folder that training reads."""

from __future__ import annotations

import argparse
from pathlib import Path

from lia_live.cli.interrupts import Interrupts
from lia_live.cli.parser import Command, Parser
from lia_live.errors import ConfigError, MediaError, StorageError


def _add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "input",
        type=Path,
        metavar="IN",
        help="folder of portraits, videos or folders of frames (train/ and test/ as for FOMM), or one video",
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="new folder for shards and report")
    parser.add_argument("--side", type=int, metavar="PIXELS", help="of portraits (default: 320)")
    parser.add_argument("--clip-side", type=int, metavar="PIXELS", help="of clips (default: 256)")
    parser.add_argument(
        "--framing",
        choices=("model", "keep"),
        help="model: cropped to the face (default); keep: as it is, only resized",
    )
    parser.add_argument("--fps", type=float, metavar="N", help="frames a second (default: 12.5)")
    parser.add_argument(
        "--frames-fps", type=float, metavar="N", help="of folders of frames (default: 25)"
    )
    parser.add_argument(
        "--max-seconds",
        type=float,
        metavar="S",
        help="longest clip; longer shots are cut (default: 10)",
    )
    parser.add_argument(
        "--max-video-seconds", type=float, metavar="S", help="used of one video (default: 120)"
    )
    parser.add_argument(
        "--max-yaw", type=float, metavar="DEGREES", help="portraits turned further (default: 25)"
    )
    parser.add_argument(
        "--held-out-every",
        type=int,
        metavar="N",
        help="by the counter in the names, or their order (default: 15; 0: none)",
    )
    parser.add_argument(
        "--held-out", type=Path, metavar="FILE", help="text file: names to hold out, one a line"
    )
    parser.add_argument("--group", help="licence group of what no index.csv names")
    parser.add_argument(
        "--store", choices=("raw", "jpeg"), help="jpeg: a tenth of the size (default: raw)"
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE.toml", help="every setting; flags win over it"
    )


_FLAGS = {
    "side": "side",
    "clip_side": "clips.side",
    "fps": "clips.fps",
    "frames_fps": "clips.frames_fps",
    "max_seconds": "clips.max_s",
    "max_video_seconds": "clips.max_video_s",
    "max_yaw": "max_yaw_deg",
    "held_out_every": "held_out_every",
    "group": "group",
    "store": "store",
}
"""Flag -> dotted name of the setting."""


def _execute(flags: argparse.Namespace, interrupts: Interrupts) -> int:
    source: Path = flags.input
    if not source.exists():
        raise MediaError(f"there is no folder {source}", "check the path")
    with interrupts.deferred():
        from lia_live.cli.status import Progress, StatusLine
        from lia_live.train.prepare import PrepareConfig, prepare_folder
        from lia_live.train.settings import overlay, read_toml

    config = PrepareConfig()
    if hasattr(flags, "config"):
        config = read_toml(config, flags.config)
    values: dict[str, object] = {}
    clips: dict[str, object] = {}
    for flag, name in _FLAGS.items():
        if hasattr(flags, flag):
            home = clips if name.startswith("clips.") else values
            home[name.removeprefix("clips.")] = getattr(flags, flag)
    if hasattr(flags, "framing"):
        values["keep_framing"] = flags.framing == "keep"
    if hasattr(flags, "held_out"):
        values["held_out"] = [*config.held_out, *_names(flags.held_out)]
    config = overlay(config, {**values, **({"clips": clips} if clips else {})})

    line = StatusLine()
    bars: list[Progress] = []

    def progress(done: int, of: int) -> None:
        if not bars:  # the rate is that of this run, not of one that it goes on from
            bars.append(Progress(line, of - done))
            began.append(done)
        bars[0].show(done - began[0])

    began: list[int] = []
    try:
        with interrupts.deferred():
            report = prepare_folder(
                source, flags.out, config, progress=progress, stop=lambda: interrupts.pending
            )
    finally:
        line.clear()
    print(report.summary())
    print(
        f"{flags.out}: {report.seconds:.0f} s; look at {flags.out / 'report.html'} before training"
    )
    return 0


def _names(path: Path) -> list[str]:
    """The lines of a text file that are not empty and no comments. Raises ``ConfigError``, ``StorageError``."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except PermissionError as error:
        raise StorageError(f"{path} may not be read", "change its permissions") from error
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            f"{path} is not a list of names", "--held-out takes a text file, one name a line"
        ) from None
    names = [line.strip() for line in lines]
    return [name for name in names if name and not name.startswith("#")]


COMMAND = Command(
    "train prepare",
    "portraits and videos into checked, cropped training data",
    _add_arguments,
    _execute,
)
