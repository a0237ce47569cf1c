"""How long the network takes, in every engine and precision, against the network as published; and how near
their pictures are to it.

Everything is measured in turns, one turn of each a round and in a new order every round: a machine that drifts
(heat, neighbours) drifts for all alike.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from lia_live.errors import LiaLiveError
from lia_live.evaluate.machine import Matmul
from lia_live.evaluate.operations import operations_of
from lia_live.frame import Pixels
from lia_live.model import LIA, Look
from lia_live.model.pixels import to_pixels, to_tensor
from lia_live.render import LoadedAvatar, Renderer, open_renderer

ENOUGH_DB: Final = 38.0
"""A precision whose pictures are further from fp32 than this does not count as the best."""
MOST_DB: Final = 99.0
"""Written for pictures that are equal, whose distance has no logarithm."""
TURN_S: Final = 0.25
"""A turn measures frames for so long, two at least."""
BATCH: Final = 4
GPU_BATCH: Final = 32
"""Where a batch gains something."""
SEED: Final = 5

Say = Callable[[str], None]


@dataclass(frozen=True)
class Backend:
    """One engine in one precision running one network; the keys of ``backends`` in the JSON."""

    model: str
    """ "full-size" or "default"."""
    name: str
    """The engine."""
    precision: str
    threads: int
    device: str
    encode_ms: float
    """Median."""
    render_ms: float
    """Median."""
    frame_ms_p50: float
    """Encode and render of one frame."""
    frame_ms_p95: float
    batch_frame_ms: float
    """The same for each frame of a batch of ``batch``."""
    batch: int
    batch_fps: float
    """Frames a second in such batches."""
    batch_share_of_matmul: float
    """As ``share_of_matmul``, of a batch."""
    psnr_db: float
    """Of all pixels of all pictures against fp32; ``MOST_DB`` where they are equal."""
    psnr_worst_db: float
    """Of the worst picture."""
    largest_difference: int
    """Grey levels, of any pixel."""
    alpha_error: float
    """Mean |Δα| over the s.d. of α; 0.02 is two percent."""
    share_of_matmul: float
    """Of the rate of torch's own matrix product in ``share_of``, same threads, same run."""
    share_of: str
    """ "fp32" for fp32, else "bf16"."""
    speedup: float
    """Against ``reference_ms`` of the same network."""
    frames: int
    """Measured."""
    drift: float
    """Slowest round over fastest, medians: near 1 on a machine that is left alone."""
    avatar_mb: float
    """Held for each avatar."""


@dataclass(frozen=True)
class Reference:
    """The network as published, in plain torch: the source encoded again for each frame, fp32."""

    model: str
    frame_ms: float
    """Median."""
    frames: int
    gflops_driving: float
    """Of one driving frame, without that repetition."""


@dataclass(frozen=True)
class ModelFigures:
    """What the rounds of one network gave."""

    reference: Reference
    backends: list[Backend]
    left_out: dict[str, str]
    """Engines that did not open, and why."""


@dataclass
class _Variant:
    """One engine at work, and what was seen of it."""

    engine: str
    precision: str
    renderer: Renderer
    avatar: LoadedAvatar
    encode_s: list[list[float]] = field(default_factory=list)
    render_s: list[list[float]] = field(default_factory=list)
    batch_s: list[float] = field(default_factory=list)
    alphas: list[NDArray[np.float32]] = field(default_factory=list)
    pictures: list[Pixels] = field(default_factory=list)

    def turn(self, crop: Pixels) -> None:
        """The first frame is not measured: it takes caches and cores back. It is looked at instead."""
        alpha = self.renderer.encode_motion(crop[None])
        self.alphas.append(alpha[0].copy())
        self.pictures.append(self.renderer.render([self.avatar], alpha)[0].copy())
        encode: list[float] = []
        render: list[float] = []
        while len(encode) < 2 or sum(encode) + sum(render) < TURN_S:
            began = time.perf_counter()
            alpha = self.renderer.encode_motion(crop[None])
            between = time.perf_counter()
            self.renderer.render([self.avatar], alpha)
            encode.append(between - began)
            render.append(time.perf_counter() - between)
        self.encode_s.append(encode)
        self.render_s.append(render)

    def batch(self, crops: Pixels) -> None:
        """One batch unmeasured, then at least one that is measured."""
        spent: list[float] = []
        while len(spent) < 2 or sum(spent[1:]) < TURN_S:
            began = time.perf_counter()
            alpha = self.renderer.encode_motion(crops)
            self.renderer.render([self.avatar] * len(crops), alpha)
            spent.append(time.perf_counter() - began)
        self.batch_s += [seconds / len(crops) for seconds in spent[1:]]


