"""What one step does: forward, losses, backward, update; in as many parts as memory asks for."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from lia_live.train import losses
from lia_live.train.devices import average_gradients, averaged
from lia_live.train.discriminator import GROUP, discriminator_loss, generator_loss, r1_penalty
from lia_live.train.objective import Perceptual, joint_terms, weighted
from lia_live.train.pairs import Pairs
from lia_live.train.recorded import Recorded, compiled, is_worth_compiling
from lia_live.train.schedule import Stage, TrainConfig
from lia_live.train.teacher import ALPHA_GAIN, Rendered
from lia_live.train.trainee import Trainee

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Singles = tuple[Tensor, Tensor, Tensor]
"""Pictures, theta, known: ``Supply.singles``."""
Judged = Callable[..., tuple[Tensor, Tensor, list[str]]]
"""Oracle and the fields of pairs -> loss, figures, the figures' names."""
Made = TypeVar("Made")


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
    returned_to: int = -1
    """The checkpoint that the last rollback went to."""
    bad: dict[str, int] = field(default_factory=dict)
    """Steps in a row whose gradients were not finite, of each optimiser: they were skipped."""


class Steps:
    """One step of each kind, on the trainee; what must be remembered is in the ``Progress`` it is given."""

    def __init__(
        self,
        config: TrainConfig,
        fabric: Fabric,
        trainee: Trainee,
        perceptual: Perceptual | None,
        say: Callable[[str], None],
    ) -> None:
        self.config, self.fabric, self.trainee = config, fabric, trainee
        self.perceptual, self.say = perceptual, say
        self._recorded: tuple[torch.optim.Optimizer, Recorded] | None = None
        self._names: list[str] = []
        self._compiles = True
        """Nothing has spoken against it yet."""

    def joint(self, progress: Progress, stage: Stage, pairs: Pairs) -> dict[str, float]:
        """Encoder and decoder, then the discriminator where there is one; the figures of all processes.

        Raises ``MemoryError`` where not even the smallest part fits.
        """
        trainee = self.trainee
        number, step = progress.stage, progress.step
        oracle = trainee.oracle(stage, self.config.seed, number, step, self.fabric)
        terms, fakes = self._in_parts(
            progress,
            len(pairs),
            trainee.joint,
            lambda parts: self._descend(stage, pairs, oracle, parts),
        )
        is_done = self._apply(progress, "joint", trainee.joint, trainee.teacher)
        # read here, where the device has been waited for: not between its gradients and its update
        values = torch.stack(list(terms.values())).tolist()
        figures: dict[str, float] = dict(zip(terms, values, strict=True))
        if is_done and fakes is not None:
            optimiser, critic = trainee.critic_optimiser, trainee.critic
            assert optimiser is not None and critic is not None
            critic.requires_grad_(True)
            figures["critic"] = self._in_parts(
                progress,
                len(pairs),
                optimiser,
                lambda parts: self._criticise(stage, pairs.target, fakes, parts),
            )
            self._apply(progress, "critic", optimiser, critic)
        return averaged(self.fabric, figures)

    def single(self, progress: Progress, singles: Singles) -> float:
        """The encoder alone: labels of single pictures. Raises ``MemoryError``."""
        trainee = self.trainee
        loss = self._in_parts(
            progress, len(singles[0]), trainee.single, lambda parts: self._read(singles, parts)
        )
        self._apply(progress, "single", trainee.single, trainee.teacher)
        return averaged(self.fabric, {"single": loss})["single"]

    def _descend(
        self, stage: Stage, pairs: Pairs, oracle: Tensor, parts: list[slice]
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """Accumulate the gradients of one batch; its figures, and the pictures that the critic may see."""
        critic = self.trainee.critic
        if len(parts) == 1 and self.trainee.is_recordable(stage):
            return self._replay(stage, pairs, oracle), None
        self._recorded = None  # of a stage before: its memory is wanted
        figures: dict[str, Tensor] = {}
        fakes = None if critic is None else torch.empty_like(pairs.target)
        for rows in parts:
            part = pairs.pick(rows)
            share = len(part) / len(pairs)
            out, terms = self._look(stage, part, oracle[rows])
            if critic is not None and fakes is not None:
                critic.requires_grad_(False)  # its own step computes its gradients
                with self.fabric.autocast():
                    logits = critic(out.image)
                terms["adversarial"] = generator_loss(logits.float())
                fakes[rows] = out.image.detach().to(fakes.dtype)
            loss = weighted(terms, stage.losses)
            self.fabric.backward(loss * share)
            for name, value in {"loss": loss, **terms}.items():
                figures[name] = figures.get(name, 0.0) + value.detach() * share
        return figures, fakes

    def _look(
        self, stage: Stage, pairs: Pairs, oracle: Tensor
    ) -> tuple[Rendered, dict[str, Tensor]]:
        """What the network makes of the pairs, and the terms that it is judged by."""
        teacher = self.trainee.teacher
        with self.fabric.autocast():
            out = teacher(
                pairs.source, pairs.driver, pairs.theta_source, pairs.theta_target, oracle
            )
        look_at = None if self.perceptual is None else self._features_apart
        return out, joint_terms(out, pairs, stage, teacher.labels, look_at)

    def _replay(self, stage: Stage, pairs: Pairs, oracle: Tensor) -> dict[str, Tensor]:
        """Gradients and figures of one batch from the recorded step; recorded at a stage's first one."""
        optimiser, inputs = self.trainee.joint, [oracle, *pairs.tensors().values()]
        if self._recorded is None or self._recorded[0] is not optimiser:
            self._recorded = None  # its memory first
            self._recorded = optimiser, self._record(stage, inputs, list(pairs.tensors()))
        return dict(zip(self._names, self._recorded[1](inputs).unbind(), strict=True))

    def _record(self, stage: Stage, inputs: list[Tensor], fields: list[str]) -> Recorded:
        """The step on ``inputs``, the oracle and the ``fields`` of pairs; compiled before if that works and pays."""

        def forward(oracle: Tensor, *values: Tensor) -> tuple[Tensor, Tensor, list[str]]:
            pairs = Pairs(**dict(zip(fields, values, strict=True)))
            return self._judge(stage, pairs, oracle)

        def record(look: Judged) -> Recorded:
            def compute(*values: Tensor) -> Tensor:
                loss, figures, self._names = look(*values)
                self.fabric.backward(loss)
                return figures

            return Recorded(compute, inputs, self.trainee.teacher)

        if self._compiles and is_worth_compiling(self.config.compiled, stage.joint_steps):
            self.say("compiling the joint step: a minute or two")
            try:
                with warnings.catch_warnings(action="ignore"):  # a compiler's advice to its makers
                    return record(compiled(forward))
            except Exception as error:  # whatever a compiler lacks, the step works without
                if _out_of_memory(error):
                    raise
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            self._compiles = False
            self.say(f"joint steps go on without being compiled: {reason}")
        return record(forward)

    def _judge(
        self, stage: Stage, pairs: Pairs, oracle: Tensor
    ) -> tuple[Tensor, Tensor, list[str]]:
        """The loss to descend, the figures, and their names. Free of side effects: what is compiled."""
        _, terms = self._look(stage, pairs, oracle)
        loss = weighted(terms, stage.losses)
        with torch.no_grad():
            figures = torch.stack([loss, *terms.values()])
        return loss, figures, ["loss", *terms]

    def _features_apart(self, image: Tensor, target: Tensor, region: Tensor | None) -> Tensor:
        """The perceptual distance; VGG19's convolutions take half the time in the run's precision."""
        assert self.perceptual is not None
        with self.fabric.autocast():
            return self.perceptual(image, target, region)

    def _criticise(self, stage: Stage, real: Tensor, fake: Tensor, parts: list[slice]) -> float:
        """Accumulate the discriminator's gradients; its loss."""
        critic = self.trainee.critic
        assert critic is not None
        total = 0.0
        for rows in parts:
            share = len(real[rows]) / len(real)
            with self.fabric.autocast():
                loss = discriminator_loss(critic(real[rows]).float(), critic(fake[rows]).float())
            if stage.losses.r1:
                loss = loss + stage.losses.r1 * r1_penalty(critic, real[rows])
            self.fabric.backward(loss * share)
            total += float(loss.detach()) * share
        return total

    def _read(self, singles: Singles, parts: list[slice]) -> float:
        """Accumulate the encoder's gradients on single pictures; their loss."""
        total = 0.0
        for rows in parts:
            picture, theta, known = (value[rows] for value in singles)
            share = len(picture) / len(singles[0])
            with self.fabric.autocast():
                alpha = self.trainee.teacher.read_motion(picture)
            loss = losses.motion_distance(alpha.float(), theta, ALPHA_GAIN, known)
            self.fabric.backward(loss * share)
            total += float(loss.detach()) * share
        return total

    def _in_parts(
        self,
        progress: Progress,
        count: int,
        optimiser: torch.optim.Optimizer,
        work: Callable[[list[slice]], Made],
    ) -> Made:
        """``work`` on ``count`` samples from zero gradients, in twice as many parts where memory ran out."""
        while True:
            parts, most = split(count, progress.parts, grouped=self.trainee.critic is not None)
            optimiser.zero_grad(set_to_none=True)
            try:
                return work([slice(first, None, parts) for first in range(parts)])
            except (RuntimeError, MemoryError) as error:
                if not _out_of_memory(error):
                    raise
            # out here, where the error no longer holds on to the tensors of its step
            optimiser.zero_grad(set_to_none=True)
            self._recorded = None  # it holds a whole batch's memory
            if parts == most:
                raise MemoryError(f"not even {-(-count // parts)} samples fit")
            progress.parts = parts * 2
            if self.fabric.device.type == "cuda":
                torch.cuda.empty_cache()
            self.say(f"out of memory: batches are worked through in {parts * 2} parts from now on")

    def _apply(
        self,
        progress: Progress,
        name: str,
        optimiser: torch.optim.Optimizer,
        module: torch.nn.Module,
    ) -> bool:
        """Average the gradients over processes, limit them, step; False if they were not finite."""
        parameters = list(module.parameters())
        average_gradients(self.fabric, parameters)
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.config.clip_norm)
        good = torch.isfinite(norm)
        if optimiser.defaults.get("fused"):
            # Told as GradScaler tells it, a fused optimiser skips the step by itself: the device is waited for once.
            vars(optimiser)["found_inf"] = (~good).float()
            optimiser.step()
            del vars(optimiser)["found_inf"]
            finite = bool(good)
        else:
            finite = bool(good)
            if finite:
                optimiser.step()
        progress.bad[name] = 0 if finite else progress.bad.get(name, 0) + 1
        module.zero_grad(set_to_none=True)
        return finite


def split(count: int, parts: int, grouped: bool = False) -> tuple[int, int]:
    """In how many parts ``count`` samples are worked through, near ``parts``, and how many are possible.

    Part p takes every parts-th sample from p on. ``grouped``: the discriminator compares the samples i, i +
    count/4, ... with each other; such a group stays in one part, so that the parts add up to the whole.
    """
    most = max(1, count // GROUP if grouped else count)
    parts = min(parts, most)
    while grouped and most % parts:
        parts += 1
    return parts, most


def _out_of_memory(error: BaseException) -> bool:
    """CUDA has a class for it; the CPU allocator only words."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    words = str(error).lower()
    signs = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")
    return any(sign in words for sign in signs)
