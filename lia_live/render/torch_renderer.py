"""The torch engine: one network on one device, cpu, cuda or mps; the same arithmetic on all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lia_live.errors import ConfigError
from lia_live.frame import Pixels
from lia_live.model.config import LIAConfig
from lia_live.model.lia import LIA, Look
from lia_live.render.checks import check_alpha, check_crops, check_look, own
from lia_live.render.cuda_graphs import (
    OnDevice,
    RecordedEncoder,
    RecordedSynthesis,
    Recorder,
    Synthesize,
)
from lia_live.render.fast_synthesis import FastAvatar, FastSynthesis
from lia_live.render.fused import fused_works
from lia_live.render.fused_encoder import FusedEncoder
from lia_live.render.fused_synthesis import FusedAvatar, FusedSynthesis
from lia_live.render.interface import Alpha, LoadedAvatar
from lia_live.render.kernels import onednn_works
from lia_live.render.motion_encoder import MotionEncoder

TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class TorchRenderer:
    """A ``Renderer``. ``threads``: how many of the cpu's it uses, may be set; None leaves torch's own number.

    ``device``: where it runs; None: where the model is. The model itself stays where it is and as it is.
    torch starts each thread with the process's number of threads and OpenMP then keeps one for each thread. So
    it is compared on every call, which costs 30 ns: networks that take turns on one thread may differ in it.
    """

    engine = "torch"

    def __init__(
        self,
        model: LIA,
        *,
        precision: str = "fp32",
        threads: int | None = None,
        device: torch.device | None = None,
    ) -> None:
        if precision not in TYPES:
            raise ConfigError(
                f"the engine torch does not compute in {precision}",
                f"take one of {', '.join(TYPES)}",
            )
        self.config: LIAConfig = model.config
        self.precision: str = precision
        self.threads = torch.get_num_threads() if threads is None else threads
        self.remark = ""
        """What is known of its speed; the end of ``description``."""
        self._device = device or model.dec.direction.weight.device
        self.device = str(self._device)
        dtype = TYPES[precision]
        fused = onednn_works(self._device, dtype)
        self._graphs: tuple[RecordedEncoder, RecordedSynthesis] | None = None
        self._encoder: MotionEncoder | FusedEncoder
        self._synthesis: FastSynthesis | FusedSynthesis
        with torch.inference_mode():
            if fused_works(self._device):
                self._encoder = FusedEncoder(model, self._device, dtype)
                self._synthesis = FusedSynthesis(model, self._device, dtype)
                synthesize: Synthesize = self._synthesis
            else:
                self._encoder = MotionEncoder(model, self._device, dtype, fused)
                self._synthesis = FastSynthesis(model, self._device, dtype, fused)
                synthesize = self._synthesis.stacked
            if self._device.type == "cuda":
                recorder = Recorder(self._device, exact=dtype == torch.float32)
                size, motion_dim = model.config.size, model.config.motion_dim
                self._graphs = (
                    RecordedEncoder(self._encoder, recorder, size, motion_dim),
                    RecordedSynthesis(synthesize, recorder, motion_dim),
                )

    @property
    def description(self) -> str:
        plural = "" if self.threads == 1 else "s"
        where = f"cpu, {self.threads} thread{plural}" if self._device.type == "cpu" else self.device
        slower = self._graphs is not None and isinstance(self._synthesis, FastSynthesis)
        return f"{where}, torch {self.precision}{' without Triton' if slower else ''}{self.remark}"

    @torch.inference_mode()
    def load_avatar(self, look: Look) -> LoadedAvatar:
        check_look(look, self.config)
        return self._synthesis.load(look)

    @torch.inference_mode()
    def encode_motion(self, crops: Pixels) -> Alpha:
        check_crops(crops, self.config)
        self._claim_threads()
        pixels = torch.from_numpy(np.require(crops, requirements=["C", "W"]))
        if self._graphs is None:
            alpha: NDArray[np.float32] = self._encoder(pixels.to(self._device)).cpu().numpy()
            return alpha
        found = _pinned((len(crops), self.config.motion_dim), torch.float32)
        self._graphs[0](pixels.pin_memory(), found)
        torch.cuda.current_stream(self._device).synchronize()
        alpha = found.numpy()
        return alpha

    @torch.inference_mode()
    def render(self, avatars: Sequence[LoadedAvatar], alpha: Alpha) -> Pixels:
        check_alpha(alpha, len(avatars), self.config)
        self._claim_threads()
        given = np.require(alpha, np.float32, ["C", "W"])  # torch warns of what it may not write to
        rows = torch.from_numpy(given)
        size = self.config.size
        shape = (len(avatars), size, size, 3)
        if self._graphs is None:
            assert isinstance(self._synthesis, FastSynthesis)
            # One after the other: on a cpu a batch gains nothing, and each has its own modulated weights.
            fast = [own(avatar, FastAvatar, self._synthesis) for avatar in avatars]
            pictures = torch.empty(shape, dtype=torch.uint8, device=self._device)
            for avatar, row, picture in zip(fast, rows.to(self._device), pictures, strict=True):
                picture.copy_(self._synthesis(avatar, row))
            pictures = pictures.cpu()
        else:
            fused = isinstance(self._synthesis, FusedSynthesis)
            kind: type[FusedAvatar | FastAvatar] = FusedAvatar if fused else FastAvatar
            loaded: list[OnDevice] = [own(avatar, kind, self._synthesis) for avatar in avatars]
            pictures = _pinned(shape, torch.uint8)
            self._graphs[1](loaded, rows.pin_memory(), pictures)
            torch.cuda.current_stream(self._device).synchronize()
        found: Pixels = pictures.numpy()
        return found

    def _claim_threads(self) -> None:
        if self._device.type == "cpu" and torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)


def _pinned(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Memory of the cpu that a GPU writes to by itself; torch keeps what is freed for the next one."""
    return torch.empty(shape, dtype=dtype, pin_memory=True)
