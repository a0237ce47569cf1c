"""Prepared portraits: cropped pictures with their landmarks, in one safetensors file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lia_live.errors import MediaError, StorageError

FORMAT = "lia-live portraits 1"


@dataclass(frozen=True)
class Portraits:
    """N portraits in one framing. Held in memory; 1,500 of them at 320 px are 460 MB."""

    images: Tensor
    """(N, 3, P, P) uint8 RGB."""
    landmarks: Tensor
    """(N, 478, 3) float32: x right, y down in pixels of ``images``, z away from the viewer, same unit."""
    names: tuple[str, ...]
    """File names without the folder."""
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
        return torch.tensor([group in groups for group in self.groups])

    def save(self, path: str | Path) -> None:
        """Write everything to one safetensors file. Raises ``StorageError``."""
        words = {"names": list(self.names), "groups": list(self.groups)}
        tensors = {
            "images": self.images.contiguous(),
            "landmarks": self.landmarks.contiguous(),
            "held_out": self.held_out.to(torch.uint8),
        }
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            save_file(tensors, str(path), {"format": FORMAT, "words": json.dumps(words)})
        except OSError as error:
            hint = "choose another place, or make room"
            raise StorageError(f"cannot write {path}: {error}", hint) from error

    @staticmethod
    def load(path: str | Path) -> Portraits:
        """Read a file written by ``save``. Raises ``MediaError`` for anything else."""
        hint = "make the file with lia_live.train.prepare.prepare_folder(FOLDER, OUT)"
        try:
            with safe_open(str(path), "pt") as file:
                header = file.metadata() or {}
                if header.get("format") != FORMAT:
                    raise MediaError(f"{path} is not a file of prepared portraits", hint)
                words = json.loads(header["words"])
                portraits = Portraits(
                    file.get_tensor("images"),
                    file.get_tensor("landmarks"),
                    tuple(words["names"]),
                    tuple(words["groups"]),
                    file.get_tensor("held_out").bool(),
                )
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise MediaError(
                f"cannot read prepared portraits from {path}: {error}", hint
            ) from error
        portraits.check(str(path))
        return portraits

    def check(self, origin: str = "portraits") -> None:
        """Raises ``MediaError`` if shapes or kinds are not those of the fields above."""
        count = len(self.names)
        fits = (
            self.images.dtype == torch.uint8
            and self.images.shape == (count, 3, self.side, self.side)
            and self.landmarks.shape == (count, 478, 3)
            and bool(torch.isfinite(self.landmarks).all())
            and self.held_out.shape == (count,)
            and len(self.groups) == count
        )
        if not fits:
            hint = "prepare the portraits again"
            raise MediaError(f"{origin}: the tensors do not fit together", hint)
