"""The folder that is written: one run at a time, files of bounded size, never anybody else's file touched."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Generic, TypeVar

from lia_live.errors import ConfigError
from lia_live.train import clips as clip_files
from lia_live.train import portraits as portrait_files
from lia_live.train.clips import Clips
from lia_live.train.locking import locked
from lia_live.train.portraits import Portraits
from lia_live.train.prepare_report import Entry, PrepareReport, Shard, Sort
from lia_live.train.prepared import REPORT
from lia_live.train.prepared_file import Store

PAGE: Final = "report.html"
LOCK: Final = ".preparing"
_OURS: Final = re.compile(r"(portraits|clips)-\d{5}\.safetensors")
_PARTS: Final = re.compile(
    r"\.((portraits|clips)-\d{5}\.safetensors|report\.(json|html))\.\w+\.part"
)

Part = TypeVar("Part", Portraits, Clips)


class OutputFolder:
    """Takes what was prepared and writes it in files of about ``shard_bytes``. Context manager, one thread.

    After every file the report is saved, so a run that was killed loses no more than what was not yet written.
    """

    def __init__(self, folder: Path, report: PrepareReport, shard_bytes: int, store: Store) -> None:
        """Lock ``folder`` (made if need be) and take over what an unfinished run with the same input and
        settings left there; anything else it left is removed.

        Raises ``ConfigError`` if the folder is finished, in use, or somebody else's, ``StorageError`` if it
        cannot be written.
        """
        self.folder = folder
        self.report = report
        with ExitStack() as closing:
            closing.enter_context(locked(folder, LOCK, "`train prepare`", keep=False))
            self._take_over()
            self._portraits = _Pending[Portraits]("portrait", portrait_files.join)
            self._clips = _Pending[Clips]("clip", clip_files.join)
            self._limit, self._store = shard_bytes, store
            self.report.finished, self.report.stopped = False, ""
            self.report.save(folder)
            self._closing = closing.pop_all()

    def __enter__(self) -> OutputFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def add_portrait(self, entries: Sequence[Entry], parts: Sequence[Portraits]) -> None:
        """What one picture came to. Raises ``StorageError``."""
        sizes = [part.images.nbytes + part.landmarks.nbytes for part in parts]
        if self._portraits.size + sum(sizes) > self._limit:
            self._write(self._portraits)
        self.report.entries += entries
        self._portraits.take(entries, parts, sizes)

    def add_clips(self, entries: Sequence[Entry], parts: Sequence[Clips]) -> None:
        """What one video came to, all of it at once. Raises ``StorageError``."""
        sizes = [part.frames.nbytes + part.landmarks.nbytes for part in parts]
        if self._clips.size + sum(sizes) > self._limit:
            self._write(self._clips)
        self.report.entries += entries
        self._clips.take(entries, parts, sizes)

    def close(self, *, finished: bool, stopped: str = "") -> None:
        """Write what is still held, and whether that is all. Raises ``StorageError``."""
        self._write(self._portraits)
        self._write(self._clips)
        self.report.finished, self.report.stopped = finished, stopped
        self.report.save(self.folder)

    def _write(self, pending: _Pending[Part]) -> None:
        """All of ``pending`` in as many files as it needs, then the report of what is on disk."""
        if not pending.size:
            return
        for parts in pending.portions(self._limit):
            number = sum(shard.sort == pending.sort for shard in self.report.shards)
            path = self.folder / f"{pending.sort}s-{number:05d}.safetensors"
            pending.join(parts).save(path, self._store)
            self.report.shards.append(
                Shard(path.name, pending.sort, len(parts), path.stat().st_size)
            )
        pending.clear()
        waiting = self._portraits.sources | self._clips.sources
        whole = self.report.entries
        self.report.entries = [entry for entry in whole if entry.source not in waiting]
        self.report.save(self.folder)
        self.report.entries = whole

    def _take_over(self) -> None:
        inside = {path.name for path in self.folder.iterdir()} - {LOCK}
        inside = {name for name in inside if not _PARTS.fullmatch(name)}
        if not inside:
            return
        if REPORT not in inside:
            raise ConfigError(
                f"{self.folder} holds other files",
                "name a new or an empty folder: nothing is deleted",
            )
        before = PrepareReport.load(self.folder)
        if before.finished:
            raise ConfigError(
                f"{self.folder} is prepared already",
                "name another folder, or remove this one to prepare again",
            )
        same = self.report.continues(before)
        whole = all((self.folder / Path(shard.file).name).is_file() for shard in before.shards)
        listed = {shard.file for shard in before.shards} if same and whole else set()
        for path in self.folder.iterdir():
            stale = _OURS.fullmatch(path.name) and path.name not in listed
            if stale or _PARTS.fullmatch(path.name) or path.name == PAGE:
                path.unlink()
        if same and whole:
            # what could not be read may have been mended since
            self.report.entries = [e for e in before.entries if e.outcome != "unreadable"]
            self.report.shards = before.shards
            self.report.seconds = before.seconds


class _Pending(Generic[Part]):
    """What is prepared but not yet on disk."""

    def __init__(self, sort: Sort, join: Callable[[Sequence[Part]], Part]) -> None:
        self.sort: Sort = sort
        self.join: Callable[[Sequence[Part]], Part] = join
        self.clear()

    def clear(self) -> None:
        self.sources: set[str] = set()
        self.size = 0
        self._parts: list[tuple[Part, int]] = []

    def take(self, entries: Sequence[Entry], parts: Sequence[Part], sizes: Sequence[int]) -> None:
        if parts:
            self.sources |= {entry.source for entry in entries}
            self._parts += zip(parts, sizes, strict=True)
            self.size += sum(sizes)

    def portions(self, limit: int) -> list[list[Part]]:
        """Runs of parts, each of at most ``limit`` bytes or a single part."""
        runs: list[list[Part]] = []
        size = limit
        for part, more in self._parts:
            if not runs or size + more > limit:
                runs.append([])
                size = 0
            runs[-1].append(part)
            size += more
        return runs
