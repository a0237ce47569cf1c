"""What the loop asks of an engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lia_live.frame import Pixels
from lia_live.model.config import LIAConfig
from lia_live.model.lia import Look

Alpha = NDArray[np.float32]
"""Motion coefficients: (N, motion_dim) float32."""


class LoadedAvatar(Protocol):
    """Everything of one avatar that no frame changes, in its engine's own layout. Good for that renderer only."""

    @property
    def bytes_held(self) -> int:
        """Memory it occupies on the renderer's device."""
        ...


class Renderer(Protocol):
    """One network on one device. Called by the model thread only, except ``load_avatar`` (any thread)."""

    @property
    def config(self) -> LIAConfig:
        """Of the network inside."""
        ...

    @property
    def device(self) -> str:
        """ "cpu", "cuda:0", "mps"."""
        ...

    @property
    def engine(self) -> str:
        """ "torch" or "openvino"."""
        ...

    @property
    def precision(self) -> str:
        """ "fp32", "fp16", "bf16" or "int8": of the convolutions; flow, mask and sampling are always fp32."""
        ...

    @property
    def description(self) -> str:
        """For the status line: "cpu, 2 threads, openvino bf16, 12.6 ms a frame"; the speed where it was measured."""
        ...

    def load_avatar(self, look: Look) -> LoadedAvatar:
        """Prepare an avatar (a ``Look`` of batch 1, any device). Takes milliseconds; nothing else pauses for it."""
        ...

    def encode_motion(self, crops: Pixels) -> Alpha:
        """(N, S, S, 3) uint8 RGB -> (N, motion_dim)."""
        ...

    def render(self, avatars: Sequence[LoadedAvatar], alpha: Alpha) -> Pixels:
        """One picture per avatar and row of ``alpha`` (N, motion_dim): (N, S, S, 3) uint8 RGB, newly made.

        Absolute coefficients; relative transfer is arithmetic on ``alpha`` before. Raises ``ConfigError``
        for wrong shapes and for an avatar that another renderer loaded.
        """
        ...


class Threaded(Renderer, Protocol):
    """A renderer on the cpu that may be told between two frames how many threads to compute with."""

    threads: int
