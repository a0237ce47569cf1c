"""report.html: counts, reasons, and sheets of what was kept and of what was not, to be looked at before training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import torch

from lia_live.avatar.picture import read_picture
from lia_live.errors import LiaLiveError
from lia_live.evaluate import Page
from lia_live.frame import Box, Pixels
from lia_live.io import VideoReader
from lia_live.track import crop_square
from lia_live.train.clips import Clips
from lia_live.train.portraits import Portraits
from lia_live.train.prepare_inputs import frames_of
from lia_live.train.prepare_output import PAGE
from lia_live.train.prepare_report import MOVING, Entry, PrepareReport, Sort

T = TypeVar("T")

THUMBNAIL: Final = 112
"""Side of the pictures in the sheets, pixels."""
ROW: Final = 10
"""Pictures in a row."""
KEPT_ROWS: Final = 6
HELD_ROWS: Final = 2
CLIPS: Final = 24
"""So many clips are shown, each by three frames."""
DROPPED: Final = 10
"""Pictures for each kind of reason."""
LABEL: Final = 12
"""Longest label, letters."""
LISTED: Final = 500
"""Rows of the longest tables; report.json lists everything."""


def write_page(report: PrepareReport, source: Path, folder: Path) -> None:
    """Write report.html into the prepared ``folder``; ``source`` is what was prepared. Raises ``StorageError``."""
    page = Page("Prepared training data", f"{report.input}, {report.seconds:.0f} s")
    if not report.finished:
        page.paragraph(f"Not finished: {report.stopped or 'interrupted'}.")
    for words in report.warnings():
        page.paragraph(f"Warning: {words}.")
    _counts(page, report)
    _kept_portraits(page, report, folder)
    _kept_clips(page, report, folder)
    _dropped(page, report, source)
    page.save(folder / PAGE)


def _counts(page: Page, report: PrepareReport) -> None:
    rows: list[list[str | float | None]] = []
    for sort in ("portrait", "clip"):
        every = [entry for entry in report.entries if entry.sort == sort]
        for group in sorted({entry.group for entry in every}):
            here = [entry for entry in every if entry.group == group]
            kept = [entry for entry in here if entry.outcome == "kept"]
            held = sum(entry.held_out for entry in kept)
            bad = sum(entry.outcome == "unreadable" for entry in here)
            dropped = len(here) - len(kept) - bad
            rows.append([f"{sort}s", group or "–", len(kept) - held, held, dropped, bad])
    headers = ["what", "group", "for training", "held out", "dropped", "not readable"]
    page.table(headers, rows)
    if report.reasons():
        page.table(["why not", "how often"], [[k, n] for k, n in report.reasons().items()])


def _kept_portraits(page: Page, report: PrepareReport, folder: Path) -> None:
    if not report.of("portrait"):
        return
    page.heading("Portraits")
    train: list[tuple[Pixels, str]] = []
    held: list[tuple[Pixels, str]] = []
    for file in _files(report, folder, "portrait"):
        portraits = Portraits.load(file)
        for number, name in enumerate(portraits.names):
            where = held if portraits.held_out[number] else train
            where.append((_pixels(portraits.images[number]), _label(name)))
    _sheet(page, "for training, evenly chosen", train, KEPT_ROWS * ROW)
    _sheet(page, "held out, evenly chosen", held, HELD_ROWS * ROW)


def _kept_clips(page: Page, report: PrepareReport, folder: Path) -> None:
    kept = report.of("clip")
    if not kept:
        return
    page.heading("Clips")
    page.paragraph(
        "Motion is how far the landmarks are from their mean over the clip (root mean square), in eye distances. "
        f"From {MOVING:g} on the head moves; below, somebody sits still and talks."
    )
    rows: list[list[str | float | None]] = [
        [e.name, e.group or "–", e.frames, e.frames / e.fps, e.fps, round(e.motion, 3),
         "moving" if e.motion >= MOVING else "still", "held out" if e.held_out else "training"]
        for e in kept[:LISTED]
    ]  # fmt: skip
    headers = ["clip", "group", "frames", "seconds", "a second", "motion", "head", "for"]
    page.table(headers, rows, _of(len(rows), len(kept)))
    shown: list[list[tuple[Pixels, str]]] = []
    for file in _files(report, folder, "clip"):
        clips = Clips.load(file)
        for number, name in enumerate(clips.names):
            first, last = int(clips.starts[number]), int(clips.starts[number + 1]) - 1
            held = " (held out)" if clips.held_out[number] else ""
            places = ((first, _label(name) + held), ((first + last) // 2, ""), (last, ""))
            shown.append([(_pixels(clips.frames[at]), label) for at, label in places])
    chosen = _evenly(shown, CLIPS)
    for begin in range(0, len(chosen), ROW // 3):
        row = [one for three in chosen[begin : begin + ROW // 3] for one in three]
        page.strip("" if begin else "first, middle and last frame", *_columns(row))


def _dropped(page: Page, report: PrepareReport, source: Path) -> None:
    left_out = [entry for entry in report.entries if entry.outcome != "kept"]
    if not left_out:
        return
    page.heading("Left out")
    for kind in report.reasons():
        here = [entry for entry in left_out if entry.reason.split(":")[0] == kind]
        pictures: list[tuple[Pixels, str]] = []
        for entry in _evenly(here, 2 * DROPPED):
            thumbnail = _looked_up(source, entry)
            if thumbnail is not None and len(pictures) < DROPPED:
                detail = entry.reason.partition(":")[2].strip()
                pictures.append((thumbnail, f"{_label(entry.name)} {detail}"))
        if pictures:
            page.strip(f"{kind} ({len(here)})", *_columns(pictures))
    rows: list[list[str | float | None]] = [[e.name, e.reason] for e in left_out[:LISTED]]
    page.table(["file", "why"], rows, _of(len(rows), len(left_out)))


def _looked_up(source: Path, entry: Entry) -> Pixels | None:
    """A small picture of what was left out, read again; None where there is nothing to see."""
    path = source / entry.source if source.is_dir() else source
    try:
        if path.is_dir():
            files = frames_of(path)
            return _small(read_picture(files[len(files) // 2]))
        if entry.sort == "portrait":
            return _small(read_picture(path))
        with VideoReader(path, max_side=1024) as reader:
            return next((_small(frame.pixels) for frame in reader), None)
    except (LiaLiveError, OSError, IndexError):
        return None


def _files(report: PrepareReport, folder: Path, sort: Sort) -> Iterator[Path]:
    """Some of the shards, evenly: a page needs a few pictures of each."""
    every = [shard.file for shard in report.shards if shard.sort == sort]
    yield from (folder / file for file in _evenly(every, 6))


def _sheet(page: Page, caption: str, pictures: list[tuple[Pixels, str]], most: int) -> None:
    chosen = _evenly(pictures, most)
    for begin in range(0, len(chosen), ROW):
        page.strip("" if begin else caption, *_columns(chosen[begin : begin + ROW]))


def _columns(pictures: Sequence[tuple[Pixels, str]]) -> tuple[list[Pixels], list[str]]:
    return [_small(one) for one, _ in pictures], [label for _, label in pictures]


def _evenly(values: Sequence[T], most: int) -> list[T]:
    if len(values) <= most:
        return list(values)
    return [values[at] for at in np.linspace(0, len(values) - 1, most).round().astype(int)]


def _small(pixels: Pixels) -> Pixels:
    """The centred square, ``THUMBNAIL`` pixels wide."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    if side == THUMBNAIL == max(height, width):
        return pixels
    return crop_square(pixels, Box.around(width / 2, height / 2, side), THUMBNAIL)


def _pixels(picture: torch.Tensor) -> Pixels:
    """(3, P, P) uint8 -> a small (H, W, 3)."""
    return _small(np.ascontiguousarray(picture.permute(1, 2, 0).numpy()))


def _label(name: str) -> str:
    """The last part of a name, short enough to stand below a thumbnail without making it wider."""
    last = name.rpartition("/")[2]
    return last if len(last) <= LABEL else f"{last[: LABEL - 1]}…"


def _of(shown: int, every: int) -> str:
    return "" if shown == every else f"{shown} of {every}; report.json has all of them"
