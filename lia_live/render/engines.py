"""Which engine runs the network, in which precision, on how many threads: chosen by measuring."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from lia_live.errors import ConfigError
from lia_live.frame import Pixels
from lia_live.model.lia import LIA
from lia_live.model.pixels import to_pixels, to_tensor
from lia_live.render.interface import Renderer
from lia_live.render.kernels import onednn_works
from lia_live.render.memory import keep_freed_memory
from lia_live.render.torch_renderer import Precision, TorchRenderer

WORTH_A_THREAD = 0.8
"""A further thread must bring the time of a frame below this fraction: capture and tracking want cores too."""
MOST_THREADS = 8
MEASURE_S = 0.3
"""Time spent on measuring one thread count, beyond the first frame."""
BF16_PSNR_DB = 38.0
"""bf16 is taken only where its probe picture is at least this close to fp32."""
BF16_ALPHA = 0.01
"""... and where no coefficient is off by more than this fraction of its range."""


def open_renderer(
    model: LIA,
    engine: str = "auto",
    threads: int | None = None,
    precision: str = "auto",
    *,
    device: str | torch.device | None = None,
    beside: Renderer | None = None,
) -> Renderer:
    """The renderer for ``model``.

    ``threads``: of the convolutions on a cpu; None measures a few frames and takes no more than pay.
    ``precision``: "fp32", "bf16", or "auto": bf16 on a cpu that computes in it, if a probe agrees with fp32.
    ``device``: where it runs, None: where the model is; a model on the cpu can be run anywhere and stays there.
    ``beside``: another one that is at work. A network of the same shape takes its thread count: measuring
    would disturb it, and be disturbed by it.
    torch's thread count is one for the process: the renderer sets it on every thread that calls it.
    Raises ``ConfigError`` for an unknown engine or precision.
    """
    if engine != "auto" and engine not in ENGINES:
        raise ConfigError(
            f"there is no engine {engine!r}", f"choose one of auto, {', '.join(sorted(ENGINES))}"
        )
    if precision not in ("auto", "fp32", "bf16"):
        raise ConfigError(f"precision must be auto, fp32 or bf16, got {precision!r}")
    if threads is not None and not 1 <= threads <= 256:
        raise ConfigError(f"threads must be in [1, 256], got {threads}")
    where = model.dec.direction.weight.device if device is None else torch.device(device)
    if threads is None and beside is not None and beside.config == model.config:
        threads = getattr(beside, "threads", None)
    return ENGINES["torch" if engine == "auto" else engine](model, threads, precision, where)


def _open_torch(model: LIA, threads: int | None, precision: str, device: torch.device) -> Renderer:
    if device.type != "cpu":
        kind: Precision = "bf16" if precision == "bf16" else "fp32"
        return TorchRenderer(model, precision=kind, device=device)
    keep_freed_memory()
    renderer: TorchRenderer | None = None
    if precision == "bf16" or (precision == "auto" and computes_bf16()):
        renderer = TorchRenderer(model, precision="bf16")
        if precision == "auto" and not agrees(model, renderer):
            renderer = None
    if renderer is None:
        renderer = TorchRenderer(model, precision="fp32")
    renderer.threads = best_thread_count(renderer, model) if threads is None else threads
    return renderer


ENGINES: dict[str, Callable[[LIA, int | None, str, torch.device], Renderer]] = {
    "torch": _open_torch
}
"""By name. A further backend adds its opener here."""


def computes_bf16() -> bool:
    """Whether the cpu has bf16 arithmetic: without it, bf16 is emulated and slower than fp32."""
    if not onednn_works(torch.device("cpu")):
        return False
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


@torch.inference_mode()
def agrees(model: LIA, renderer: Renderer) -> bool:
    """Whether ``renderer`` computes what ``model`` does, as closely as bf16 has to, on a probe picture."""
    picture = probe(model.config.size)
    look = model.encode_appearance(to_tensor(picture))
    alpha = renderer.encode_motion(picture[None])
    ranges = np.array([direction.high - direction.low for direction in model.directions])
    if bool((np.abs(alpha - look.motion.numpy()) > BF16_ALPHA * ranges).any()):
        return False
    expected = to_pixels(model.render(look, look.motion)).astype(np.float64)
    found = renderer.render([renderer.load_avatar(look)], look.motion.numpy())
    error = float(np.square(found - expected).mean())
    return error == 0 or 10 * np.log10(255**2 / error) >= BF16_PSNR_DB


def best_thread_count(renderer: TorchRenderer, model: LIA) -> int:
    """The fewest threads that are about as quick as any, with the machine as busy as it is."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    counts = [n for n in (1, 2, 4, 8) if n <= min(cores, MOST_THREADS)]
    picture = probe(model.config.size)[None]
    with torch.inference_mode():
        avatar = renderer.load_avatar(model.encode_appearance(to_tensor(picture)))
    best, best_s = 1, float("inf")
    for count in counts:
        renderer.threads = count
        spent: list[float] = []
        while len(spent) < 2 or sum(spent[1:]) < MEASURE_S:
            began = time.perf_counter()
            renderer.render([avatar], renderer.encode_motion(picture))
            spent.append(time.perf_counter() - began)
        typical = statistics.median(spent[1:])  # the first one prepares
        if typical < best_s * WORTH_A_THREAD:
            best, best_s = count, typical
        else:
            break
    return best


def probe(size: int) -> Pixels:
    """A picture to try an engine on, roughly a head before a wall: (size, size, 3) uint8."""
    y, x = np.mgrid[0:size, 0:size] / size
    head = ((x - 0.5) / 0.26) ** 2 + ((y - 0.5) / 0.36) ** 2
    eyes = np.minimum((x - 0.4) ** 2, (x - 0.6) ** 2) / 0.04**2 + ((y - 0.45) / 0.025) ** 2
    mouth = ((x - 0.5) / 0.09) ** 2 + ((y - 0.68) / 0.03) ** 2
    picture = np.stack((90 + 60 * x, 110 + 50 * y, 130 + 0 * x), axis=-1)
    shade = 1 - 0.3 * np.clip(head, 0, 1)[..., None]
    picture = np.where(head[..., None] < 1, np.array([215, 170, 150]) * shade, picture)
    picture = np.where(eyes[..., None] < 1, np.array([50, 35, 30]), picture)
    picture = np.where(mouth[..., None] < 1, np.array([150, 70, 70]), picture)
    pixels: Pixels = picture.astype(np.uint8)
    return pixels
