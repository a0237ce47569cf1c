"""One picture or video after the other: read, prepared, compared with what was kept, handed to the folder."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import torch
from torch import Tensor

from lia_live.avatar.picture import decode_picture
from lia_live.errors import LiaLiveError, MediaError
from lia_live.frame import Pixels
from lia_live.io.stills import is_picture
from lia_live.train.clips import Clips
from lia_live.train.portraits import Portraits
from lia_live.train.prepare_clips import prepare_shots
from lia_live.train.prepare_config import PrepareConfig
from lia_live.train.prepare_duplicates import CLIP_BITS, CLIP_FRAMES, PICTURE_BITS, Seen, key_of
from lia_live.train.prepare_finder import LandmarkFinder
from lia_live.train.prepare_frames import FolderFrames, FrameSource, VideoFrames
from lia_live.train.prepare_inputs import Item, frames_of, is_heic
from lia_live.train.prepare_output import OutputFolder
from lia_live.train.prepare_portrait import prepare_portrait
from lia_live.train.prepare_report import Entry, Sort

HEIC: Final = "HEIC pictures are not decoded, convert them to JPEG"


class Worker:
    """Remembers what was kept, also by an earlier run. One thread."""

    def __init__(self, config: PrepareConfig, finder: LandmarkFinder, folder: OutputFolder) -> None:
        self._config = config
        self._finder = finder
        self._folder = folder
        self._pictures, self._clips = Seen(PICTURE_BITS), Seen(CLIP_BITS)
        for entry in folder.report.entries:
            if entry.outcome == "kept":
                key = np.frombuffer(bytes.fromhex(entry.key), np.uint8).reshape(-1, 64)
                seen = self._pictures if entry.sort == "portrait" else self._clips
                seen.add(entry.name, key, max(1, entry.frames))

    def prepare(self, item: Item) -> None:
        """What is wrong with ``item`` becomes an entry. Raises ``StorageError`` if the result cannot be written."""
        if item.kind == "picture":
            entry, portrait = self._portrait(item)
            self._folder.add_portrait([entry], [] if portrait is None else [portrait])
        else:
            self._folder.add_clips(*self._video(item))

    def _portrait(self, item: Item) -> tuple[Entry, Portraits | None]:
        entry = _entry(item, "portrait")
        try:
            picture = decode_picture(item.path)
        except LiaLiveError as error:
            if is_heic(item.path):  # sound as it is, so it says nothing about the copy
                return replace(entry, reason=HEIC), None
            return _unreadable(entry, item, error), None
        if picture.notes:
            return replace(entry, reason="an animation, not a portrait"), None
        try:
            one = prepare_portrait(picture.pixels, self._config, self._finder, item.name)
        except MediaError as error:
            return replace(entry, reason=error.message), None
        key = key_of([_pixels(one.images[0])])
        twin = self._pictures.find(key)
        if twin is not None:
            return replace(entry, reason=f"same picture twice: {twin}"), None
        self._pictures.add(item.name, key)
        held_out = torch.tensor([item.held_out])
        kept = replace(entry, outcome="kept", key=key.tobytes().hex())
        return kept, replace(one, groups=(item.group,), held_out=held_out)

    def _video(self, item: Item) -> tuple[list[Entry], list[Clips]]:
        entry = _entry(item, "clip")
        try:
            shots = prepare_shots(
                _opened(item, self._config), item.name, self._config, self._finder
            )
        except LiaLiveError as error:
            return [_unreadable(entry, item, error)], []
        entries = [replace(entry, name=n, reason=r) for n, r in shots.dropped.items()]
        kept: list[Clips] = []
        for clip in shots.clips:
            name, frames = clip.names[0], len(clip.frames)
            places = np.linspace(0, frames - 1, CLIP_FRAMES).round().astype(int)
            key = key_of([_pixels(clip.frames[at]) for at in places.tolist()])
            about = replace(
                entry,
                name=name,
                frames=frames,
                fps=float(clip.fps[0]),
                motion=round(float(clip.motion()[0]), 4),
            )
            twin = self._clips.find(key, frames)
            if twin is not None:
                entries.append(replace(about, reason=f"same clip twice: {twin}"))
                continue
            self._clips.add(name, key, frames)
            entries.append(replace(about, outcome="kept", key=key.tobytes().hex()))
            held_out = torch.tensor([item.held_out])
            kept.append(replace(clip, groups=(item.group,), held_out=held_out))
        return entries, kept


def _opened(item: Item, config: PrepareConfig) -> FrameSource:
    """Raises ``LiaLiveError`` if it is no video."""
    if item.kind == "frames":
        return FolderFrames(frames_of(item.path), config.clips)
    if is_picture(str(item.path)) or is_heic(
        item.path
    ):  # FFmpeg would play it as a very short film
        raise MediaError("a picture with the name of a video", "give it its own name")
    return VideoFrames(item.path, config.clips)


def _entry(item: Item, sort: Sort) -> Entry:
    return Entry(item.name, item.name, sort, "dropped", held_out=item.held_out, group=item.group)


def _unreadable(entry: Entry, item: Item, error: LiaLiveError) -> Entry:
    """The message without the path, which stands beside it."""
    reason = error.message
    for name in (str(item.path), item.path.name):
        reason = reason.removeprefix(f"{name} ").replace(f" {name}", "")
    return replace(entry, outcome="unreadable", reason=f"not readable: {reason}")


def _pixels(picture: Tensor) -> Pixels:
    """(3, P, P) uint8 -> (P, P, 3)."""
    return np.ascontiguousarray(picture.permute(1, 2, 0).numpy())
