"""The two halves as CUDA graphs: hundreds of kernels, one launch.

A graph reads and writes the very memory it was recorded with. So the crop, the coefficients and everything of an
avatar are copied into buffers that stay, and an avatar switch is such a copy too: nothing is recorded anew.
Belongs to one thread, as the renderer does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lia_live.model.config import LIAConfig
from lia_live.render.fast_synthesis import FastAvatar, FastSynthesis
from lia_live.render.motion_encoder import MotionEncoder

WARM_UP_RUNS = 3
"""Before recording: libraries choose their algorithms and take their workspace."""


class Recorded:
    """``run`` of fixed tensors, recorded; a call runs it again and returns the same tensor with new content."""

    def __init__(self, run: Callable[[], Tensor], device: torch.device) -> None:
        aside = torch.cuda.Stream(device)  # recording must not begin on the stream in use
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP_RUNS):
                run()
        torch.cuda.current_stream(device).wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        # thread_local: another thread may load an avatar, and so allocate, while this one records
        how = torch.cuda.graph(self._graph, capture_error_mode="thread_local")
        with torch.cuda.device(device), how:
            self._found = run()

    def __call__(self) -> Tensor:
        self._graph.replay()
        return self._found


class RecordedEncoder:
    """``MotionEncoder`` for (N, S, S, 3) uint8 on the device, one crop after the other."""

    def __init__(self, encoder: MotionEncoder, config: LIAConfig, device: torch.device) -> None:
        side = config.size
        self._crop = torch.zeros((1, side, side, 3), dtype=torch.uint8, device=device)
        self._run = Recorded(lambda: encoder(self._crop), device)
        self._motion_dim = config.motion_dim

    def __call__(self, pixels: Tensor) -> Tensor:
        alpha = torch.empty((len(pixels), self._motion_dim), device=pixels.device)
        for row, crop in zip(alpha, pixels, strict=True):
            self._crop[0].copy_(crop)
            row.copy_(self._run()[0])
        return alpha


class RecordedSynthesis:
    """``FastSynthesis`` of any of its avatars; recorded when the first one is rendered."""

    def __init__(self, synthesis: FastSynthesis, config: LIAConfig, device: torch.device) -> None:
        self._synthesis, self._device = synthesis, device
        self._alpha = torch.zeros(config.motion_dim, device=device)
        self._buffers: FastAvatar | None = None
        self._run: Recorded | None = None
        self._on_stage: FastAvatar | None = None

    def __call__(self, avatars: Sequence[FastAvatar], alpha: Tensor, pictures: Tensor) -> None:
        """(N, motion_dim) -> ``pictures`` (N, S, S, 3) uint8, all on the device. Nothing is waited for."""
        for avatar, row, picture in zip(avatars, alpha, pictures, strict=True):
            self._alpha.copy_(row)
            picture.copy_(self._recorded(avatar)())

    def _recorded(self, avatar: FastAvatar) -> Recorded:
        if self._buffers is None or self._run is None:
            buffers = self._buffers = avatar.copy()
            self._run = Recorded(lambda: self._synthesis(buffers, self._alpha), self._device)
        elif avatar is not self._on_stage:
            for kept, given in zip(self._buffers.tensors, avatar.tensors, strict=True):
                kept.copy_(given)
        self._on_stage = avatar
        return self._run
