"""Prepared clips: real faces in motion, each in one square that stands still, with landmarks of every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from lia_live.errors import MediaError
from lia_live.train.prepared_file import Store, packed, read_prepared, write_prepared

FORMAT: Final = "lia-live clips 1"


@dataclass(frozen=True)
class Clips:
    """C clips, F frames in all. Held in memory; a minute at 12.5 frames a second and 256 px is 147 MB.

    The square of a clip stands still and the head moves inside it, as in VoxCeleb prepared for FOMM.
    """

    frames: Tensor
    """(F, 3, P, P) uint8 RGB, clip after clip."""
    landmarks: Tensor
    """(F, 478, 3) float32: x right, y down in pixels of ``frames``, z away from the viewer, same unit."""
    starts: Tensor
    """(C + 1,) int64: clip c is ``frames[starts[c]:starts[c + 1]]``; never empty."""
    fps: Tensor
    """(C,) float32: frames a second of each, > 0."""
    names: tuple[str, ...]
    """File or folder names; "#2" is the second clip that was cut out of one video."""
    groups: tuple[str, ...]
    """Licence group of each, "" where nobody said."""
    held_out: Tensor
    """(C,) bool: never trained on."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def side(self) -> int:
        """Side P of the frames in pixels."""
        return int(self.frames.shape[-1])

    @property
    def lengths(self) -> Tensor:
        """(C,) int64: frames of each clip."""
        return self.starts[1:] - self.starts[:-1]

    def select(self, index: Tensor) -> Clips:
        """The clips at ``index`` (int64) or where ``index`` is true (bool), in that order."""
        if index.dtype == torch.bool:
            index = index.nonzero().flatten()
        index = index.cpu()
        spans = [(int(self.starts[i]), int(self.starts[i + 1])) for i in index.tolist()]
        at = torch.cat([torch.arange(0), *(torch.arange(first, last) for first, last in spans)])
        return Clips(
            self.frames[at],
            self.landmarks[at],
            starts_of([last - first for first, last in spans]),
            self.fps[index],
            tuple(self.names[i] for i in index.tolist()),
            tuple(self.groups[i] for i in index.tolist()),
            self.held_out[index],
        )

    def in_groups(self, *groups: str) -> Tensor:
        """(C,) bool: which clips belong to one of the licence groups."""
        return torch.tensor([group in groups for group in self.groups], dtype=torch.bool)

    def motion(self) -> Tensor:
        """(C,) float32: how much moves in each clip, in eye distances.

        Root mean square over frames and points of how far a landmark is from its own mean over the clip.
        Somebody who sits still and talks has 0.02 to 0.04, somebody who nods and turns 0.06 to 0.25.
        """
        out = torch.zeros(len(self))
        for number in range(len(self)):
            points = self.landmarks[self.starts[number] : self.starts[number + 1], :468]
            eyes = (points[:, 263] - points[:, 33]).norm(dim=1).median().clamp(min=1e-3)
            away = (points - points.mean(0))[..., :2] / eyes
            out[number] = away.square().sum(2).mean().sqrt()
        return out

    def save(self, path: str | Path, store: Store = "raw") -> None:
        """Write everything to one safetensors file. Raises ``StorageError``."""
        words = {"names": self.names, "groups": self.groups, "side": self.side}
        tensors = {
            **packed("frames", self.frames, store),
            "landmarks": self.landmarks,
            "starts": self.starts,
            "fps": self.fps,
            "held_out": self.held_out.to(torch.uint8),
        }
        write_prepared(path, FORMAT, tensors, words)

    @staticmethod
    def load(path: str | Path) -> Clips:
        """Read a file written by ``save``. Raises ``MediaError`` for anything else."""
        tensors, words = read_prepared(path, FORMAT, "frames")
        try:
            clips = Clips(
                tensors["frames"],
                tensors["landmarks"],
                tensors["starts"],
                tensors["fps"],
                tuple(words["names"]),
                tuple(words["groups"]),
                tensors["held_out"].bool(),
            )
        except (KeyError, TypeError) as error:
            raise MediaError(
                f"{path}: {error} is missing or wrong", "prepare the clips again"
            ) from error
        clips.check(str(path))
        return clips

    def check(self, origin: str = "clips") -> None:
        """Raises ``MediaError`` if shapes or kinds are not those of the fields above."""
        count, frames = len(self.names), len(self.frames)
        fits = (
            self.frames.dtype == torch.uint8
            and self.frames.dim() == 4
            and self.frames.shape == (frames, 3, self.side, self.side)
            and self.landmarks.dtype == torch.float32
            and self.landmarks.shape == (frames, 478, 3)
            and bool(torch.isfinite(self.landmarks).all())
            and self.starts.dtype == torch.int64
            and self.starts.shape == (count + 1,)
            and int(self.starts[0]) == 0
            and int(self.starts[-1]) == frames
            and bool((self.lengths > 0).all())
            and self.fps.dtype == torch.float32
            and self.fps.shape == (count,)
            and bool((torch.isfinite(self.fps) & (self.fps > 0)).all())
            and self.held_out.dtype == torch.bool
            and self.held_out.shape == (count,)
            and len(self.groups) == count
        )
        if not fits:
            hint = "prepare the clips again"
            raise MediaError(f"{origin}: the tensors do not fit together", hint)


def starts_of(lengths: Sequence[int]) -> Tensor:
    """(C + 1,) int64: where clips of these lengths begin, and where the last one ends."""
    return torch.tensor([0, *lengths], dtype=torch.int64).cumsum(0)


def join(parts: Sequence[Clips]) -> Clips:
    """Several sets of one frame size as one. Raises ``MediaError`` if the sizes differ."""
    if len({part.side for part in parts}) != 1:
        raise MediaError(
            f"clips of {sorted({part.side for part in parts})} pixels cannot be joined",
            "prepare them in one run, or with one --clip-side",
        )
    if len(parts) == 1:
        return parts[0]
    return Clips(
        torch.cat([p.frames for p in parts]),
        torch.cat([p.landmarks for p in parts]),
        starts_of([length for p in parts for length in p.lengths.tolist()]),
        torch.cat([p.fps for p in parts]),
        tuple(name for p in parts for name in p.names),
        tuple(group for p in parts for group in p.groups),
        torch.cat([p.held_out for p in parts]),
    )
