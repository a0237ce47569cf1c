"""Small runs as people start them: drawn data, a network that trains in seconds, processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lia_live.model import LIAConfig
from lia_live.puppet import mesh
from lia_live.train.clips import Clips, starts_of
from lia_live.train.devices import open_fabric
from lia_live.train.loop import Pace, Run
from lia_live.train.losses import LossWeights
from lia_live.train.motion import smooth_motion
from lia_live.train.performer import Performer
from lia_live.train.prepared import FORMAT, REPORT
from lia_live.train.reporting import Quiet
from lia_live.train.schedule import Stage, TrainConfig
from tests.train.faces import drawn_portraits

ROOT = Path(__file__).resolve().parents[2]
TINY = LIAConfig(size=64, width=0.0625, latent_dim=32)
STAGE = Stage(size=32, joint_steps=4, batch=4, single_steps=1, single_batch=4)
SIZE_64 = replace(STAGE, size=64, joint_steps=3)
ADVERSARIAL = LossWeights(adversarial=0.1, r1=0.05)
CLOCKS = ("s", "making_pairs")
"""Figures that tell of time: two equal runs differ in them."""


def config(*stages: Stage, **changes: Any) -> TrainConfig:
    """A run of a tiny network in float32."""
    given = {"precision": "fp32", "ema": 0.9, "window": 32, "warmup_steps": 3} | changes
    return TrainConfig(model=TINY, stages=stages or (STAGE,), **given)


def performed_clips(count: int = 2, frames: int = 12, side: int = 64) -> Clips:
    """Clips of drawn portraits that talk; their landmarks are known, not found."""
    performer = Performer(drawn_portraits())
    pictures, points = [], []
    for number in range(count):
        generator = torch.Generator().manual_seed(number)
        theta = smooth_motion(frames / 6, 6, generator, performer.rig.own[number % 3])
        theta[:, 6] = theta[:, 6].clamp(min=0.3)
        pictures.append(performer.perform(number % 3, theta, side))
        points.append(landmarks_of(performer, number % 3, theta) * side)
    return Clips(
        ((torch.cat(pictures).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8),
        torch.cat(points),
        starts_of([frames] * count),
        torch.full((count,), 6.0),
        tuple(f"clip {number}" for number in range(count)),
        ("",) * count,
        torch.zeros(count, dtype=torch.bool),
    )


def landmarks_of(performer: Performer, portrait: int, theta: torch.Tensor) -> torch.Tensor:
    """(T, 478, 3) of a performance, in sides: the mesh's own face, and irises in the middle of its eyeballs."""
    posed = performer.rig.pose(torch.full((len(theta),), portrait), theta)
    points = torch.zeros(len(theta), 478, 3)
    points[:, :468] = posed[:, mesh.FACE]
    radius = 0.06 * performer.rig.size[portrait]
    for first, ball in zip(mesh.IRIS, mesh.EYEBALLS, strict=True):
        middle = posed[:, ball.stop - 1]
        points[:, first : first + 5] = middle[:, None]
        points[:, first + 1, 0] += radius
        points[:, first + 2, 1] -= radius
        points[:, first + 3, 0] -= radius
        points[:, first + 4, 1] += radius
    return points


def write_data(folder: Path, clips: bool = False, held_out: Sequence[bool] | None = None) -> Path:
    """Drawn portraits, and clips of them, as ``train prepare`` leaves data behind."""
    folder.mkdir(parents=True)
    portraits = drawn_portraits()
    if held_out is not None:
        portraits.held_out[:] = torch.tensor(held_out)
    portraits.save(folder / "portraits.safetensors")
    shards = [{"file": "portraits.safetensors"}]
    if clips:
        performed_clips().save(folder / "clips.safetensors")
        shards.append({"file": "clips.safetensors"})
    report = {"format": FORMAT, "finished": True, "shards": shards}
    (folder / REPORT).write_text(json.dumps(report))
    return folder


def write_settings(path: Path, run: TrainConfig) -> Path:
    """What of ``run`` is not the default, as TOML for ``--config``."""
    lines = [f"{key} = {json.dumps(getattr(run, key))}" for key in SCALARS]
    lines += [
        "[model]",
        *(f"{k} = {getattr(run.model, k)}" for k in ("size", "width", "latent_dim")),
    ]
    for stage in run.stages:
        lines += ["[[stages]]", *(f"{key} = {getattr(stage, key)}" for key in STAGE_SCALARS)]
        lines += [f"losses.{k} = {getattr(stage.losses, k)}" for k in ("adversarial", "r1")]
    path.write_text("\n".join(lines) + "\n")
    return path


SCALARS = ("seed", "precision", "ema", "window", "streams", "warmup_steps")
STAGE_SCALARS = (
    "size", "joint_steps", "batch", "single_steps", "single_batch", "clips",
    "learning_rate", "single_learning_rate", "critic_learning_rate",
)  # fmt: skip


def words(data: Path, folder: Path, settings: Path, *more: str) -> list[str]:
    """Of the command line: one thread, every step logged and saved."""
    return [
        "train", str(data), str(folder), "--config", str(settings), "--device", "cpu",
        "--threads", "1", "--log-steps", "1", "--checkpoint-steps", "1", *more,
    ]  # fmt: skip


def command(*given: str, module: Sequence[str] = ()) -> list[str]:
    """``lia-live ...`` as a process, ``module``: under ``python -m module ...``."""
    return [sys.executable, *(("-m", *module) if module else ()), "-m", "lia_live", *given]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def ran(line: Sequence[str], timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        line, env=environment(), capture_output=True, text=True, timeout=timeout_s, check=False
    )


def logged(folder: Path) -> dict[int, list[dict[str, Any]]]:
    """Figures of each step, by its number; several where a step was repeated. Clocks are left out."""
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if "measured" not in entry:
            found[entry["total"]].append({k: v for k, v in entry.items() if k not in CLOCKS})
    return dict(found)


class Heard(Quiet):
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.figures: list[tuple[int, dict[str, Any]]] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def scalars(self, step: int, values: dict[str, Any]) -> None:
        self.figures.append((step, {k: v for k, v in values.items() if k not in CLOCKS}))


def opened(
    run: TrainConfig,
    data: Any,
    folder: Path,
    *,
    every: int = 1,
    make: Callable[..., Run] = Run,
    **more: Any,
) -> Run:
    """A run in this process, saved and logged at every step."""
    folder.mkdir(exist_ok=True)
    pace = Pace(checkpoint_s=1e9, checkpoint_steps=every, measure_s=1e9, log_steps=1)
    given = {"reporter": Heard(), "pace": pace} | more
    return make(run, data, folder, open_fabric("cpu", 1, run.precision), **given)


def figures(run: Run) -> dict[int, dict[str, Any]]:
    """What ``Heard`` was told of each step, by its number."""
    assert isinstance(run.reporter, Heard)
    return {step: values for step, values in run.reporter.figures if "measured" not in values}


def said(run: Run) -> list[str]:
    """The lines that ``Heard`` was told."""
    assert isinstance(run.reporter, Heard)
    return run.reporter.lines


def after(run: Run, total: int) -> Callable[[], bool]:
    """Stops it once it has done so many steps."""
    return lambda: run.progress.total >= total
