"""How fast this machine is at it: the network in every engine, the whole live loop, start-up, memory, media.

One run holds everything that is compared with each other, and says whether the machine was left alone.
"""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
import torch

from lia_live.errors import ConfigError, MediaError
from lia_live.evaluate.bench_loop import LoopFigures, measure_loop
from lia_live.evaluate.bench_model import Backend, ModelFigures, Reference, best_of, measure_model
from lia_live.evaluate.machine import (
    BUSY_CORES,
    Matmul,
    Watch,
    cpu_name,
    matrix_units,
    others_now,
    usable_cores,
)
from lia_live.evaluate.recipe import fill_by_recipe
from lia_live.frame import Pixels
from lia_live.model import LIA, LIAConfig
from lia_live.model.weights_file import write_atomically
from lia_live.render import available

if TYPE_CHECKING:
    from lia_live.evaluate.bench_media import MediaCost

PARTS: Final = ("full-size", "default", "live", "media")
CLIP_FPS: Final = 30.0
GPU_MATMUL_SIDE: Final = 8192
"""At least: a GPU is done with smaller ones before it is busy all over."""
LOOKED_AT: Final = 3
"""Every so many frames of the driver's clip are looked at: neighbours are alike."""
SPREAD: Final = (90, 100, 110)
"""Colour beside the driver's picture on the 720p frame."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class BenchConfig:
    """What is measured, and how long."""

    parts: tuple[str, ...] = PARTS
    """Of ``PARTS``."""
    threads: int = 0
    """Of the network in the model parts; 0: one for each usable core. The live loop chooses for itself."""
    full_rounds: int = 10
    """Rounds, and crops, of the full-size network; 2 to 1000."""
    default_rounds: int = 16
    """The same of the weights in use."""
    live_seconds: float = 12.0
    """Length of a live run; 1 to 3600."""
    live_repeats: int = 2
    """Live runs alone, and as many beside a busy core; 1 to 100."""
    media_rounds: int = 20
    """1 to 1000."""
    matmul_side: int = 2048
    """Of the matrices that the machine's rate is taken from; 64 to 16384."""
    full_size: LIAConfig = field(default_factory=LIAConfig)
    """The network called "full-size": the official layout."""

    def __post_init__(self) -> None:
        unknown = [part for part in self.parts if part not in PARTS]
        if unknown or not self.parts:
            raise ConfigError(f"bench.parts must be some of {', '.join(PARTS)}, got {self.parts}")
        for name, low, high in (
            ("threads", 0, 256),
            ("full_rounds", 2, 1000),
            ("default_rounds", 2, 1000),
            ("live_seconds", 1, 3600),
            ("live_repeats", 1, 100),
            ("media_rounds", 1, 1000),
            ("matmul_side", 64, 16384),
        ):
            if not low <= getattr(self, name) <= high:
                raise ConfigError(
                    f"bench.{name} must be in [{low}, {high}], got {getattr(self, name)}"
                )

    @staticmethod
    def quick(parts: tuple[str, ...] = PARTS, threads: int = 0) -> BenchConfig:
        """A look in a minute or so: too few rounds to be quoted."""
        return BenchConfig(
            parts, threads, full_rounds=2, default_rounds=4, live_seconds=4.0, live_repeats=1,
            media_rounds=3,
        )  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """What the figures belong to."""

    cpu: str
    cores: int
    instructions: list[str]
    system: str
    python: str
    torch: str
    device: str
    gpu: str
    """Its name where the networks ran on one; else empty."""
    threads: int
    matmul_bf16_tflops: float
    """torch's own product of two large matrices, ``threads`` threads."""
    matmul_fp32_tflops: float
    others_before: float
    """Cores that other programs kept busy before anything was measured."""
    others_during: float
    """The same while it was measured, on average."""

    @property
    def busy(self) -> bool:
        """Whether others disturbed the measurement."""
        return max(self.others_before, self.others_during) > BUSY_CORES


