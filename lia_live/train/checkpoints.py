"""Checkpoints that survive: whole or absent, hashed, the last three kept, the newest sound one found again.

A checkpoint is one safetensors file of tensors and facts (its metadata), and beside it a manifest with its
name, length and SHA-256. Both appear under their names only once they are on the disk; the manifest comes
second, so a file without one was interrupted and does not count. The file's name has the hash in it: saving the
same step again never touches what the old manifest speaks of.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load as tensors_of
from safetensors.torch import save as bytes_of
from torch import Tensor

from lia_live.errors import StorageError
from lia_live.model.weights_file import write_atomically

KEEP: Final = 3
"""So many checkpoints are kept; older ones go once a newer one is safe."""
_NAME = re.compile(r"step-(\d{9})\.json")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and found sound."""

    number: int
    """Of the step it was written after; they only rise within a run."""
    tensors: dict[str, Tensor]
    """On the CPU."""
    facts: dict[str, Any]
    """Whatever the run wanted to remember beside tensors; came as JSON."""


class Checkpoints:
    """The checkpoints in one folder. One writer at a time: hold its ``locking.locked``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged: list[str] = []
        """What ``newest`` passed over, a line each."""

    def numbers(self) -> list[int]:
        """Of every checkpoint that has a manifest, oldest first. Says nothing about their soundness."""
        names = os.listdir(self.folder) if self.folder.is_dir() else []
        return sorted(int(found[1]) for name in names if (found := _NAME.fullmatch(name)))

    def save(self, number: int, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Write checkpoint ``number`` (>= 0), then drop the oldest. Raises ``StorageError``; older ones stay."""
        data = bytes_of(
            {name: value.detach().cpu().contiguous() for name, value in tensors.items()},
            {"facts": json.dumps(facts)},
        )
        digest = hashlib.sha256(data).hexdigest()
        content = f"step-{number:09d}-{digest[:8]}.safetensors"
        manifest = {"file": content, "bytes": len(data), "sha256": digest}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self.folder} cannot be made: {error.strerror}") from error
        write_atomically(self.folder / content, data)
        try:
            write_atomically(self._manifest(number), json.dumps(manifest).encode())
        except StorageError:
            self._drop_leftovers()  # no content without a manifest on a full disk
            raise
        numbers = self.numbers()
        past = [one for one in numbers if one <= number]
        # above: damaged ones that were passed over, or a future that a rollback gave up
        for old in (*past[:-KEEP], *(one for one in numbers if one > number)):
            with suppress(OSError):
                self._manifest(old).unlink()  # first: no half checkpoint counts
        self._drop_leftovers()

    def newest(self, at_most: int | None = None) -> Checkpoint | None:
        """The newest sound checkpoint (not above ``at_most``); None where there is none."""
        self.damaged = []
        for number in reversed(self.numbers()):
            if at_most is not None and number > at_most:
                continue
            try:
                return self._read(number)
            except FileNotFoundError as error:
                self.damaged.append(f"step {number}: {Path(error.filename).name} is missing")
            except (OSError, ValueError, KeyError, TypeError) as error:
                self.damaged.append(f"step {number}: {error}")
        return None

    def _read(self, number: int) -> Checkpoint:
        manifest = json.loads(self._manifest(number).read_text(encoding="utf-8"))
        data = (self.folder / Path(manifest["file"]).name).read_bytes()
        if len(data) != manifest["bytes"]:
            raise ValueError(f"{len(data)} bytes instead of {manifest['bytes']}")
        if hashlib.sha256(data).hexdigest() != manifest["sha256"]:
            raise ValueError("its bytes have changed (SHA-256)")
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        # clone: what safetensors returns may share the file's buffer
        tensors = {name: value.clone() for name, value in tensors_of(data).items()}
        return Checkpoint(number, tensors, json.loads(header["__metadata__"]["facts"]))

    def _manifest(self, number: int) -> Path:
        return self.folder / f"step-{number:09d}.json"

    def _drop_leftovers(self) -> None:
        """Parts of saves that were killed, and contents that no manifest speaks of."""
        known = set()
        for number in self.numbers():
            manifest = self._manifest(number)
            known.add(manifest.name)
            with suppress(OSError, ValueError, KeyError, TypeError):
                known.add(json.loads(manifest.read_text(encoding="utf-8"))["file"])
        for path in self.folder.iterdir():
            if path.name not in known and path.name.lstrip(".").startswith("step-"):
                with suppress(OSError):
                    path.unlink()


def pack_optimiser(prefix: str, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The tensors of an optimiser's state as ``prefix.parameter.name``."""
    state = optimiser.state_dict()["state"]
    return {
        f"{prefix}.{index}.{name}": value
        for index, values in state.items()
        for name, value in values.items()
    }


def unpack_optimiser(
    prefix: str, optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    """Put back what ``pack_optimiser`` took out; learning rates stay the optimiser's own."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        head, _, rest = key.partition(".")
        if head != prefix:
            continue
        index, _, name = rest.partition(".")
        like = parameters[int(index)]
        if value.shape == like.shape:  # laid out as the parameter is: fused kernels rely on it
            value = torch.empty_like(like).copy_(value)
        state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict(
        {"state": state, "param_groups": optimiser.state_dict()["param_groups"]}
    )
