"""Prepared data made ready for a run: who performs, which clips are drawn from, what it is measured on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from lia_live.errors import MediaError
from lia_live.train import measure
from lia_live.train.clip_pairs import ClipPairs
from lia_live.train.clips import Clips
from lia_live.train.measure import MakePairs
from lia_live.train.pairs import Pairs
from lia_live.train.performer import Performer
from lia_live.train.portraits import Portraits
from lia_live.train.prepared import Prepared


@dataclass(frozen=True)
class Data:
    """What one run trains and measures on, on its device."""

    performer: Performer | None
    """The portraits that are trained on; None where there are none."""
    clips: ClipPairs | None
    """The clips that are trained on."""
    held_out: MakePairs | None
    """Pairs that are never trained on; None where nothing was held out."""
    fingerprint: str
    """Of all pictures and names, in their order: a resumed run must find the same."""

    @staticmethod
    def of(prepared: Prepared, device: torch.device | str = "cpu") -> Data:
        """Split by what is held out. Raises ``MediaError`` if nothing is left to train on."""
        portraits, films = prepared.portraits, prepared.clips
        performer = held_performer = None
        if portraits is not None:
            performer = _performer(portraits.select(~portraits.held_out), device)
            held_performer = _performer(portraits.select(portraits.held_out), device)
        drawn = _clip_pairs(films, False, device)
        held_clips = _clip_pairs(films, True, device)
        if performer is None and drawn is None:
            raise MediaError(
                "nothing to train on: everything in this data is held out",
                "prepare more pictures, or hold out fewer (--held-out-every)",
            )
        held_out: MakePairs | None = None
        if held_performer is not None:
            held_out = measure.performed(held_performer)
        elif held_clips is not None:
            held_out = _of_clips(held_clips)
        return Data(performer, drawn, held_out, fingerprint(prepared))


def fingerprint(prepared: Prepared) -> str:
    """16 hex digits that name this very data."""
    digest = hashlib.sha256()
    for part, pictures in (
        (prepared.portraits, "images"),
        (prepared.clips, "frames"),
    ):
        if part is None:
            continue
        digest.update(repr((part.names, part.held_out.tolist())).encode())
        # a sample of every picture: reading half a gigabyte at each start would be slow
        pixels: Tensor = getattr(part, pictures)
        digest.update(pixels[:, :, ::16, ::16].contiguous().numpy().tobytes())
        digest.update(part.landmarks.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _performer(portraits: Portraits, device: torch.device | str) -> Performer | None:
    return Performer(portraits, device) if len(portraits) else None


def _clip_pairs(
    clips: Clips | None, held_out: bool, device: torch.device | str
) -> ClipPairs | None:
    if clips is None or not bool((clips.held_out == held_out).any()):
        return None
    return ClipPairs(clips.select(clips.held_out == held_out), device)


def _of_clips(clips: ClipPairs) -> MakePairs:
    """Pairs of every clip in turn."""

    def make(part: int, generator: torch.Generator, size: int) -> Pairs:
        index = torch.arange(part * measure.BATCH, (part + 1) * measure.BATCH) % len(clips)
        return clips.pairs(index, generator, size)

    return make
