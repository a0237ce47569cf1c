"""Prepared portraits: cropped pictures with their landmarks, in one safetensors file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from lia_live.errors import MediaError
from lia_live.train.prepared_file import Store, packed, read_prepared, write_prepared

FORMAT: Final = "lia-live portraits 1"


@dataclass(frozen=True)
class Portraits:
    """N portraits in one framing. Held in memory; 1,500 of them at 320 px are 460 MB."""

    images: Tensor
    """(N, 3, P, P) uint8 RGB."""
    landmarks: Tensor
    """(N, 478, 3) float32: x right, y down in pixels of ``images``, z away from the viewer, same unit."""
    names: tuple[str, ...]
    """File names, with the folders between them and the one that was prepared."""
    groups: tuple[str, ...]
    """Licence group of each ("P1", "P2", "P3"), "" where nobody said."""
    held_out: Tensor
    """(N,) bool: never trained on."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def side(self) -> int:
        """Side P of the pictures in pixels."""
        return int(self.images.shape[-1])

    def select(self, index: Tensor) -> Portraits:
        """The portraits at ``index`` (int64) or where ``index`` is true (bool), in that order."""
        if index.dtype == torch.bool:
            index = index.nonzero().flatten()
        index = index.cpu()
        return Portraits(
            self.images[index],
            self.landmarks[index],
            tuple(self.names[i] for i in index.tolist()),
            tuple(self.groups[i] for i in index.tolist()),
            self.held_out[index],
        )

    def in_groups(self, *groups: str) -> Tensor:
        """(N,) bool: which portraits belong to one of the licence groups."""
        return torch.tensor([group in groups for group in self.groups], dtype=torch.bool)

    def save(self, path: str | Path, store: Store = "raw") -> None:
        """Write everything to one safetensors file. Raises ``StorageError``."""
        words = {"names": self.names, "groups": self.groups, "side": self.side}
        tensors = {
            **packed("images", self.images, store),
            "landmarks": self.landmarks,
            "held_out": self.held_out.to(torch.uint8),
        }
        write_prepared(path, FORMAT, tensors, words)

    @staticmethod
    def load(path: str | Path) -> Portraits:
        """Read a file written by ``save``. Raises ``MediaError`` for anything else."""
        tensors, words = read_prepared(path, FORMAT, "images")
        try:
            portraits = Portraits(
                tensors["images"],
                tensors["landmarks"],
                tuple(words["names"]),
                tuple(words["groups"]),
                tensors["held_out"].bool(),
            )
        except (KeyError, TypeError) as error:
            raise MediaError(
                f"{path}: {error} is missing or wrong", "prepare the portraits again"
            ) from error
        portraits.check(str(path))
        return portraits

    def check(self, origin: str = "portraits") -> None:
        """Raises ``MediaError`` if shapes or kinds are not those of the fields above."""
        count = len(self.names)
        fits = (
            self.images.dtype == torch.uint8
            and self.images.dim() == 4
            and self.images.shape == (count, 3, self.side, self.side)
            and self.landmarks.dtype == torch.float32
            and self.landmarks.shape == (count, 478, 3)
            and bool(torch.isfinite(self.landmarks).all())
            and self.held_out.dtype == torch.bool
            and self.held_out.shape == (count,)
            and len(self.groups) == count
        )
        if not fits:
            hint = "prepare the portraits again"
            raise MediaError(f"{origin}: the tensors do not fit together", hint)


def join(parts: Sequence[Portraits]) -> Portraits:
    """Several sets of one picture size as one. Raises ``MediaError`` if the sizes differ."""
    if len({part.side for part in parts}) != 1:
        raise MediaError(
            f"portraits of {sorted({part.side for part in parts})} pixels cannot be joined",
            "prepare them in one run, or with one --side",
        )
    if len(parts) == 1:
        return parts[0]
    return Portraits(
        torch.cat([p.images for p in parts]),
        torch.cat([p.landmarks for p in parts]),
        tuple(name for p in parts for name in p.names),
        tuple(group for p in parts for group in p.groups),
        torch.cat([p.held_out for p in parts]),
    )
