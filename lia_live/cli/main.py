"""``lia-live``: find the command, hand it its flags, turn what goes wrong into two lines.

Nothing heavy is imported here or in the command modules: ``--help`` answers at once.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lia_live.cli import (
    animate,
    avatar,
    bench,
    demo,
    doctor,
    evaluate,
    finetune,
    run,
    serve,
    train,
    train_fetch,
    train_prepare,
    weights,
)
from lia_live.cli.failures import INTERRUPTED, report
from lia_live.cli.interrupts import Interrupts
from lia_live.cli.parser import Command, nearest
from lia_live.errors import ConfigError

COMMANDS: tuple[Command, ...] = (
    run.COMMAND,
    serve.COMMAND,
    demo.COMMAND,
    animate.COMMAND,
    avatar.BUILD,
    avatar.INFO,
    weights.CONVERT,
    weights.INFO,
    weights.EXPORT,
    finetune.COMMAND,
    train.COMMAND,
    train_prepare.COMMAND,
    train_fetch.COMMAND,
    evaluate.COMMAND,
    doctor.COMMAND,
    bench.COMMAND,
)
_BY_NAME = {command.name: command for command in COMMANDS}
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".avatar")


def main(argv: Sequence[str] | None = None) -> int:
    """The program. ``argv``: the words after the program's name, None: this process's own, which then ends.

    Returns the exit code.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    interrupts = Interrupts()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an old Windows console knows no arrow
    try:
        with interrupts.installed(process_ends=argv is None):
            code = _dispatch(words, interrupts)
            if sys.stdout is not None:
                sys.stdout.flush()
            return code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # whoever read our output has had enough; say nothing, also when the interpreter ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except SystemExit as done:  # argparse, after --help
        return int(done.code or 0)
    except Exception as error:  # the one place: everything becomes two lines and an exit code
        return report(error, debug=debug)


def _dispatch(words: list[str], interrupts: Interrupts) -> int:
    if words and words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if words and words[0] in ("-V", "--version"):
        print(f"lia-live {version()}")
        return 0
    command, rest = _find(words)
    return command.execute(command.parser().parse(rest), interrupts)


def _find(words: list[str]) -> tuple[Command, list[str]]:
    """The command that the first words name, and the words left for it; flags alone mean ``run``."""
    if not words:
        raise ConfigError(
            "no portrait was given",
            "`lia-live --avatar me.png` goes live, `lia-live demo` needs nothing plugged in",
        )
    if words[0].startswith("-"):
        return run.COMMAND, words
    for length in (2, 1):
        command = _BY_NAME.get(" ".join(words[:length]))
        if command is not None:
            return command, words[length:]
    typed = words[0]
    family = [name for name in _BY_NAME if name.split()[0] == typed]
    if family:
        if any(word in ("-h", "--help") for word in words[1:2]):
            print("\n".join(f"lia-live {name:<16}{_BY_NAME[name].summary}" for name in family))
            raise SystemExit(0)
        second = f" {words[1]}" if len(words) > 1 else ""
        raise ConfigError(
            f"no command `{typed}{second}`", f"there is: lia-live {' · '.join(family)}"
        )
    if Path(typed).suffix.lower() in _PICTURES:
        raise ConfigError(f"no command {typed}", f"did you mean `lia-live --avatar {typed}`?")
    match = nearest(typed, {name.split()[0] for name in _BY_NAME})
    hint = "`lia-live --help` lists the commands"
    raise ConfigError(f"no command {typed}", f"did you mean {match}? {hint}" if match else hint)


def overview() -> str:
    """The text of ``lia-live --help``."""
    lines = [f"  lia-live {command.name:<18}{command.summary}" for command in COMMANDS]
    return "\n".join(
        [
            "lia-live: one portrait, one camera, one live avatar",
            "",
            "  lia-live --avatar me.png    the same as: lia-live run --avatar me.png",
            "",
            *lines,
            "",
            "`lia-live <command> --help` lists its flags. Also: --version, --debug (traceback of an error)",
            "exit codes: 0 done, 1 bug, 2 usage, 3 bad input file, 4 no space or permission, 5 device,",
            "            6 training diverged, 130 interrupted",
        ]
    )


def version() -> str:
    """The installed version."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("lia-live")
    except PackageNotFoundError:
        return "unknown (not installed)"
