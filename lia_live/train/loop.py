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
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from lia_live.errors import ConfigError, TrainingError
from lia_live.model import LIA
from lia_live.model.weights_file import write_atomically
from lia_live.train import losses, measure
from lia_live.train.checkpoints import Checkpoint, Checkpoints
from lia_live.train.data import Data
from lia_live.train.devices import average_gradients
from lia_live.train.discriminator import discriminator_loss, generator_loss, r1_penalty
from lia_live.train.objective import Perceptual, joint_terms, weighted
from lia_live.train.pairs import Pairs
from lia_live.train.reporting import Quiet, Reporter
from lia_live.train.schedule import Stage, TrainConfig
from lia_live.train.settings import differences, plain
from lia_live.train.supply import Supply
from lia_live.train.teacher import ALPHA_GAIN
from lia_live.train.trainee import Trainee

if TYPE_CHECKING:
    from lightning_fabric import Fabric

PATIENCE: Final = 10
"""Steps in a row whose gradients are not finite before the run goes back to a checkpoint."""
ROLLBACKS: Final = 3
"""So often a run goes back before it gives up; each time at half the learning rate, with other pairs."""


@dataclass
class Progress:
    """Where a run stands: with the tensors, everything that a resumed run needs."""

    stage: int = 0
    step: int = 0
    """Joint steps done in the stage."""
    total: int = 0
    """Joint steps done in all."""
    seconds: float = 0.0
    rollbacks: int = 0
    parts: int = 1
    """A batch is worked through in so many parts; more after running out of memory."""


@dataclass(frozen=True)
class Pace:
    """How often a run writes. Nothing here changes what it computes."""

    checkpoint_s: float = 180.0
    checkpoint_steps: int = 0
    """Besides, after every so many steps; 0: only by time."""
    measure_s: float = 420.0
    log_steps: int = 10


