"""The one place that turns an exception into two lines on stderr and an exit code."""

from __future__ import annotations

import errno
import sys
import traceback
from dataclasses import dataclass

from lia_live.errors import LiaLiveError

INTERRUPTED = 130
"""Exit code after Ctrl-C, once everything is closed."""

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_FILE = (errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
_NO_DEVICE = (errno.ENODEV, errno.ENXIO, errno.EBUSY, errno.EIO)


@dataclass(frozen=True)
class Failure:
    """What a person reads when a command could not do its work."""

    what: str
    to_do: str
    exit_code: int


def explain(error: BaseException) -> Failure:
    """What happened, what to do next, and the exit code (DESIGN.md) for any exception."""
    if isinstance(error, LiaLiveError):
        hint = (
            error.hint
            or "`lia-live --help` lists the commands, `lia-live doctor` checks this machine"
        )
        return Failure(error.message, hint, error.exit_code)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        # torch.OutOfMemoryError is known by name: this module must not import torch
        return Failure(
            "not enough memory", "close other programs, or use a smaller model or picture", 4
        )
    if isinstance(error, OSError):
        return _explain_os(error)
    return Failure(
        f"unexpected {type(error).__name__}: {error}",
        "this is a bug: run it again with --debug and report the traceback",
        1,
    )


def _explain_os(error: OSError) -> Failure:
    place = f": {error.filename}" if error.filename else ""
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno in _NO_SPACE:
        return Failure(f"no space left{place}", "free some space, or write to another disk", 4)
    if error.errno in _NO_PERMISSION:
        return Failure(
            f"no permission{place} ({reason})", "choose a place that you may read and write", 4
        )
    if error.errno in _NO_FILE:
        return Failure(f"{reason}{place}", "check the path", 3)
    if error.errno in _NO_DEVICE:
        return Failure(f"{reason}{place}", "`lia-live doctor` checks the devices", 5)
    return Failure(f"{reason}{place}", "run it again with --debug to see where it happened", 1)


def report(error: BaseException, *, debug: bool = False) -> int:
    """Print the two lines (and, with ``debug``, the traceback before them); returns the exit code."""
    failure = explain(error)
    if debug:
        traceback.print_exception(error)
    if sys.stdout is not None:
        sys.stdout.flush()
    print(f"error: {_one_line(failure.what)}", file=sys.stderr)
    print(f"to do: {_one_line(failure.to_do)}", file=sys.stderr, flush=True)
    return failure.exit_code


def _one_line(text: str) -> str:
    return " ".join(text.split())
