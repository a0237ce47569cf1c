"""How far a schedule must be stretched to fill the time there is: a few real steps of every stage are timed.

``python -m lia_live.train.fitting DATA --preset gpu --minutes 30`` prints one number, for ``train --scale``. A run must
not depend on a clock, or it could not be resumed bit for bit; so the clock is asked once, before it begins.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lia_live.errors import ConfigError
from lia_live.train.data import Data
from lia_live.train.devices import open_fabric
from lia_live.train.loop import Pace, Run
from lia_live.train.perceptual import FixedFeatures
from lia_live.train.prepared import Prepared
from lia_live.train.presets import PRESETS
from lia_live.train.recorded import is_worth_compiling
from lia_live.train.schedule import Stage, TrainConfig
from lia_live.train.settings import assign

if TYPE_CHECKING:
    from lightning_fabric import Fabric

STEPS: Final = 8
"""Of each stage; the first ones warm up and do not count."""
SLACK: Final = 0.9
"""Share of the time that steps and compiling may take: starting, saving, measuring and exporting take the rest."""
NEVER: Final = Pace(checkpoint_s=1e9, measure_s=1e9, log_steps=10**9)


def step_seconds(stage: Stage, config: TrainConfig, data: Data, fabric: Fabric) -> float:
    """Typical time of one joint step of ``stage`` with the encoder-only steps that follow it."""
    times: list[float] = []

    def tick() -> bool:
        times.append(time.monotonic())
        return False

    one = replace(config, stages=(replace(stage, joint_steps=STEPS),))
    unmeasured = replace(data, held_out=None)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(
            one,
            unmeasured,
            Path(folder),
            fabric,
            perceptual=FixedFeatures().to(fabric.device) if stage.losses.perceptual else None,
            pace=NEVER,
        )
        run.train(tick)
    taken = [after - before for before, after in itertools.pairwise(times[2:])]
    return statistics.median(taken)


def fitting_scale(config: TrainConfig, data: Data, fabric: Fabric, minutes: float) -> float:
    """What the steps of ``config`` must be multiplied by to fill ``minutes`` here.

    Raises ``ConfigError`` for a time that is not positive.
    """
    if not minutes > 0:
        raise ConfigError(f"minutes must be above 0, got {minutes:g}")
    left = SLACK * 60 * minutes
    plain = replace(config, compiled="never")
    seconds = [step_seconds(stage, plain, data, fabric) for stage in config.stages]
    scale = left / _in_all(config, seconds)
    if fabric.device.type != "cuda":  # nothing is compiled there
        return scale
    for number, stage in enumerate(config.stages):
        if is_worth_compiling(config.compiled, round(stage.joint_steps * scale)):
            began = time.monotonic()
            always = replace(config, compiled="always")
            seconds[number] = step_seconds(stage, always, data, fabric)
            left -= time.monotonic() - began
    return max(0.0, left) / _in_all(config, seconds)


def _in_all(config: TrainConfig, seconds: list[float]) -> float:
    """Time of the unscaled schedule, whose stages take ``seconds`` a step."""
    return sum(s.joint_steps * each for s, each in zip(config.stages, seconds, strict=True))


def main() -> None:
    """Print the scale, to three digits."""
    parser = argparse.ArgumentParser(description="The --scale with which a preset takes so long.")
    parser.add_argument("data", type=Path, help="made by lia-live train prepare")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="gpu")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", action="append", default=[], help="as of lia-live train")
    arguments = parser.parse_args()
    fabric = open_fabric(arguments.device)
    config = assign(PRESETS[arguments.preset](), arguments.set)
    data = Data.of(Prepared.load(arguments.data), fabric.device, config.variants, config.groups)
    scale = fitting_scale(config, data, fabric, arguments.minutes)
    print(f"{scale:.3g}")


if __name__ == "__main__":
    main()
