"""A batch of training pairs, wherever they came from: performed portraits, or real clips."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lia_live.train.performed import PerformedBatch


@dataclass(frozen=True)
class Pairs(PerformedBatch):
    """B pairs; what a real clip cannot tell is marked as unknown."""

    known: Tensor
    """(B, 16) 1 where ``theta_source`` and ``theta_target`` were measured, 0 where nobody knows them."""

    def __len__(self) -> int:
        return int(self.source.shape[0])

    @staticmethod
    def of_performance(batch: PerformedBatch) -> Pairs:
        """Performed pairs: everything is known."""
        fields = {f.name: getattr(batch, f.name) for f in dataclasses.fields(PerformedBatch)}
        return Pairs(**fields, known=torch.ones_like(batch.theta_source))

    def tensors(self) -> dict[str, Tensor]:
        """Every field by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def pick(self, rows: Tensor | slice) -> Pairs:
        """The pairs at ``rows``, in that order."""
        return Pairs(**{name: value[rows] for name, value in self.tensors().items()})

    @staticmethod
    def join(parts: Sequence[Pairs]) -> Pairs:
        """All pairs of ``parts``, one part after the other."""
        if len(parts) == 1:
            return parts[0]
        columns = [part.tensors() for part in parts]
        return Pairs(**{name: torch.cat([c[name] for c in columns]) for name in columns[0]})

    @staticmethod
    def interleave(parts: Sequence[Pairs]) -> Pairs:
        """Equal parts dealt out in turn: pair i comes from part i % len(parts)."""
        if len(parts) == 1:
            return parts[0]
        columns = [part.tensors() for part in parts]
        return Pairs(
            **{
                name: torch.stack([c[name] for c in columns], 1).flatten(0, 1)
                for name in columns[0]
            }
        )

    def stored(self) -> Pairs:
        """The same in half precision, for keeping."""
        return Pairs(**{name: value.half() for name, value in self.tensors().items()})

    def restored(self) -> Pairs:
        """The same in float32, for use."""
        return Pairs(**{name: value.float() for name, value in self.tensors().items()})
