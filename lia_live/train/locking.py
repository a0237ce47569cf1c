"""One process at a time in a folder: a lock that the system lets go of however its holder ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from lia_live.errors import ConfigError, StorageError

_TRIES: Final = 20
"""So often a lock file may be taken away just before it is locked."""


@contextmanager
def locked(
    folder: Path, name: str = "lock", holder: str = "run", *, keep: bool = True
) -> Iterator[None]:
    """Hold ``folder`` (made if need be) by its file ``name``. The lock goes with the process, however that ends.

    ``holder`` is what works there, for the message. Unless ``keep``, the file is gone afterwards. Raises
    ``ConfigError`` if somebody else holds it, ``StorageError`` if it cannot be written or locks do not work there.
    """
    path = folder / name
    with _held(path, holder) as file:
        try:
            yield
        finally:
            if not keep:
                _remove(path, file)


def _held(path: Path, holder: str) -> IO[bytes]:
    """``path`` open, locked, and in its place."""
    for _ in range(_TRIES):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("ab")
        except OSError as error:
            raise StorageError(
                f"{path.parent} cannot be written ({error.strerror or error})",
                "choose a place that is yours",
            ) from error
        try:
            _lock(file.fileno())
            if _in_place(path, file):
                return file
        except (BlockingIOError, PermissionError) as error:
            file.close()
            raise ConfigError(
                f"another {holder} is at work in {path.parent}",
                "wait for it, or choose another folder",
            ) from error
        except OSError as error:  # ENOLCK, ENOTSUP, ENOSYS, EIO, ...
            file.close()
            raise StorageError(
                f"{path.parent} cannot be locked ({error.strerror or error})",
                "choose a folder on a local disk: some network drives have no locks",
            ) from error
        file.close()  # who held it before has removed it: the next comer would not see this one
    raise StorageError(f"{path} does not stay in its place", "choose a folder on a local disk")


def _lock(descriptor: int) -> None:
    """Take an exclusive lock on an open file, at once or not at all. Raises ``OSError``."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _in_place(path: Path, file: IO[bytes]) -> bool:
    """Is the open file still the one under that name?"""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:  # removed
        return False


def _remove(path: Path, file: IO[bytes]) -> None:
    """While it is held, so that nobody else's is taken away. Windows removes only closed files, and none that
    somebody else has opened.
    """
    if sys.platform == "win32":
        file.close()
    with suppress(OSError):
        path.unlink()
