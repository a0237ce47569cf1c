"""Which clips there are to measure on: videos, and folders that hold a clip's frames as pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from lia_live.errors import LiaLiveError, MediaError, StorageError
from lia_live.frame import Frame
from lia_live.io.names import NaturalKey, natural
from lia_live.io.stills import is_picture
from lia_live.io.video import VideoReader, check_file

VIDEOS: Final = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv")
PICTURES: Final = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
FRAMES_FPS: Final = 25.0
"""The rate at which frames in a folder are taken to follow each other, as in the common data sets."""
MAX_SIDE: Final = 1280
"""Larger pictures are shrunk on the way in: a face that fills a quarter of them still has 256 pixels and more."""


@dataclass(frozen=True)
class Clip:
    """A video, or a folder of frames. Read from its beginning as often as needed, never held as a whole."""

    path: Path
    label: str = ""

    @property
    def name(self) -> str:
        """For tables: the label, or the file's or folder's name without its ending."""
        return self.label or (self.path.stem if self.path.is_file() else self.path.name)

    def frames(self, limit: int) -> Iterator[Frame]:
        """The first ``limit`` frames, times in seconds from 0. Raises ``MediaError``, ``StorageError``."""
        if self.path.is_dir():
            yield from _still_frames(self.path, limit)
            return
        check_file(str(self.path))
        if is_picture(str(self.path)):
            raise MediaError(
                f"{self.path.name} is a picture, not a clip", "put a clip's frames in a folder"
            )
        with VideoReader(self.path, max_side=MAX_SIDE) as reader:
            yield from islice(reader, limit)


@dataclass(frozen=True)
class Skipped:
    """Something that was given and could not be used, and why."""

    name: str
    reason: str

    @classmethod
    def because(cls, name: str, error: LiaLiveError) -> Skipped:
        """From what went wrong."""
        return cls(name, error.message)


def find_clips(paths: list[Path]) -> tuple[list[Clip], list[Skipped]]:
    """The clips that ``paths`` name: files, folders of frames, folders of either; and what is no clip.

    Nothing is decoded yet. Raises ``MediaError`` where a path is not there.
    """
    clips: list[Clip] = []
    skipped: list[Skipped] = []
    for path in paths:
        if not path.exists():
            raise MediaError(f"there is no file or folder {path}", "check the path")
        if not path.is_dir():
            clips.append(Clip(path))
            continue
        for inside in sorted(path.iterdir(), key=_by_name):
            if inside.name.startswith("."):
                continue
            if inside.is_dir() or inside.suffix.lower() in VIDEOS:
                clips.append(Clip(inside))
            elif inside.suffix.lower() in PICTURES:
                skipped.append(
                    Skipped(inside.name, "a picture: a clip's frames go in a folder of their own")
                )
            else:
                skipped.append(Skipped(inside.name, "not a video by its name"))
    return _told_apart(clips), skipped


def find_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder, or the one that is named, in natural order. Raises ``MediaError`` for none."""
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise MediaError(f"there is no folder {folder}", "check the path after --portraits")
    found = [path for path in folder.iterdir() if path.suffix.lower() in PICTURES]
    if not found:
        raise MediaError(
            f"{folder} is a folder without pictures", "name a folder of .png or .jpg portraits"
        )
    return sorted(found, key=_by_name)


def _told_apart(clips: list[Clip]) -> list[Clip]:
    """Clips of one name get a number: tables and groups go by names."""
    seen: Counter[str] = Counter()
    labelled = []
    for clip in clips:
        seen[clip.name] += 1
        again = seen[clip.name]
        labelled.append(Clip(clip.path, f"{clip.name} ({again})") if again > 1 else clip)
    return labelled


def _still_frames(folder: Path, limit: int) -> Iterator[Frame]:
    from lia_live.avatar.picture import read_picture

    try:
        files = [path for path in folder.iterdir() if path.suffix.lower() in PICTURES]
    except OSError as error:
        raise StorageError(f"{folder} may not be read", "change its permissions") from error
    if not files:
        raise MediaError(
            f"{folder.name} is a folder without pictures", "put a clip's frames in it, or a video"
        )
    shape: tuple[int, ...] | None = None
    for number, path in enumerate(sorted(files, key=_by_name)[:limit]):
        pixels = read_picture(path)
        if shape is not None and pixels.shape != shape:
            raise MediaError(
                f"the frames in {folder.name} are not all of one size ({path.name} differs)",
                "one clip a folder",
            )
        shape = pixels.shape
        yield Frame(pixels, number / FRAMES_FPS, number)


def _by_name(path: Path) -> NaturalKey:
    return natural(path.name)