@dataclass
class _Published:
    """The reference at work. Its pictures are what the others are held against."""

    network: LIA
    source: Pixels
    threads: int
    seconds: list[float] = field(default_factory=list)
    alphas: list[NDArray[np.float32]] = field(default_factory=list)
    pictures: list[Pixels] = field(default_factory=list)

    @torch.inference_mode()
    def turn(self, crop: Pixels) -> None:
        torch.set_num_threads(self.threads)
        device = self.network.dec.direction.weight.device
        began = time.perf_counter()
        look = self.network.encode_appearance(to_tensor(self.source, device))
        alpha = self.network.encode_motion(to_tensor(crop, device))
        picture = to_pixels(self.network.render(look, alpha))
        self.seconds.append(time.perf_counter() - began)
        if device.type == "cuda":
            # fp32 there means that convolutions round to 10 bits, unless told not to
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                look = self.network.encode_appearance(to_tensor(self.source, device))
                alpha = self.network.encode_motion(to_tensor(crop, device))
                picture = to_pixels(self.network.render(look, alpha))
        self.alphas.append(alpha[0].float().cpu().numpy())
        self.pictures.append(picture[0])

    def forget(self) -> None:
        """As if nothing had been measured."""
        for seen in (self.seconds, self.alphas, self.pictures):
            seen.clear()


def measure_model(
    name: str,
    network: LIA,
    source: Pixels,
    crops: Pixels,
    engines: Sequence[tuple[str, str]],
    threads: int,
    matmuls: dict[str, Matmul],
    say: Say = lambda text: None,
) -> ModelFigures:
    """Time ``network`` in every (engine, precision); one round for each crop.

    ``source``: the avatar, (S, S, 3) uint8; ``crops``: the driver, (N, S, S, 3) uint8, N >= 2.
    ``matmuls``: "bf16" and "fp32", which take their turns too.
    """
    with torch.inference_mode():
        device = network.dec.direction.weight.device
        look = network.encode_appearance(to_tensor(source, device))
    variants, left_out = _open(network, look, engines, threads, say, name)
    published = _Published(network, source, threads)
    published.turn(crops[0])  # the first one prepares
    published.forget()
    batch = BATCH if device.type == "cpu" else GPU_BATCH
    order = random.Random(SEED)
    for number, crop in enumerate(crops):
        say(f"{name}: round {number + 1} of {len(crops)}")
        turns: list[Callable[[Pixels], None]] = [published.turn, *(v.turn for v in variants)]
        turns += [_without_crop(matmul) for matmul in matmuls.values()]
        order.shuffle(turns)
        for turn in turns:
            turn(crop)
        if number % 4 == 1:
            for variant in variants:
                variant.batch(np.resize(crops, (batch, *crops.shape[1:])))
    reference = Reference(
        name,
        _ms(statistics.median(published.seconds)),
        len(published.seconds),
        round(operations_of(network.config).flops / 1e9, 3),
    )
    found = [_figures(name, v, published, reference, matmuls, threads, batch) for v in variants]
    return ModelFigures(reference, found, left_out)


