"""Performed pairs kept for reuse: performing costs as much as a training step, and a step forgets quickly."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

Batch = TypeVar("Batch")


@dataclass
class Pool:
    """A ring of samples. Holds any dataclass of tensors whose first axis is the sample, in half precision."""

    capacity: int
    """Samples kept; the oldest are overwritten."""
    _rings: dict[str, Tensor] = field(default_factory=dict)
    _template: object | None = None
    _next: int = 0
    _count: int = 0

    def __len__(self) -> int:
        return self._count

    def put(self, batch: object) -> None:
        """Add every sample of ``batch``."""
        fields = _tensors(batch)
        size = next(iter(fields.values())).shape[0]
        if not self._rings:
            self._rings = {
                name: torch.empty(
                    (self.capacity, *value.shape[1:]), dtype=_storage(value), device=value.device
                )
                for name, value in fields.items()
            }
        places = (torch.arange(size) + self._next) % self.capacity
        for name, value in fields.items():
            self._rings[name][places] = value.to(self._rings[name].dtype)
        self._template = batch
        self._next = int((self._next + size) % self.capacity)
        self._count = min(self.capacity, self._count + size)

    def draw(self, size: int, generator: torch.Generator, kind: type[Batch]) -> Batch:
        """``size`` samples at random, with replacement, as the dataclass they came as, in float32."""
        places = torch.randint(self._count, (size,), generator=generator)
        if not isinstance(self._template, kind):
            raise TypeError(f"the pool holds {type(self._template).__name__}, not {kind.__name__}")
        drawn = {name: _restore(ring[places]) for name, ring in self._rings.items()}
        return dataclasses.replace(self._template, **drawn)  # type: ignore[type-var]


def _tensors(batch: object) -> dict[str, Tensor]:
    values = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}  # type: ignore[arg-type]
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def _storage(value: Tensor) -> torch.dtype:
    return torch.float16 if value.is_floating_point() else value.dtype


def _restore(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value
