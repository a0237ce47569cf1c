"""The torch engine: one network on one device, cpu, cuda or mps; the same arithmetic on all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from lia_live.errors import ConfigError
from lia_live.frame import Pixels
from lia_live.model.config import LIAConfig
from lia_live.model.lia import LIA, Look
from lia_live.render.checks import check_alpha, check_crops, check_look, own
from lia_live.render.cuda_graphs import RecordedEncoder, RecordedSynthesis
from lia_live.render.fast_synthesis import FastAvatar, FastSynthesis
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
        with torch.inference_mode():
            self._encoder = MotionEncoder(model, self._device, dtype, fused)
            self._synthesis = FastSynthesis(model, self._device, dtype, fused)
            self._graphs: tuple[RecordedEncoder, RecordedSynthesis] | None = None
            if self._device.type == "cuda":
                self._graphs = (
                    RecordedEncoder(self._encoder, model.config, self._device),
                    RecordedSynthesis(self._synthesis, model.config, self._device),
                )

    @property
    def description(self) -> str:
        plural = "" if self.threads == 1 else "s"
        where = f"cpu, {self.threads} thread{plural}" if self._device.type == "cpu" else self.device
        return f"{where}, torch {self.precision}{self.remark}"

    @torch.inference_mode()
    def load_avatar(self, look: Look) -> LoadedAvatar:
        check_look(look, self.config)
        return self._synthesis.load(look)

    @torch.inference_mode()
    def encode_motion(self, crops: Pixels) -> Alpha:
        check_crops(crops, self.config)
        self._claim_threads()
        pixels = torch.from_numpy(np.require(crops, requirements=["C", "W"])).to(self._device)
        encode = self._encoder if self._graphs is None else self._graphs[0]
        alpha: NDArray[np.float32] = encode(pixels).cpu().numpy()
        return alpha

    @torch.inference_mode()
    def render(self, avatars: Sequence[LoadedAvatar], alpha: Alpha) -> Pixels:
        check_alpha(alpha, len(avatars), self.config)
        self._claim_threads()
        given = np.require(alpha, np.float32, ["C", "W"])  # torch warns of what it may not write to
        rows = torch.from_numpy(given).to(self._device)
        size = self.config.size
        pictures = torch.empty(
            (len(avatars), size, size, 3), dtype=torch.uint8, device=self._device
        )
        fast = [own(avatar, FastAvatar, self._synthesis) for avatar in avatars]
        if self._graphs is None:
            # One after the other: on a cpu a batch gains nothing, and each has its own modulated weights.
            for avatar, row, picture in zip(fast, rows, pictures, strict=True):
                picture.copy_(self._synthesis(avatar, row))
        else:
            self._graphs[1](fast, rows, pictures)
        found: Pixels = pictures.cpu().numpy()
        return found

    def _claim_threads(self) -> None:
        if self._device.type == "cpu" and torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
