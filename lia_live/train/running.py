"""A whole training run: data read, folder locked, processes started, loop run, weights written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from lia_live.errors import ConfigError, DeviceError
from lia_live.model import LIA, load_model, save_weights
from lia_live.render.memory import keep_freed_memory
from lia_live.train.data import Data, trained_on
from lia_live.train.devices import (
    is_lost_connection,
    leave,
    open_fabric,
    passes_over_metal,
    world_size,
)
from lia_live.train.locking import locked
from lia_live.train.loop import Pace, Run
from lia_live.train.objective import Perceptual
from lia_live.train.perceptual import FixedFeatures, load_perceptual
from lia_live.train.prepared import Prepared
from lia_live.train.presets import PRESETS
from lia_live.train.reporting import FolderReporter, Quiet, Reporter
from lia_live.train.schedule import TrainConfig
from lia_live.train.settings import assign, read_toml
from lia_live.train.supply import check_sharing
from lia_live.train.trainee import check_start

WEIGHTS = "weights.safetensors"
"""What a finished run leaves in its folder."""


@dataclass(frozen=True)
class TrainJob:
    """What ``lia-live train`` may be told."""

    data: Path
    """Made by ``lia-live train prepare``."""
    folder: Path
    """Where the run lives."""
    preset: str = "first"
    scale: float = 1.0
    """Multiplies the preset's steps."""
    config: Path | None = None
    """A TOML file over the preset."""
    settings: tuple[str, ...] = ()
    """``key=value`` over that."""
    base: str | None = None
    """Weights to go on from."""
    vgg: Path | None = None
    """VGG19's weights for the perceptual loss."""
    device: str = "auto"
    processes: int = 1
    threads: int | None = None
    """Of the CPU; None leaves it to torch."""
    resume: bool = False
    name: str = "lia-live custom"
    licence: str | None = None
    """Of the weights; None: the base's."""
    pace: Pace = field(default_factory=Pace)


def train(
    job: TrainJob,
    line: Callable[[str], None],
    status: Callable[[str], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Path | None:
    """Run ``job``; the weights' file, or None where ``stop`` ended it early (``--resume`` goes on).

    Every process of the run calls this; only the first prints and writes. Raises ``LiaLiveError``.
    """
    keep_freed_memory()
    base = load_model(job.base, "cpu") if job.base is not None else None
    config = resolve(job.preset, job.scale, job.config, job.settings)
    if base is not None:
        size = max(base.config.size, config.stages[-1].size)
        config = replace(config, model=replace(base.config, size=size))
    check_sharing(config, world_size(job.processes))
    check_start(config, base)
    prepared = Prepared.load(job.data)
    fabric = open_fabric(job.device, job.processes, config.precision)
    if job.threads is not None:  # now: opening several processes shares out the cores by itself
        torch.set_num_threads(job.threads)
    # all that may be refused comes before the run's folder and before the first word
    data = Data.of(prepared, fabric.device, config.variants, config.groups)
    perceptual = _perceptual(config, job.vgg, fabric.device)
    with ExitStack() as closing:
        reporter: Reporter = Quiet()
        if fabric.is_global_zero:
            closing.enter_context(locked(job.folder))
            reporter = FolderReporter(job.folder, line, status)
            closing.callback(reporter.close)
            line(_opening(config, prepared, fabric.device, fabric.world_size))
            for note in _notes(job, config, data, perceptual, base):
                line(note)
        run = Run(
            config,
            data,
            job.folder,
            fabric,
            base=base,
            perceptual=perceptual,
            reporter=reporter,
            pace=job.pace,
            resume=job.resume,
        )
        try:
            done = run.train(stop)
        except RuntimeError as error:
            if fabric.world_size == 1 or not is_lost_connection(error):
                raise
            raise DeviceError(
                "another process of this run has ended",
                "its own message says why; --resume goes on from the last checkpoint",
            ) from error
        if not done:
            reporter.say(f"stopped at step {run.progress.total}; --resume goes on from there")
            leave(fabric)
            return None
        out = job.folder / WEIGHTS
        if fabric.is_global_zero:
            model = run.finished()
            licence = _licence(job, base)
            save_weights(model, out, name=job.name, licence=licence, dtype="float16")
            reporter.say(f"{out}: {out.stat().st_size / 1e6:.1f} MB")
        leave(fabric)
        return out


def resolve(preset: str, scale: float, config: Path | None, settings: Sequence[str]) -> TrainConfig:
    """The preset, a TOML file over it, ``key=value`` words over that. Raises ``ConfigError``."""
    if preset not in PRESETS:
        raise ConfigError(f"there is no preset {preset!r}", f"choose one of {', '.join(PRESETS)}")
    resolved = PRESETS[preset](scale)
    if config is not None:
        resolved = read_toml(resolved, config)
    return assign(resolved, settings)


def _perceptual(config: TrainConfig, vgg: Path | None, device: torch.device) -> Perceptual | None:
    """What the run's perceptual loss looks through, where any stage has that loss. Raises ``WeightsError``."""
    if not any(stage.losses.perceptual for stage in config.stages):
        return None
    return FixedFeatures().to(device) if vgg is None else load_perceptual(vgg, device)


def _licence(job: TrainJob, base: LIA | None) -> str:
    """What is trained on from somebody's weights stays under their licence unless told otherwise."""
    if job.licence is not None:
        return job.licence
    return "" if base is None else base.licence


def _notes(
    job: TrainJob,
    config: TrainConfig,
    data: Data,
    perceptual: Perceptual | None,
    base: LIA | None,
) -> Iterator[str]:
    """What a person should know before hours are spent."""
    if passes_over_metal(job.device):
        yield "training does not work on Apple GPUs (mps): the CPU is used"
    if data.clips is None and any(stage.clips for stage in config.stages):
        yield "no clips to train on in this data: portraits perform all pairs"
    if data.held_out is None:
        yield (
            "nothing is held out: nothing will be measured, no sheet drawn "
            "(`lia-live train prepare --held-out-every N` holds pictures out)"
        )
    if isinstance(perceptual, FixedFeatures):
        yield (
            "no VGG19 weights: fixed filters take the perceptual loss's place "
            "(`lia-live train fetch-vgg` gets them, --vgg FILE uses them)"
        )
    licence = _licence(job, base)
    if base is not None and _is_non_commercial(base.licence) and not _is_non_commercial(licence):
        yield (
            f"warning: the base is under {base.licence}, and what is made from it stays "
            f"non-commercial; --licence says {licence or 'nothing'!r}"
        )


def _is_non_commercial(licence: str) -> bool:
    return re.search(r"\bNC\b|non[- ]?commercial", licence, re.IGNORECASE) is not None


def _opening(config: TrainConfig, prepared: Prepared, device: torch.device, processes: int) -> str:
    portraits, clips = (
        0 if part is None else int(trained_on(part, config.groups).sum())
        for part in (prepared.portraits, prepared.clips)
    )
    steps = sum(stage.joint_steps for stage in config.stages)
    sizes = " → ".join(dict.fromkeys(str(stage.size) for stage in config.stages))
    where = (
        f"{device.type}, {torch.get_num_threads()} thread(s)"
        if device.type == "cpu"
        else str(device)
    )
    several = f", {processes} processes" if processes > 1 else ""
    return (
        f"{portraits} portraits and {clips} clips, {steps} steps at {sizes} pixels, width "
        f"{config.model.width:g}, on {where}{several}"
    )
