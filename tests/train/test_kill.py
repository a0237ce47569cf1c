"""A run that is killed at any moment and resumed computes what an undisturbed one computes, bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from lia_live.train.checkpoints import Checkpoints
from tests.train import runs

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked and killed"),
    pytest.mark.timeout(600),
]

STAGES = (
    replace(runs.STAGE, joint_steps=12),
    replace(runs.STAGE, joint_steps=12, size=64),
    replace(runs.STAGE, joint_steps=12, size=64, clips=0.5, losses=runs.ADVERSARIAL),
)
"""Growth between the first two; encoder-only steps, clips and the discriminator are there."""


class Forks:
    """One process at a time out of a prepared one."""

    def __init__(self, program: subprocess.Popen[str], output: Path) -> None:
        self._program, self.output = program, output

    def start(self, words: list[str]) -> int:
        self._program.stdin.write(json.dumps({"words": words, "output": str(self.output)}) + "\n")
        self._program.stdin.flush()
        return int(self._program.stdout.readline())

    def wait(self) -> int:
        return int(self._program.stdout.readline())


@contextmanager
def forks(output: Path) -> Iterator[Forks]:
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.train.forks"],
        env=runs.environment(), cwd=runs.ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with program:
        try:
            assert program.stdout.readline() == "ready\n"
            yield Forks(program, output)
        finally:
            program.stdin.close()
            program.kill()


def newest_number(checkpoints: Path) -> int:
    return max((int(path.stem[5:]) for path in checkpoints.glob("step-*.json")), default=-1)


def is_saving(checkpoints: Path) -> bool:
    return any(checkpoints.glob(".step-*.part"))


def is_gone(process: int) -> bool:
    """Whether it ended by itself; its parent waits for it, so nothing else takes its number meanwhile."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def interrupted(
    forks: Forks, words: list[str], folder: Path, kills: int, dice: random.Random
) -> int:
    """Kill the run so many times, then let it finish; how often a save was torn apart."""
    torn = 0
    checkpoints = folder / "checkpoints"
    further = ([0, 0, 1, 1, 0] * kills)[:kills]
    dice.shuffle(further)
    for number, steps in enumerate(further):
        goal = newest_number(checkpoints) + steps
        process = forks.start([*words, "--resume"])
        if steps == 0 and number % 2:
            time.sleep(dice.uniform(0.0, 0.5))  # still reading its data, or at its first step
        else:
            while newest_number(checkpoints) < goal or (number % 2 and not is_saving(checkpoints)):
                assert not is_gone(process), forks.output.read_text()
                time.sleep(0.0002)
            if not number % 2:
                time.sleep(dice.uniform(0.0, 0.3))
        os.kill(process, signal.SIGKILL)
        code = forks.wait()
        assert code == -signal.SIGKILL, forks.output.read_text()
        known = {json.loads(path.read_text())["file"] for path in checkpoints.glob("step-*.json")}
        files = {path.name for path in checkpoints.glob("step-*.safetensors")}
        torn += is_saving(checkpoints) or not files <= known
    forks.start([*words, "--resume"])
    assert forks.wait() == 0, forks.output.read_text()
    return torn


def compare(folder: Path, undisturbed: Path) -> int:
    """Every figure of every step, repeated ones too; the last checkpoint; the weights. Repeated steps."""
    expected, found = runs.logged(undisturbed), runs.logged(folder)
    assert sorted(found) == sorted(expected)
    for step, (wanted,) in expected.items():
        for entry in found[step]:
            assert entry == wanted
    tensors = [Checkpoints(f / "checkpoints").newest().tensors for f in (folder, undisturbed)]
    assert tensors[0].keys() == tensors[1].keys()
    assert all(tensors[0][name].equal(value) for name, value in tensors[1].items())
    weights = [load_file(f / "weights.safetensors") for f in (folder, undisturbed)]
    assert all(weights[0][name].equal(value) for name, value in weights[1].items())
    return sum(len(entries) - 1 for entries in found.values())


def check(place: Path, kills: int, seed: int) -> None:
    data = runs.write_data(place / "data", clips=True)
    settings = runs.write_settings(place / "run.toml", runs.config(*STAGES))
    with forks(place / "output") as ready:
        ready.start(runs.words(data, place / "undisturbed", settings))
        assert ready.wait() == 0, ready.output.read_text()
        dice = random.Random(seed)
        line = runs.words(data, place / "killed", settings)
        torn = interrupted(ready, line, place / "killed", kills, dice)
    repeated = compare(place / "killed", place / "undisturbed")
    assert torn >= kills // 5, "too few kills came inside a save to tell anything"
    assert repeated >= 1, "no kill cost a step: they all came at the same moment"


def test_twenty_kills(tmp_path: Path) -> None:
    check(tmp_path, 20, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(10))
def test_many_kills(tmp_path: Path, seed: int) -> None:
    check(tmp_path, 25, seed)
