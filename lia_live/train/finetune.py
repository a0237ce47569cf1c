"""A network of one's own: the base trained on for one person, kept only if it is better on held-out frames."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lia_live.errors import ConfigError, WeightsError
from lia_live.model import LIA, load_model, save_weights
from lia_live.model.weights_file import write_atomically
from lia_live.render.memory import keep_freed_memory
from lia_live.train.locking import locked
from lia_live.train.loop import Pace, Run
from lia_live.train.losses import LossWeights
from lia_live.train.material import Material, Test
from lia_live.train.perceptual import FixedFeatures
from lia_live.train.reporting import FolderReporter, Reporter, lasting
from lia_live.train.schedule import Stage, TrainConfig
from lia_live.train.settings import plain

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from lia_live.evaluate import Figures

BEST: Final = "best.safetensors"
PLAN: Final = "plan.json"
LEAST_GAIN: Final = 0.02
"""Of L1, as a share of the base's: less is not worth a network of one's own."""
SHARPNESS_SLACK: Final = 0.85
"""Gradient energy may fall to this share of the base's: L1 alone would reward blur."""
CORRELATION_SLACK: Final = 0.15
"""So much may mouth or eyes follow less, within what a few seconds can tell."""
LEAST_SLOPE = 0.1
"""Below this the base does not move them, and its correlation is chance."""
LEAST_STEPS: Final = 20
MOST_STEPS: Final = 20_000


@dataclass(frozen=True)
class FinetuneConfig:
    """How long and how hard."""

    minutes: float = 10.0
    """Of training; loading, measuring and the report come on top. 0.1 to 1,440."""
    batch: int = 4
    """Pairs a step."""
    learning_rate: float = 1e-3
    """Adam's."""
    clip_share: float = 0.75
    """Of pairs that come from the clip, where there is one; the others perform the picture."""
    checks: int = 10
    """Times the validation frames are looked at in the planned steps."""
    patience: int = 4
    """Checks in a row without improvement before it stops early."""
    seed: int = 1
    losses: LossWeights = field(
        default_factory=lambda: LossWeights(flow=0.05, mask=0.1, motion=1.0, perceptual=0.3)
    )

    def __post_init__(self) -> None:
        if not 0.1 <= self.minutes <= 1440:
            raise ConfigError(f"minutes must be in [0.1, 1440], got {self.minutes:g}")
        if self.batch < 1 or self.checks < 1 or self.patience < 1:
            raise ConfigError("batch, checks and patience must be at least 1")


@dataclass(frozen=True)
class Check:
    """One look at the validation frames."""

    step: int
    minutes: float
    l1: float
    """In [0, 1]."""


@dataclass(frozen=True)
class Outcome:
    """What came of it. Figures are of the held-out frames."""

    network: LIA | None
    """The tuned network, rounded to float16; None: the base was kept."""
    before: Figures
    after: Figures
    checks: tuple[Check, ...]
    steps: int
    minutes: float
    pairs_per_s: float
    reason: str
    """Why it was kept or not, in words."""
    pictures: tuple[list[Any], list[Any]]
    """Outputs of the base and of the tuned network on the held-out frames, (S, S, 3) uint8 each."""


