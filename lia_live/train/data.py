"""Prepared data made ready for a run: who performs, which clips are drawn from, what it is measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
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
from lia_live.train.variety import with_variants


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
    def of(
        prepared: Prepared,
        device: torch.device | str = "cpu",
        variants: int = 1,
        groups: Sequence[str] = (),
    ) -> Data:
        """Split by what is held out; ``variants`` and ``groups`` as in ``TrainConfig``.

        Raises ``MediaError`` if nothing is left to train on, or a group is not there.
        """
        check_groups(prepared, groups)
        portraits, films = prepared.portraits, prepared.clips
        performer = held_performer = None
        if portraits is not None:
            taught = portraits.select(trained_on(portraits, groups))
            performer = _performer(with_variants(taught, variants), device)
            held_performer = _performer(portraits.select(portraits.held_out), device)
        drawn = held_clips = None
        if films is not None:
            drawn = _clip_pairs(films, trained_on(films, groups), device)
            held_clips = _clip_pairs(films, films.held_out, device)
        if performer is None and drawn is None:
            chosen = f"in groups {', '.join(map(repr, groups))}" if groups else "in this data"
            raise MediaError(
                f"nothing to train on: everything {chosen} is held out",
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


def trained_on(part: Portraits | Clips, groups: Sequence[str]) -> Tensor:
    """(N,) bool: which of them are trained on: not held out, and in ``groups`` where any are named."""
    free = ~part.held_out
    return (free & part.in_groups(*groups)) if groups else free


def check_groups(prepared: Prepared, groups: Sequence[str]) -> None:
    """Raises ``MediaError`` if one of ``groups`` is not in the data: what a misspelt one meant would be left out."""
    parts = [part for part in (prepared.portraits, prepared.clips) if part is not None]
    known = sorted({group for part in parts for group in part.groups})
    missing = [group for group in groups if group not in known]
    if missing:
        raise MediaError(
            f"nothing in this data belongs to group {', '.join(map(repr, missing))}",
            f"its groups are {', '.join(map(repr, known))}",
        )


def _performer(portraits: Portraits, device: torch.device | str) -> Performer | None:
    return Performer(portraits, device, looks=True) if len(portraits) else None


def _clip_pairs(clips: Clips, chosen: Tensor, device: torch.device | str) -> ClipPairs | None:
    return ClipPairs(clips.select(chosen), device) if bool(chosen.any()) else None


def _of_clips(clips: ClipPairs) -> MakePairs:
    """Pairs of every clip in turn."""

    def make(part: int, generator: torch.Generator, size: int) -> Pairs:
        index = torch.arange(part * measure.BATCH, (part + 1) * measure.BATCH) % len(clips)
        return clips.pairs(index, generator, size)

    return make