class Run:
    """One training run in one folder, whose lock the caller holds (``checkpoints.locked``)."""

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
        self.perceptual = perceptual
        self.reporter: Reporter = reporter or Quiet()
        self.pace = pace or Pace()
        self.progress = Progress()
        self.checkpoints = Checkpoints(folder / "checkpoints")
        self.trainee = Trainee(config, fabric.device, base)
        self._identity = {
            "config": plain(config),
            "data": data.fingerprint,
            "base": base.fingerprint if base is not None else "none",
        }
        self._bad_steps = 0
        self._pairs = 0
        self._open_folder(resume)

    def train(self, stop: Callable[[], bool] = lambda: False) -> bool:
        """Run the remaining stages; True when all are done, False when ``stop`` said so (work is saved).

        Raises ``TrainingError`` (diverged), ``StorageError`` (no space), ``MemoryError``.
        """
        stages = self.config.stages
        while self.progress.stage < len(stages):
            if not self._stage(stages[self.progress.stage], stop):
                self._save()
                return False
            self.progress.stage += 1
            self.progress.step = 0
            self.trainee.end_stage()
            self._save()
        return True

    def finished(self) -> LIA:
        """The averaged network, folded and grown to its final size."""
        return self.trainee.finished(self.config.model.size)

    def _stage(self, stage: Stage, stop: Callable[[], bool]) -> bool:
        self.trainee.begin_stage(stage, self.progress.stage)
        supply = self._supply(stage)
        began = saved = measured = time.monotonic()
        before, seconds = self.progress.seconds, 0.0
        steps = sum(one.joint_steps for one in self.config.stages)
        while self.progress.step < stage.joint_steps:
            step = self.progress.step
            self.trainee.set_rates(self._rate(step, stage))
            figures = self._joint_step(stage, supply.batch(step), step)
            for turn in range(stage.single_steps):
                figures["single"] = self._single_step(supply, step, turn)
            if self._bad_steps >= PATIENCE:
                self._roll_back()
                self.trainee.begin_stage(stage, self.progress.stage)
                supply = self._supply(stage)
                continue
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
            if is_due and self._bad_steps == 0:
                self._save()
                saved = now
            if now - measured > self.pace.measure_s or self.progress.step == stage.joint_steps:
                self._measure(stage)
                measured = time.monotonic()
            if self._agreed(stop()):
                return False
        return True

    def _joint_step(self, stage: Stage, pairs: Pairs, step: int) -> dict[str, float]:
        """One step of encoder and decoder, and of the discriminator where there is one."""
        oracle = self.trainee.oracle(
            stage, self.config.seed, self.progress.stage, step, self.fabric
        )
        while True:
            self.trainee.joint.zero_grad(set_to_none=True)
            try:
                figures, fakes = self._descend_in_parts(stage, pairs, oracle)
                break
            except (RuntimeError, MemoryError) as error:
                if not _out_of_memory(error):
                    raise
                self._halve_parts(stage, len(pairs))
        if self._apply(self.trainee.joint, self.trainee.teacher) and fakes is not None:
            figures["critic"] = self._critic_step(stage, pairs.target, fakes)
        return self._averaged(figures)

    def _descend_in_parts(
        self, stage: Stage, pairs: Pairs, oracle: Tensor
    ) -> tuple[dict[str, float], Tensor | None]:
        """Accumulate the gradients of one batch; its figures, and the pictures that the critic may see."""
        figures: dict[str, float] = {}
        fakes: list[Tensor] = []
        rows = len(pairs) // self.progress.parts
        for first in range(0, len(pairs), rows):
            part = pairs.pick(slice(first, first + rows))
            share = len(part) / len(pairs)
            teacher, critic = self.trainee.teacher, self.trainee.critic
            with self.fabric.autocast():
                out = teacher(
                    part.source,
                    part.driver,
                    part.theta_source,
                    part.theta_target,
                    oracle[first : first + rows],
                )
            terms = joint_terms(out, part, stage, teacher.labels, self.perceptual)
            if critic is not None:
                critic.requires_grad_(False)  # its own step computes its gradients
                with self.fabric.autocast():
                    logits = critic(out.image)
                terms["adversarial"] = generator_loss(logits.float())
                fakes.append(out.image.detach())
            loss = weighted(terms, stage.losses)
            self.fabric.backward(loss * share)
            for name, value in {"loss": loss, **terms}.items():
                figures[name] = figures.get(name, 0.0) + float(value.detach()) * share
        return figures, torch.cat(fakes) if fakes else None

    def _critic_step(self, stage: Stage, real: Tensor, fake: Tensor) -> float:
        critic, optimiser = self.trainee.critic, self.trainee.critic_optimiser
        assert critic is not None and optimiser is not None
        critic.requires_grad_(True)
        optimiser.zero_grad(set_to_none=True)
        total = 0.0
        rows = len(real) // self.progress.parts
        for first in range(0, len(real), rows):
            part = slice(first, first + rows)
            share = len(real[part]) / len(real)
            with self.fabric.autocast():
                loss = discriminator_loss(critic(real[part]).float(), critic(fake[part]).float())
            if stage.losses.r1:
                loss = loss + stage.losses.r1 * r1_penalty(critic, real[part])
            self.fabric.backward(loss * share)
            total += float(loss.detach()) * share
        self._apply(optimiser, critic)
        return total

    def _single_step(self, supply: Supply, step: int, turn: int) -> float:
        picture, theta, known = supply.singles(step, turn)
        self.trainee.single.zero_grad(set_to_none=True)
        with self.fabric.autocast():
            alpha = self.trainee.teacher.read_motion(picture)
        loss = losses.motion_distance(alpha.float(), theta, ALPHA_GAIN, known)
        self.fabric.backward(loss)
        self._apply(self.trainee.single, self.trainee.teacher)
        return self._averaged({"single": float(loss.detach())})["single"]

    def _apply(self, optimiser: torch.optim.Optimizer, module: torch.nn.Module) -> bool:
        """Average the gradients over processes, limit them, step; False if they were not finite."""
        parameters = list(module.parameters())
        average_gradients(self.fabric, parameters)
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.config.clip_norm)
        finite = bool(torch.isfinite(norm))
        if finite:
            optimiser.step()
            self._bad_steps = 0
        else:
            self._bad_steps += 1
        module.zero_grad(set_to_none=True)
        return finite

    def _rate(self, step: int, stage: Stage) -> float:
        rise = min(1.0, (step + 1) / self.config.warmup_steps)
        begin = stage.decay_from * stage.joint_steps
        fall = max(0.0, (step - begin) / max(1.0, stage.joint_steps - begin))
        return float(rise * (1 - 0.9 * fall) * 0.5**self.progress.rollbacks)

    def _supply(self, stage: Stage) -> Supply:
        key = (self.config.seed, self.progress.stage, self.progress.rollbacks)
        rank, world = self.fabric.global_rank, self.fabric.world_size
        return Supply(self.data.performer, self.data.clips, stage, self.config, key, rank, world)

    def _halve_parts(self, stage: Stage, local_batch: int) -> None:
        """Work through the batch in twice as many parts. Raises ``MemoryError`` where that is impossible."""
        smallest = 4 if stage.losses.adversarial else 1
        parts = self.progress.parts * 2
        if local_batch // parts < smallest or local_batch % parts:
            raise MemoryError(f"not even {local_batch // self.progress.parts} pairs fit")
        self.progress.parts = parts
        self.trainee.joint.zero_grad(set_to_none=True)
        if self.fabric.device.type == "cuda":
            torch.cuda.empty_cache()
        self.reporter.say(
            f"out of memory: each batch is worked through in {parts} parts from now on"
        )

    def _roll_back(self) -> None:
        """Return to the newest checkpoint with other pairs and half the rate. Raises ``TrainingError``."""
        rollbacks = self.progress.rollbacks + 1
        hint = "lower the learning rates (--set stages.0.learning_rate=...), or look at sheet.png"
        if rollbacks > ROLLBACKS:
            raise TrainingError(f"training diverged {rollbacks} times in a row of attempts", hint)
        checkpoint = self.checkpoints.newest()
        if checkpoint is None:
            raise TrainingError("training diverged before its first checkpoint", hint)
        self._restore(checkpoint)
        self.progress.rollbacks = rollbacks
        self._bad_steps = 0
        self._news(
            f"gradients were not finite {PATIENCE} times in a row: back to step {checkpoint.number}, "
            "half the learning rate"
        )

    def _open_folder(self, resume: bool) -> None:
        checkpoint = self.checkpoints.newest()
        for line in self.checkpoints.damaged:
            self._news(f"damaged checkpoint passed over: {line}")
        used = checkpoint is not None or bool(self.checkpoints.numbers())
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
        return self._averaged({"wish": float(wish)})["wish"] > 0

    def _averaged(self, figures: dict[str, float]) -> dict[str, float]:
        """Figures as means over the processes."""
        if self.fabric.world_size == 1:
            return figures
        values = torch.tensor(
            list(figures.values()), dtype=torch.float64, device=self.fabric.device
        )
        mean: Any = self.fabric.all_reduce(values, reduce_op="mean")
        return dict(zip(figures, mean.tolist(), strict=True))

    def _log(self, entry: dict[str, Any]) -> None:
        if self.fabric.is_global_zero:
            self.reporter.scalars(
                self.progress.total, {"s": round(self.progress.seconds, 1), **entry}
            )

    def _news(self, text: str) -> None:
        if self.fabric.is_global_zero:
            self.reporter.say(text)


def _out_of_memory(error: BaseException) -> bool:
    """CUDA has a class for it; the CPU allocator only words."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    words = str(error).lower()
    return "out of memory" in words or "can't allocate memory" in words
