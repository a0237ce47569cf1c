"""Files that a command is going to write: refused early, before a model was loaded for nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from lia_live.cli.config import RECORDINGS
from lia_live.errors import ConfigError, StorageError


def check_target(path: Path, sources: Iterable[str | Path]) -> None:
    """Raise unless ``path`` can probably be written and is none of the files that are read.

    Raises ``ConfigError`` (it is one of ``sources``) or ``StorageError``.
    """
    for source in sources:
        if Path(source).exists() and path.exists() and path.samefile(source):
            raise ConfigError(f"{path} is read and written at once", "write to another file")
    if path.is_dir():
        raise StorageError(f"{path} is a folder", "name a file inside it")
    folder = path.parent
    if not folder.is_dir():
        raise StorageError(f"there is no folder {folder}", f"create it: mkdir -p {folder}")
    where = path if path.exists() else folder
    if not os.access(where, os.W_OK):
        raise StorageError(f"{where} may not be written", "choose a place that is yours")


def check_recording(path: Path, sources: Iterable[str | Path]) -> None:
    """``check_target`` for a video. Raises ``ConfigError`` too where the name ends in no video format."""
    if path.suffix.lower() not in RECORDINGS:
        raise ConfigError(f"{path} does not end in .mp4", f"name it {path.stem or 'out'}.mp4")
    check_target(path, sources)


def check_distinct(outputs: Iterable[str | Path]) -> None:
    """Raise ``ConfigError`` where two outputs are one: a word said twice, or one file by two paths."""
    seen = [os.path.realpath(one) if isinstance(one, Path) else one for one in outputs]
    if len(set(seen)) < len(seen):
        raise ConfigError("two outputs are the same", "name each output once")
