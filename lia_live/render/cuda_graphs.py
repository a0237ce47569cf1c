"""The two halves as CUDA graphs: hundreds of kernels, one launch.

A graph reads and writes the very memory it was recorded with. So the crops, the coefficients and everything of an
avatar are copied into buffers that stay, and an avatar switch is such a copy too: nothing is recorded anew.
There is a graph for each of a few batch sizes, recorded when it is first needed; they share their memory, since one
runs at a time. Belongs to one thread, as the renderer does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

WARM_UP_RUNS = 3
"""Before recording: libraries choose their algorithms and take their workspace."""
BATCHES = (1, 2, 4, 8, 16, 32)
"""Sizes that are recorded; another number of frames runs as these, the last one filled up."""

Encode = Callable[[Tensor], Tensor]
"""(B, S, S, 3) uint8 -> (B, motion_dim)."""
Synthesize = Callable[[Sequence[Tensor], Tensor], Tensor]
"""The avatars' tensors, stacked, and (B, motion_dim) -> (B, S, S, 3) uint8."""


class OnDevice(Protocol):
    """An avatar as its synthesis keeps it."""

    @property
    def tensors(self) -> list[Tensor]:
        """All that it holds, in an order that is the same for every avatar of a synthesis."""
        ...


def warm_up(run: Callable[[], object], device: torch.device) -> None:
    """What comes before recording ``run``, on a stream of its own: recording must not begin on the stream in use."""
    aside = torch.cuda.Stream(device)
    aside.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP_RUNS):
            run()
    torch.cuda.current_stream(device).wait_stream(aside)


class Recorder:
    """Records for one device, in the arithmetic of one precision."""

    def __init__(self, device: torch.device, *, exact: bool) -> None:
        """``exact``: fp32 as it is written; without it, cuDNN rounds what it multiplies to 10 bits (TF32)."""
        self.device, self._exact = device, exact
        self._pool: Any = None

    def record(self, run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """``run`` of fixed tensors; a call runs it again and returns the same tensor with new content."""
        with (
            torch.cuda.device(self.device),
            torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=not self._exact),
        ):
            warm_up(run, self.device)
            graph = torch.cuda.CUDAGraph()
            # thread_local: another thread may load an avatar, and so allocate, while this one records
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                found = run()
        self._pool = graph.pool()

        def again() -> Tensor:
            graph.replay()
            return found

        return again


class RecordedEncoder:
    """``encode`` for any number of crops."""

    def __init__(self, encode: Encode, recorder: Recorder, size: int, motion_dim: int) -> None:
        self._encode, self._recorder = encode, recorder
        self._size, self._motion_dim = size, motion_dim
        self._recorded: dict[int, tuple[Tensor, Callable[[], Tensor]]] = {}

    def __call__(self, pixels: Tensor, alpha: Tensor) -> None:
        """(N, S, S, 3) uint8, pinned, -> ``alpha`` (N, motion_dim), pinned. Nothing is waited for."""
        for start, count, batch in batches(len(pixels)):
            crops, run = self._recorded.get(batch) or self._record(batch)
            crops[:count].copy_(pixels[start : start + count], non_blocking=True)
            alpha[start : start + count].copy_(run()[:count], non_blocking=True)

    def _record(self, batch: int) -> tuple[Tensor, Callable[[], Tensor]]:
        shape = (batch, self._size, self._size, 3)
        crops = torch.zeros(shape, dtype=torch.uint8, device=self._recorder.device)
        recorded = crops, self._recorder.record(lambda: self._encode(crops))
        self._recorded[batch] = recorded
        return recorded


class RecordedSynthesis:
    """``synthesize`` for any number of frames, each of any avatar."""

    def __init__(self, synthesize: Synthesize, recorder: Recorder, motion_dim: int) -> None:
        self._synthesize, self._recorder, self._motion_dim = synthesize, recorder, motion_dim
        self._stages: dict[int, _Stage] = {}

    def __call__(self, avatars: Sequence[OnDevice], alpha: Tensor, pictures: Tensor) -> None:
        """``alpha`` (N, motion_dim), pinned, -> ``pictures`` (N, S, S, 3) uint8, pinned. Nothing is waited for."""
        for start, count, batch in batches(len(avatars)):
            wanted = avatars[start : start + count]
            stage = self._stages.get(batch)
            if stage is None:
                stage = _Stage(batch, wanted[0], self._synthesize, self._recorder, self._motion_dim)
                self._stages[batch] = stage
            found = stage(wanted, alpha[start : start + count])
            pictures[start : start + count].copy_(found, non_blocking=True)


class _Stage:
    """Room for a batch of avatars, and the graph that reads it."""

    def __init__(
        self, batch: int, avatar: OnDevice, synthesize: Synthesize, recorder: Recorder, motion_dim: int
    ) -> None:  # fmt: skip
        """``avatar``: fills the whole room at first."""
        self._alpha = torch.zeros((batch, motion_dim), device=recorder.device)
        self._room = [torch.stack([tensor] * batch) for tensor in avatar.tensors]
        self._there: list[OnDevice] = [avatar] * batch
        self._run = recorder.record(lambda: synthesize(self._room, self._alpha))

    def __call__(self, avatars: Sequence[OnDevice], alpha: Tensor) -> Tensor:
        """At most a batch of them -> one picture for each."""
        for slot, avatar in enumerate(avatars):
            if self._there[slot] is not avatar:
                for room, given in zip(self._room, avatar.tensors, strict=True):
                    room[slot].copy_(given)
                self._there[slot] = avatar
        self._alpha[: len(alpha)].copy_(alpha, non_blocking=True)
        return self._run()[: len(alpha)]


def batches(count: int) -> Iterator[tuple[int, int, int]]:
    """``count`` frames as parts: (first, number of frames, size of the graph)."""
    start = 0
    while start < count:
        left = count - start
        batch = next((size for size in BATCHES if size >= left), BATCHES[-1])
        yield start, min(left, batch), batch
        start += batch
