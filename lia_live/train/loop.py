"""The training loop, in one place and in plain sight.

A run lives in one folder: ``config.json``, ``log.jsonl``, ``sheet.png``, ``tensorboard/``, ``checkpoints/`` and at the
end ``weights.safetensors``. Everything random is a function of (seed, stage, step), so a run that was killed goes
on as if it had not been.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import torch

from lia_live.errors import ConfigError, TrainingError
from lia_live.model import LIA
from lia_live.model.weights_file import write_atomically
from lia_live.train import measure
from lia_live.train.checkpoints import Checkpoint, Checkpoints
from lia_live.train.data import Data
from lia_live.train.devices import averaged
from lia_live.train.objective import Perceptual
from lia_live.train.reporting import Quiet, Reporter
from lia_live.train.schedule import Stage, TrainConfig
from lia_live.train.settings import differences, plain
from lia_live.train.steps import Progress, Steps
from lia_live.train.supply import Supply
from lia_live.train.trainee import Trainee

if TYPE_CHECKING:
    from lightning_fabric import Fabric

PATIENCE: Final = 10
"""Steps in a row whose gradients are not finite before the run goes back to a checkpoint."""
ROLLBACKS: Final = 3
"""So often a run goes back before it gives up; each time at half the learning rate, with other pairs."""


@dataclass(frozen=True)
class Pace:
    """How often a run writes. Nothing here changes what it computes."""

    checkpoint_s: float = 180.0
    checkpoint_steps: int = 0
    """Besides, after every so many steps; 0: only by time."""
    measure_s: float = 420.0
    log_steps: int = 10


class Run:
    """One training run in one folder, whose lock the caller holds (``locking.locked``)."""

    def __init__(
        self,
        config: TrainConfig,
        data: Data,
        folder: Path,
        fabric: Fabric,
        *,
        base: LIA | None = None,
        perceptual: Perceptual | None = None,
        reporter: Reporter | None = None,
        pace: Pace | None = None,
        resume: bool = False,
    ) -> None:
        """``base``: weights to go on from. Raises ``ConfigError`` for a folder that holds another run."""
        self.config, self.data, self.folder, self.fabric = config, data, folder, fabric
        self.reporter: Reporter = reporter or Quiet()
        self.pace = pace or Pace()
        self.progress = Progress()
        self.checkpoints = Checkpoints(folder / "checkpoints")
        self.trainee = Trainee(config, fabric.device, base)
        self._steps = Steps(config, fabric, self.trainee, perceptual, self._news)
        self._identity = {
            # how fast steps are computed is no part of what they compute
            "config": {key: value for key, value in plain(config).items() if key != "compiled"},
            "data": data.fingerprint,
            "clips": plain(data.clips.config) if data.clips is not None else "none",
            "base": base.fingerprint if base is not None else "none",
            "perceptual": type(perceptual).__name__ if perceptual is not None else "none",
        }
        self._pairs = 0
        self._open_folder(resume)

    def train(self, stop: Callable[[], bool] = lambda: False) -> bool:
        """Run the remaining stages; True when all are done, False when ``stop`` said so (work is saved).

        Raises ``TrainingError`` (diverged), ``StorageError`` (no space), ``MemoryError``.
        """
        stages = self.config.stages
        while self.progress.stage < len(stages):
            ended = self._stage(stages[self.progress.stage], stop)
            if ended == "rolled back":  # perhaps into an earlier stage
                continue
            if ended == "done":
                self.progress.stage += 1
                self.progress.step = 0
                self.progress.bad = {}
                self.trainee.end_stage()
            self._save()
            if ended == "stopped":
                self.fabric.barrier()  # nobody leaves before the work is saved
                return False
        return True

    def finished(self) -> LIA:
        """The averaged network, folded and grown to its final size."""
        return self.trainee.finished(self.config.model.size)

    def _stage(
        self, stage: Stage, stop: Callable[[], bool]
    ) -> Literal["done", "stopped", "rolled back"]:
        self.trainee.begin_stage(stage, self.progress.stage)
        supply = self._supply(stage)
        began = saved = measured = time.monotonic()
        before, seconds = self.progress.seconds, 0.0
        steps = sum(one.joint_steps for one in self.config.stages)
        while self.progress.step < stage.joint_steps:
            step = self.progress.step
            self.trainee.set_rates(self._rate(step, stage))
            figures = self._steps.joint(self.progress, stage, supply.batch(step))
            for turn in range(stage.single_steps if self.trainee.teacher.labels else 0):
                figures["single"] = self._steps.single(self.progress, supply.singles(step, turn))
            if max(self.progress.bad.values()) >= PATIENCE:
                self._roll_back()
                return "rolled back"
            self.trainee.average_weights(self.config.ema, self.progress.total)
            self.progress.step += 1
            self.progress.total += 1
            self._pairs += stage.batch
            now = time.monotonic()
            self.progress.seconds, seconds = before + now - began, now - began
            if self.progress.total % self.pace.log_steps == 0:
                share = supply.seconds / max(1e-9, seconds)
                self._log(
                    {"stage": self.progress.stage, "step": step, "making_pairs": share, **figures}
                )
            if self.fabric.is_global_zero:
                self.reporter.advance(self.progress.total, steps, self._pairs)
            due = self.pace.checkpoint_steps
            is_due = now - saved > self.pace.checkpoint_s or (
                due and self.progress.total % due == 0
            )
            if is_due and not any(self.progress.bad.values()):
                self._save()
                saved = now
            if now - measured > self.pace.measure_s or self.progress.step == stage.joint_steps:
                self._measure(stage)
                measured = time.monotonic()
            if self._agreed(stop()):
                return "stopped"
        return "done"

    def _rate(self, step: int, stage: Stage) -> float:
        rise = min(1.0, (step + 1) / self.config.warmup_steps)
        begin = stage.decay_from * stage.joint_steps
        fall = max(0.0, (step - begin) / max(1.0, stage.joint_steps - begin))
        return float(rise * (1 - 0.9 * fall) * 0.5**self.progress.rollbacks)

    def _supply(self, stage: Stage) -> Supply:
        key = (self.config.seed, self.progress.stage, self.progress.rollbacks)
        rank, world = self.fabric.global_rank, self.fabric.world_size
        return Supply(self.data.performer, self.data.clips, stage, self.config, key, rank, world)

    def _roll_back(self) -> None:
        """Return to the newest checkpoint with other pairs and half the rate. Raises ``TrainingError``."""
        rollbacks = self.progress.rollbacks + 1
        hint = (
            "start anew with lower rates (--set stages.0.learning_rate=...); sheet.png may tell why"
        )
        if rollbacks > ROLLBACKS:
            raise TrainingError(
                f"training diverged: gradients were not finite {PATIENCE} times in a row, "
                f"and going back {ROLLBACKS} times did not help",
                hint,
            )
        checkpoint = self.checkpoints.newest()
        if checkpoint is not None and checkpoint.number == self.progress.returned_to:
            # nothing was worth saving since: that one may be on its way out already
            checkpoint = self.checkpoints.newest(checkpoint.number - 1) or checkpoint
        if checkpoint is None:
            raise TrainingError("training diverged, and no checkpoint is whole", hint)
        self._restore(checkpoint)
        self.progress.rollbacks = rollbacks
        self.progress.returned_to = checkpoint.number
        self.progress.bad = {}
        self._news(
            f"gradients were not finite {PATIENCE} times in a row: back to step {checkpoint.number}, "
            "half the learning rate"
        )

    def _open_folder(self, resume: bool) -> None:
        checkpoint = self.checkpoints.newest()
        for line in self.checkpoints.damaged:
            self._news(f"damaged checkpoint passed over: {line}")
        used = checkpoint is not None or bool(self.checkpoints.numbers())
        # also a barrier: the first process writes only once all have looked
        number = float(-1 if checkpoint is None else checkpoint.number)
        if averaged(self.fabric, {"number": number})["number"] != number:
            raise ConfigError(
                f"the processes do not see the same {self.folder}",
                "put the run's folder on a disk that all machines share",
            )
        if used and not resume:
            raise ConfigError(
                f"{self.folder} holds a run already",
                "add --resume to go on with it, or name another",
            )
        if checkpoint is not None:
            changed = differences(checkpoint.facts["identity"], self._identity)
            if changed:
                raise ConfigError(
                    f"{self.folder} was started with other settings: {'; '.join(changed[:6])}",
                    "take those of its config.json, or start a new run in another folder",
                )
            self._restore(checkpoint)
            self._news(f"going on from step {checkpoint.number}")
        elif used:
            raise ConfigError(
                f"no checkpoint in {self.folder} is whole", "start a new run in another folder"
            )
        elif self.fabric.is_global_zero:
            text = json.dumps(self._identity, indent=1)
            write_atomically(self.folder / "config.json", text.encode())
            self._save()
        self.fabric.barrier()

    def _save(self) -> None:
        if not self.fabric.is_global_zero:
            return
        facts = {
            "identity": self._identity,
            "progress": asdict(self.progress),
            "size": self.trainee.size,
        }
        self.checkpoints.save(self.progress.total, self.trainee.tensors(), facts)

    def _restore(self, checkpoint: Checkpoint) -> None:
        self.progress = Progress(**checkpoint.facts["progress"])
        self.trainee.load(checkpoint.tensors, int(checkpoint.facts["size"]))

    @torch.no_grad()
    def _measure(self, stage: Stage) -> None:
        if not self.fabric.is_global_zero or self.data.held_out is None:
            return
        figures, rows = measure.performance(self.trainee.average, self.data.held_out, stage.size)
        self._log({"stage": self.progress.stage, "step": self.progress.step, "measured": figures})
        self.reporter.pictures(self.progress.total, rows)
        self._news(
            f"stage {self.progress.stage + 1}, step {self.progress.step}: L1 {figures['l1']:.4f} "
            f"(copying the source {figures['static']:.4f}), flow error {figures['epe']:.2f} px"
        )

    def _agreed(self, wish: bool) -> bool:
        """Whether any process wishes it: all of them must leave the loop at the same step."""
        return averaged(self.fabric, {"wish": float(wish)})["wish"] > 0

    def _log(self, entry: dict[str, Any]) -> None:
        if self.fabric.is_global_zero:
            self.reporter.scalars(
                self.progress.total, {"s": round(self.progress.seconds, 1), **entry}
            )

    def _news(self, text: str) -> None:
        if self.fabric.is_global_zero:
            self.reporter.say(text)