def finetune(
    material: Material,
    base: LIA,
    folder: Path,
    config: FinetuneConfig,
    *,
    fabric: Fabric,
    line: Callable[[str], None],
    status: Callable[[str], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome | None:
    """Train ``base`` on ``material``; None where ``stop`` ended it early (the same call goes on).

    ``folder`` keeps the run: plan, checkpoints, log, the best weights so far. Raises ``LiaLiveError``.
    """
    from lia_live.evaluate import compare, look_at, reconstruct

    keep_freed_memory()
    perceptual = FixedFeatures().to(fabric.device)

    def run_in(
        where: Path,
        steps: int,
        checkpoint_s: float = math.inf,
        reporter: Reporter | None = None,
        resume: bool = False,
    ) -> Run:
        schedule = _schedule(config, steps, base, material.has_clip)
        pace = Pace(checkpoint_s=checkpoint_s, measure_s=math.inf)
        return Run(
            schedule,
            material.data,
            where,
            fabric,
            base=base,
            perceptual=perceptual,
            reporter=reporter,
            pace=pace,
            resume=resume,
        )

    with ExitStack() as closing:
        closing.enter_context(locked(folder))
        reporter = FolderReporter(folder, line, status)
        closing.callback(reporter.close)
        asked = asked_for(config, material, base)
        steps = _kept_plan(folder, asked)
        if steps is None:
            line("timing a few steps")
            step_s = _step_seconds(folder, run_in, stop)
            if step_s is None:
                return None
            steps = min(MOST_STEPS, max(LEAST_STEPS, round(config.minutes * 60 / step_s)))
            line(f"{step_s:.2f} s a step: {steps} steps in {lasting(steps * step_s)}")
            write_atomically(folder / PLAN, json.dumps({"asked": asked, "steps": steps}).encode())
        else:
            line(f"going on with the fine-tuning in {folder}")
        run = run_in(folder, steps, 60.0, reporter, resume=True)
        watch = _Watch(run, material.validation, folder, config, steps, base, line)
        began, before = time.monotonic(), run.progress.total
        ended = watch.done or run.train(lambda: watch.enough() or stop())
        if not ended and not watch.done:
            line(f"stopped at step {run.progress.total}; the same command goes on from there")
            return None
        spent = time.monotonic() - began
        done = run.progress.total - before
        tuned = load_model(folder / BEST, "cpu")

    held = material.held_out
    models = (base, tuned)
    outputs = []
    for model in models:
        model.to(fabric.device)
        outputs.append(reconstruct(model, look_at(model, held.source), held.real))
    figures = [compare(held.source, pictures, held.real) for pictures in outputs]
    better, reason = verdict(figures[0], figures[1])
    return Outcome(
        network=tuned.cpu() if better else None,
        before=figures[0],
        after=figures[1],
        checks=tuple(watch.checks),
        steps=run.progress.total,
        minutes=run.progress.seconds / 60,
        pairs_per_s=done * config.batch / max(1e-9, spent),
        reason=reason,
        pictures=(outputs[0], outputs[1]),
    )


def verdict(before: Figures, after: Figures) -> tuple[bool, str]:
    """Whether the tuned network replaces the base, and why.

    L1 must fall by ``LEAST_GAIN``, landmarks must be no worse, no face lost; sharpness and the movements of mouth and
    eyes may not fall clearly.
    """
    words = f"L1 {before.l1:.4f} -> {after.l1:.4f}, AKD {before.akd:.2f} -> {after.akd:.2f} px"
    gain = 1 - after.l1 / before.l1
    if not gain >= LEAST_GAIN:
        return False, f"not better where it was tested ({words})"
    if not after.akd <= before.akd or after.face_found < before.face_found:
        return False, f"faces are less accurate where it was tested ({words})"
    if after.sharpness < SHARPNESS_SLACK * before.sharpness:
        lost = f"{before.sharpness:.2f} -> {after.sharpness:.2f}"
        return False, f"blurred where it was tested (sharpness {lost}; {words})"
    for channel in ("mouth", "eyes"):
        was, now = (_movement(figures, channel) for figures in (before, after))
        if was is None or now is None or not abs(was[1]) >= LEAST_SLOPE:
            continue  # not judged, or nothing that could be lost
        if now[0] < was[0] - CORRELATION_SLACK:
            return False, f"{channel} follow less ({was[0]:.2f} -> {now[0]:.2f}; {words})"
    return True, f"{gain:.0%} lower L1 ({words})"


def _movement(figures: Figures, channel: str) -> tuple[float, float] | None:
    """Correlation and slope; None where the driver's hardly moves."""
    movement = figures.movements.get(channel)
    return None if movement is None else (movement.correlation, movement.slope)


class _Watch:
    """Looks at the validation frames now and then, keeps the best weights, says when to stop."""

    def __init__(
        self,
        run: Run,
        test: Test,
        folder: Path,
        config: FinetuneConfig,
        steps: int,
        base: LIA,
        line: Callable[[str], None],
    ) -> None:
        self._run, self._test, self._folder, self._line = run, test, folder, line
        self._every = max(1, steps // config.checks)
        self._steps, self._patience = steps, config.patience
        self._base_name = base.name
        self._licence = base.licence
        self._device = run.fabric.device
        self._history = folder / "validation.json"
        self.checks = [
            check for check in _read_checks(self._history) if check.step <= run.progress.total
        ]
        if not self.checks:
            self._look(base)

    @property
    def done(self) -> bool:
        """Whether the last checks brought nothing."""
        best = min(range(len(self.checks)), key=lambda i: self.checks[i].l1)
        return len(self.checks) - 1 - best >= self._patience

    def enough(self) -> bool:
        """Called after every step."""
        step = self._run.progress.total
        if step % self._every and step != self._steps:
            return False
        self._look(self._run.finished())
        if self.done:
            self._line(f"no improvement in {self._patience} checks: stopping early")
        return self.done

    def _look(self, model: LIA) -> None:
        from lia_live.evaluate import look_at, reconstruct
        from lia_live.evaluate.picture_measures import l1

        model = model.to(self._device)
        outputs = reconstruct(model, look_at(model, self._test.source), self._test.real)
        distance = sum(map(l1, outputs, self._test.real)) / len(outputs)
        step = self._run.progress.total
        best = min((check.l1 for check in self.checks), default=math.inf)
        if distance < best:
            save_weights(
                model,
                self._folder / BEST,
                name=f"{self._base_name}, personal" if step else self._base_name,
                licence=self._licence,
                dtype="float16",
            )
        self.checks.append(Check(step, self._run.progress.seconds / 60, distance))
        text = json.dumps([asdict(check) for check in self.checks])
        write_atomically(self._history, text.encode())
        self._line(f"step {step} of {self._steps}: validation L1 {distance:.4f}")


def _read_checks(path: Path) -> list[Check]:
    try:
        return [Check(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return []


def asked_for(config: FinetuneConfig, material: Material, base: LIA) -> dict[str, Any]:
    """What a fine-tuning is one of; as JSON has it. Another one may not go on in its folder."""
    return {
        "config": plain(config),
        "material": material.data.fingerprint,
        "base": base.fingerprint,
    }


def _kept_plan(folder: Path, asked: dict[str, Any]) -> int | None:
    """The number of steps that fit the time when this fine-tuning began; None where it begins now.

    Measured once, so that a resumed run has the same plan. Raises ``ConfigError`` for another one's folder.
    """
    path = folder / PLAN
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        kept, steps = plan["asked"], int(plan["steps"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{path} is damaged: {error}", f"remove {folder} and begin anew"
        ) from None
    if kept != asked:
        raise ConfigError(
            f"{folder} holds a fine-tuning of something else or with other settings",
            f"remove it, or name another --out (its folder is beside it: {folder.name})",
        )
    return steps


def _step_seconds(
    folder: Path, run_in: Callable[[Path, int], Run], stop: Callable[[], bool]
) -> float | None:
    """Duration of a step in steady state, from a short run that leaves nothing behind; None if stopped."""
    marks: list[float] = []

    def mark() -> bool:
        marks.append(time.monotonic())
        return stop()

    with tempfile.TemporaryDirectory(dir=folder, prefix="timing-") as scratch:
        if not run_in(Path(scratch), 5).train(mark):
            return None
    return max(1e-3, (marks[-1] - marks[1]) / (len(marks) - 2))


def _schedule(config: FinetuneConfig, steps: int, base: LIA, has_clip: bool) -> TrainConfig:
    """One stage at the base's size."""
    stage = Stage(
        size=base.config.size,
        joint_steps=steps,
        batch=config.batch,
        single_steps=0,
        oracle=(0.0, 0.0),
        learning_rate=config.learning_rate,
        decay_from=0.5,
        losses=config.losses,
        region_share=0.5,
        clips=config.clip_share if has_clip else 0.0,
    )
    return TrainConfig(
        model=base.config,
        stages=(stage,),
        seed=config.seed,
        ema=0.98,
        window=96,
        warmup_steps=min(20, max(1, steps // 5)),
    )