@dataclass(frozen=True)
class Bench:
    """One run's figures. What was not asked for is empty or None."""

    machine: Machine
    weights: str
    quick: bool
    references: list[Reference] = field(default_factory=list)
    backends: list[Backend] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    live: LoopFigures | None = None
    beside_load: LoopFigures | None = None
    media: list[MediaCost] = field(default_factory=list)
    took_s: float = 0.0

    @property
    def reference_ms(self) -> float | None:
        """Of the full-size network as published; None where that was not measured."""
        return next((r.frame_ms for r in self.references if r.model == "full-size"), None)

    @property
    def speedup(self) -> float | None:
        """Of the best engine at full size that is near enough to fp32."""
        best = best_of(self.backends, "full-size")
        return None if best is None else best.speedup


def bench(
    config: BenchConfig,
    model: LIA,
    avatar: Path,
    driver: Path,
    model_flags: Sequence[str] = (),
    *,
    quick: bool = False,
    engines: Sequence[tuple[str, str]] | None = None,
    faces: Path | None = None,
    say: Say = lambda text: None,
) -> Bench:
    """Measure. ``model``: the weights called "default"; ``avatar``: a portrait; ``driver``: a clip of a face.

    ``model_flags``: what names the same weights on the command line of ``lia-live run``. ``engines``: (engine,
    precision) to try; None: all that this machine has. ``faces``: a file with the portrait and the driver's face as
    they were cut (``cut_faces``), for a machine that can neither decode nor track; written if it is not there.
    Takes minutes. Raises ``MediaError``, ``DeviceError``, ``StorageError``.
    """
    began = time.perf_counter()
    before = others_now()
    watch = Watch()
    threads = config.threads or usable_cores()
    device = model.dec.direction.weight.device
    say("preparing")
    side = config.matmul_side if device.type == "cpu" else max(config.matmul_side, GPU_MATMUL_SIDE)
    matmuls = {
        "bf16": Matmul(torch.bfloat16, device, threads, side),
        "fp32": Matmul(torch.float32, device, threads, side),
    }
    most = max(config.full_rounds, config.default_rounds)
    portrait, crops = cut_faces(avatar, driver, model, most, faces)
    engines = known_engines(model) if engines is None else engines
    figures: list[ModelFigures] = []

    def rounds(name: str, network: LIA, count: int) -> None:
        size = network.config.size
        chosen = np.stack([_sized(crop, size) for crop in spread(crops, count)])
        source = _sized(portrait, size)
        figures.append(measure_model(name, network, source, chosen, engines, threads, matmuls, say))

    if "full-size" in config.parts:
        say("full-size: drawing the weights")
        full = fill_by_recipe(LIA(config.full_size)).to(device)
        rounds("full-size", full, config.full_rounds)
        del full
    if "default" in config.parts:
        rounds("default", model, config.default_rounds)
    live: LoopFigures | None = None
    beside: LoopFigures | None = None
    media: list[MediaCost] = []
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder, "camera.mp4")
        if not {"live", "media"}.isdisjoint(config.parts):
            camera_clip(driver, clip)
        if "media" in config.parts:
            from lia_live.evaluate.bench_media import measure_media

            media = measure_media(clip, crops, model.config, config.media_rounds, say)
        if "live" in config.parts:
            from lia_live.avatar import Avatar

            bundle = Path(folder, "bench.avatar")
            Avatar.from_image(avatar, model).with_consent("permission").save(bundle)
            live, beside = measure_loop(
                bundle, clip, model_flags, config.live_seconds, config.live_repeats, watch, say
            )
    for matmul in matmuls.values():  # also where no network was measured
        matmul.turn()
    machine = Machine(
        cpu=cpu_name(),
        cores=usable_cores(),
        instructions=matrix_units(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        torch=torch.__version__,
        device=str(device),
        gpu=torch.cuda.get_device_name(device) if device.type == "cuda" else "",
        threads=threads,
        matmul_bf16_tflops=round(matmuls["bf16"].tflops, 4),
        matmul_fp32_tflops=round(matmuls["fp32"].tflops, 4),
        others_before=round(before, 2),
        others_during=round(watch.others(), 2),
    )
    return Bench(
        machine=machine,
        weights=model.name,
        quick=quick,
        references=[f.reference for f in figures],
        backends=[b for f in figures for b in f.backends],
        left_out={k: v for f in figures for k, v in f.left_out.items()},
        live=live,
        beside_load=beside,
        media=media,
        took_s=round(time.perf_counter() - began, 1),
    )


def known_engines(model: LIA, engine: str = "auto") -> list[tuple[str, str]]:
    """(engine, precision) that run where ``model`` is and gain by it. ``engine``: that one alone; "auto": all."""
    found = available(model.dec.direction.weight.device)
    wanted = [(c.engine, c.precision) for c in found if engine in ("auto", c.engine)]
    return wanted or [(engine, "fp32")]  # opening it says what is missing


def cut_faces(
    avatar: Path, driver: Path, model: LIA, count: int, kept: Path | None
) -> tuple[Pixels, Pixels]:
    """The portrait (S, S, 3) and ``count`` of the driver's crops (N, S, S, 3). ``kept``: read if it is there."""
    if kept is not None and kept.exists():
        with np.load(kept, allow_pickle=False) as file:
            return file["portrait"], np.stack(spread(file["crops"], count))
    from lia_live.avatar import Avatar

    portrait = Avatar.from_image(avatar, model).crop
    crops = driver_crops(driver, model, count)
    if kept is not None:
        content = BytesIO()
        np.savez_compressed(content, portrait=portrait, crops=crops)
        write_atomically(kept, content.getvalue())
    return portrait, crops


def driver_crops(driver: Path, model: LIA, count: int) -> Pixels:
    """The driver's face as the live loop cuts it, ``count`` frames at most spread over the clip: (N, S, S, 3).

    Raises ``MediaError`` where no face is found in it.
    """
    from lia_live.io import VideoReader
    from lia_live.track import open_tracker

    tracker = open_tracker(model.config.framing, model.config.size)
    found: list[Pixels] = []
    try:
        with VideoReader(driver) as reader:
            for frame in reader:
                crop = None if frame.number % LOOKED_AT else tracker.track(frame)
                if crop is not None:
                    found.append(crop.pixels)
    finally:
        tracker.close()
    if len(found) < 2:
        raise MediaError(f"{driver.name} shows no face", "install a complete lia-live wheel")
    return np.stack(spread(found, count))


def spread(items: Sequence[Pixels] | Pixels, count: int) -> list[Pixels]:
    """``count`` of the items, evenly over their length, again from the beginning where there are too few."""
    if len(items) < count:
        return [items[index % len(items)] for index in range(count)]
    return [items[round(index * (len(items) - 1) / max(1, count - 1))] for index in range(count)]


def camera_clip(driver: Path, path: Path) -> None:
    """The driver's clip as a webcam would show it: 1280x720 at 30 frames a second, H.264."""
    from lia_live.evaluate.bench_media import SIZE
    from lia_live.io import VideoFileSink, VideoReader

    width, height = SIZE
    with VideoReader(driver) as reader:
        sink = VideoFileSink(path, SIZE, CLIP_FPS, preset="veryfast")
        try:
            for frame in reader.constant_rate(CLIP_FPS):
                canvas = np.empty((height, width, 3), np.uint8)
                canvas[:] = SPREAD
                scale = min(width / frame.pixels.shape[1], height / frame.pixels.shape[0])
                inner = cv2.resize(frame.pixels, None, fx=scale, fy=scale)
                top, left = (height - inner.shape[0]) // 2, (width - inner.shape[1]) // 2
                canvas[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
                sink.send(canvas)
        finally:
            sink.close()


def _sized(picture: Pixels, size: int) -> Pixels:
    if picture.shape[0] == size:
        return picture
    return np.asarray(cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
