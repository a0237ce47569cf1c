"""What lies in the input folder: pictures, videos, folders of frames; told apart by what they are, not by name."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np

from lia_live.avatar.picture import HEIC_BRANDS, read_picture
from lia_live.errors import LiaLiveError, MediaError, StorageError
from lia_live.frame import Pixels
from lia_live.io.names import natural
from lia_live.io.stills import is_picture
from lia_live.train.prepare_config import PrepareConfig
from lia_live.train.prepare_names import PICTURES, VIDEOS
from lia_live.train.prepare_split import held_out

Kind = Literal["picture", "video", "frames"]
NEIGHBOURS: Final = 20.0
"""Two frames of a video in a row differ by less than this on average (32 x 32, grey levels of 255): 12 clips
stay below 2, at a fifth of their rate below 6, 1,500 portraits in one framing above 37 (medians)."""
_LOOKS: Final = 5
"""So many neighbours of a folder are compared."""
_FOLDERS: Final = 12
"""... in so many folders side by side."""
TABLE: Final = "index.csv"
_NUMBERED: Final = re.compile(r"\D*\d+")
_MAGIC: Final = (b"\x1aE\xdf\xa3", b"\x00\x00\x01\xba", b"FLV", b"OggS", b"GIF8")


@dataclass(frozen=True)
class Item:
    """One thing to prepare."""

    name: str
    """Path inside the input folder, with / between its parts."""
    path: Path
    kind: Kind
    held_out: bool
    group: str
    """Licence group, "" where nobody said."""


def find_items(source: Path, config: PrepareConfig) -> list[Item]:
    """Everything to prepare under ``source`` (or ``source`` itself, a file), in the order of names, 2 before 10.

    Other files (text, tables) are passed over, hidden ones too. Raises ``MediaError`` if there is nothing and
    ``ConfigError`` if ``config.held_out`` names what is not there.
    """
    if not source.exists():
        raise MediaError(f"there is no folder {source}", "check the path")
    whole = source.is_dir() and bool(_frame_folders([source]))
    every: list[tuple[Path, Kind | None]]
    if whole:
        every = [(source, "frames")]
    else:
        every = list(_media(source)) if source.is_dir() else [(source, _kind(source))]
    found = [(path, kind) for path, kind in every if kind is not None]
    root = source if source.is_dir() and not whole else source.parent
    tables = [path for path, _ in every if path.name == TABLE]
    groups = _groups(source, tables) if source.is_dir() else {}
    names = [path.relative_to(root).as_posix() for path, _ in found]
    paths = [f"{n}/" if kind == "frames" else n for n, (_, kind) in zip(names, found, strict=True)]
    held = held_out(paths, config)
    items = []
    for name, full, (path, kind) in zip(names, paths, found, strict=True):
        group = groups.get(name, groups.get(path.name, config.group))
        items.append(Item(name, path, kind, full in held, group))
    if not items:
        raise MediaError(
            f"no pictures and no videos in {source}",
            "give a folder of portraits (JPEG, PNG, WebP), of videos, or of folders of frames",
        )
    return items


def hash_of(items: Sequence[Item]) -> str:
    """Of everything about ``items`` but where they lie, in hexadecimal."""
    rows = [[item.name, item.kind, item.held_out, item.group] for item in items]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _media(folder: Path) -> Iterator[tuple[Path, Kind | None]]:
    """Files and folders of frames in the order of their names; each real folder once, links followed."""
    seen: set[str] = set()
    for where, folders, files in os.walk(folder, followlinks=True, onerror=_not_readable):
        real = os.path.realpath(where)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        here = Path(where)
        folders[:] = sorted((f for f in folders if not f.startswith(".")), key=natural)
        videos = _frame_folders([here / name for name in folders])
        folders[:] = [name for name in folders if here / name not in videos]
        for path in sorted(videos, key=lambda path: natural(path.name)):
            yield path, "frames"
        for name in sorted(files, key=natural):
            if not name.startswith("."):
                yield here / name, _kind(here / name)


def _kind(path: Path) -> Kind | None:
    """What a file is, None for neither picture nor video. A wrong name is found out when it is opened."""
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        return "picture"
    if suffix in VIDEOS:
        return "video"
    if not path.is_file():
        return None
    if is_picture(str(path)) or is_heic(path):
        return "picture"
    return "video" if looks_like_video(path) else None


def looks_like_video(path: Path) -> bool:
    """True if the first bytes are those of a common video format. The name does not matter."""
    head = _head(path)
    return (
        head[4:8] == b"ftyp"
        or head.startswith(_MAGIC)
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
    )


def is_heic(path: Path) -> bool:
    """True if the first bytes are those of a HEIC picture, which is not decoded. The name does not matter."""
    head = _head(path)
    return head[4:8] == b"ftyp" and head[8:12] in HEIC_BRANDS


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError:
        return b""


def frames_of(folder: Path) -> list[Path]:
    """The pictures of a folder that holds nothing but numbered pictures, in the order of time; else nothing."""
    try:
        inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError:
        return []
    if not all(p.suffix.lower() in PICTURES and _NUMBERED.fullmatch(p.stem) for p in inside):
        return []
    return sorted(inside, key=lambda path: natural(path.name))


def _frame_folders(folders: Sequence[Path]) -> set[Path]:
    """Those of sibling folders that are videos taken apart. Some are looked at; the others are what most of those
    are: a folder with one or two frames says nothing by itself, and 20,000 folders are not all looked at.
    """
    lengths = {folder: len(frames_of(folder)) for folder in folders}
    long = [folder for folder, length in lengths.items() if length > 2]
    chosen = np.linspace(0, len(long) - 1, min(len(long), _FOLDERS)).round().astype(int)
    looked_at = {long[at]: _is_moving(frames_of(long[at])) for at in chosen.tolist()}
    most = sum(looked_at.values()) * 2 > len(looked_at)
    return {folder for folder, length in lengths.items() if length and looked_at.get(folder, most)}


def _is_moving(frames: Sequence[Path]) -> bool:
    """Do neighbours look alike, as frames of a video do and portraits of people do not?"""
    places = np.linspace(0, len(frames) - 2, min(_LOOKS, len(frames) - 1)).astype(int)
    apart = []
    for place in places.tolist():
        try:
            one, other = (_small(read_picture(frames[place + step])) for step in (0, 1))
        except LiaLiveError:
            continue
        apart.append(float(np.abs(one - other).mean()))
    return bool(apart) and float(np.median(apart)) < NEIGHBOURS


def _small(pixels: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA), np.float32)


def _groups(folder: Path, tables: Sequence[Path]) -> dict[str, str]:
    """Name inside ``folder`` (or file name) -> licence group, from the ``tables`` in it and the one beside it.

    Such a table has columns ``file`` and either ``group`` or ``repo``; the second gives P1, P2, ... in the order in
    which the origins first appear.
    """
    found: dict[str, str] = {}
    for table in [folder.parent / TABLE, *tables]:
        if not table.is_file():
            continue
        try:
            with table.open(newline="", encoding="utf-8-sig") as text:
                rows = list(csv.DictReader(text))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise MediaError(f"{table} cannot be read: {error}", "save it as UTF-8 CSV") from error
        origins = list(dict.fromkeys(row["repo"] for row in rows if row.get("repo")))
        inside = (
            table.parent.relative_to(folder).as_posix() if table.parent != folder.parent else "."
        )
        for row in rows:
            file, group = row.get("file"), row.get("group")
            if not group and row.get("repo"):
                group = f"P{origins.index(row['repo']) + 1}"
            if file and group:
                found[file if inside == "." else f"{inside}/{file}"] = group
    return found


def _not_readable(error: OSError) -> None:
    raise StorageError(
        f"{error.filename} may not be read ({error.strerror})", "change its permissions"
    ) from error