def best_of(backends: Sequence[Backend], model: str) -> Backend | None:
    """The fastest whose pictures are near enough to fp32; None where there is none."""
    near = [b for b in backends if b.model == model and b.psnr_db >= ENOUGH_DB]
    return min(near, key=lambda b: b.frame_ms_p50, default=None)


def _open(
    network: LIA,
    look: Look,
    engines: Sequence[tuple[str, str]],
    threads: int,
    say: Say,
    name: str,
) -> tuple[list[_Variant], dict[str, str]]:
    variants: list[_Variant] = []
    left_out: dict[str, str] = {}
    for engine, precision in engines:
        say(f"{name}: opening {engine} {precision}")
        try:
            renderer = open_renderer(network, engine, threads, precision)
        except LiaLiveError as error:
            left_out[f"{name}, {engine} {precision}"] = error.message
            continue
        variants.append(_Variant(engine, precision, renderer, renderer.load_avatar(look)))
    return variants, left_out


def _without_crop(matmul: Matmul) -> Callable[[Pixels], None]:
    return lambda crop: matmul.turn()


def _figures(
    name: str,
    variant: _Variant,
    published: _Published,
    reference: Reference,
    matmuls: dict[str, Matmul],
    threads: int,
    batch: int,
) -> Backend:
    encode = [s for turn in variant.encode_s for s in turn]
    render = [s for turn in variant.render_s for s in turn]
    frames = np.add(encode, render)
    rounds = [
        statistics.median(np.add(e, r).tolist())
        for e, r in zip(variant.encode_s, variant.render_s, strict=True)
    ]
    typical = float(np.median(frames))
    batched = statistics.median(variant.batch_s)
    share_of = "fp32" if variant.precision == "fp32" else "bf16"
    rate = matmuls[share_of].tflops * 1e12
    differences = [
        a.astype(np.int16) - b for a, b in zip(variant.pictures, published.pictures, strict=True)
    ]
    errors = [float(np.square(d.astype(np.float64)).mean()) for d in differences]
    return Backend(
        model=name,
        name=variant.engine,
        precision=variant.precision,
        threads=getattr(variant.renderer, "threads", threads),
        device=variant.renderer.device,
        encode_ms=_ms(statistics.median(encode)),
        render_ms=_ms(statistics.median(render)),
        frame_ms_p50=_ms(typical),
        frame_ms_p95=_ms(float(np.percentile(frames, 95))),
        batch_frame_ms=_ms(batched),
        batch=batch,
        batch_fps=round(1 / batched, 1),
        batch_share_of_matmul=round(reference.gflops_driving * 1e9 / batched / rate, 4),
        psnr_db=round(_psnr(statistics.fmean(errors)), 2),
        psnr_worst_db=round(_psnr(max(errors)), 2),
        largest_difference=max(int(np.abs(d).max()) for d in differences),
        alpha_error=round(alpha_error(variant.alphas, published.alphas), 5),
        share_of_matmul=round(reference.gflops_driving * 1e9 / typical / rate, 4),
        share_of=share_of,
        speedup=round(reference.frame_ms / 1000 / typical, 2),
        frames=len(frames),
        drift=round(max(rounds) / min(rounds), 2),
        avatar_mb=round(variant.avatar.bytes_held / 2**20, 1),
    )


def alpha_error(
    found: Sequence[NDArray[np.float32]], expected: Sequence[NDArray[np.float32]]
) -> float:
    """Mean |Δα| over frames and coefficients, over the mean of the coefficients' s.d.; (M,) each.

    A ratio of means: a coefficient that hardly moves in this clip has no say of its own. 0.0 where none moves.
    """
    truth = np.asarray(expected, np.float64)
    error = float(np.abs(np.asarray(found, np.float64) - truth).mean())
    spread = float(truth.std(axis=0).mean())
    return error / spread if spread > 1e-9 else 0.0


def _psnr(squared_error: float) -> float:
    if squared_error == 0:
        return MOST_DB
    return min(MOST_DB, 10 * math.log10(255**2 / squared_error))


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
