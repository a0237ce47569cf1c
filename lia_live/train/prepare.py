"""Folder of portraits and videos -> a prepared folder: found, checked, cropped, with landmarks, told apart.

The modules named ``prepare...`` are the only ones of this room that look for faces; training reads what they
wrote. MediaPipe is imported when first needed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from lia_live.errors import ConfigError, MediaError
from lia_live.train.portraits import join
from lia_live.train.prepare_clips import prepare_clip, prepare_pieces
from lia_live.train.prepare_config import ClipConfig, PrepareConfig
from lia_live.train.prepare_finder import LandmarkFinder
from lia_live.train.prepare_inputs import Item, find_items, hash_of
from lia_live.train.prepare_output import OutputFolder
from lia_live.train.prepare_page import write_page
from lia_live.train.prepare_portrait import prepare_portrait
from lia_live.train.prepare_report import PrepareReport
from lia_live.train.prepare_worker import Worker

__all__ = [
    "ClipConfig",
    "LandmarkFinder",
    "PrepareConfig",
    "PrepareReport",
    "join",
    "prepare_clip",
    "prepare_folder",
    "prepare_pieces",
    "prepare_portrait",
]


def prepare_folder(
    source: str | Path,
    out: str | Path,
    config: PrepareConfig | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> PrepareReport:
    """Prepare every picture and video under ``source`` into the folder ``out``; returns what happened to each.

    ``out`` holds shards of portraits and clips, report.json and report.html; ``Prepared.load`` reads it once it is
    finished. An unfinished one of the same input, wherever it lies now, and settings is gone on with.
    ``progress`` is told how many of how many files are done; as soon as ``stop`` answers true, what is done is
    written and the report says unfinished. Raises ``MediaError`` if there is nothing to use or too much cannot be
    read, ``ConfigError`` if ``out`` is finished, in use or somebody else's, ``StorageError`` if it cannot be
    written.
    """
    source, out, config = Path(source), Path(out), config or PrepareConfig()
    if out.resolve() == source.resolve():
        raise ConfigError(f"{out} is read and written at once", "name another folder to write")
    items = find_items(source, config)
    settings = json.loads(json.dumps(asdict(config)))
    report = PrepareReport(source.resolve().name, settings, items=hash_of(items))
    limit = config.shard_mb * 2**20
    with OutputFolder(out, report, limit, config.store) as folder, LandmarkFinder() as finder:
        began = time.monotonic() - report.seconds
        worker = Worker(config, finder, folder)
        done = {entry.source for entry in report.entries}
        left = [item for item in items if item.name not in done]
        for number, item in enumerate(left):
            if progress is not None:
                progress(len(items) - len(left) + number, len(items))
            if stop is not None and stop():
                report.seconds = time.monotonic() - began
                folder.close(finished=False, stopped="interrupted")
                return report
            worker.prepare(item)
            if report.bad > config.max_bad * len(items):
                break
        report.seconds = time.monotonic() - began
        trouble = _trouble(report, items, config)
        folder.close(finished=trouble is None, stopped=trouble.message if trouble else "")
        write_page(report, source, out)
        if trouble is not None:
            raise trouble
        if progress is not None:
            progress(len(items), len(items))
    return report


def _trouble(report: PrepareReport, items: list[Item], config: PrepareConfig) -> MediaError | None:
    """What forbids to train on this."""
    if report.bad > config.max_bad * len(items):
        first = next(entry for entry in report.entries if entry.outcome == "unreadable")
        return MediaError(
            f"already {report.bad} of {len(items)} files in {report.input} cannot be read, {first.name} for one "
            f"({first.reason.partition(':')[2].strip()})",
            "report.html lists them: remove or replace them and prepare again",
        )
    if not report.kept:
        why = ", ".join(f"{kind} ({count})" for kind, count in list(report.reasons().items())[:3])
        return MediaError(
            f"no usable portrait or clip in {report.input}: {why}",
            "each needs one face, large enough, with some room around the head; report.html shows them",
        )
    return None
