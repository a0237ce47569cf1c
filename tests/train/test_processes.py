"""Two processes compute what one computes; they start, stop and fail together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from lia_live.train.checkpoints import Checkpoints
from tests.train import runs

TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2")
pytestmark = pytest.mark.timeout(600)  # processes start slowly on a busy machine
GENTLE = {
    "learning_rate": 1e-4, "single_learning_rate": 1e-4, "critic_learning_rate": 1e-4,
}  # fmt: skip
"""Adam turns the rounding of a sum into steps of its rate: at small ones losses stay within 1e-6."""
SETTINGS = runs.config(
    replace(runs.STAGE, joint_steps=3, **GENTLE),
    replace(
        runs.STAGE, size=64, joint_steps=4, batch=8, clips=0.5, losses=runs.ADVERSARIAL, **GENTLE
    ),
    streams=2,
)
"""Encoder-only steps, growth, clips, discriminator."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.write_data(tmp_path_factory.mktemp("data") / "data", clips=True)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.write_settings(tmp_path_factory.mktemp("settings") / "run.toml", SETTINGS)


@pytest.fixture(scope="module")
def alone(data: Path, settings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run in one process."""
    folder = tmp_path_factory.mktemp("alone")
    done = runs.ran(runs.command(*runs.words(data, folder, settings)))
    assert done.returncode == 0, done.stderr
    return folder


def assert_same(folder: Path, alone: Path) -> None:
    expected, found = runs.logged(alone), runs.logged(folder)
    assert sorted(found) == sorted(expected) == list(range(1, 8))
    for step, (wanted,) in expected.items():
        (got,) = found[step]
        assert got.keys() == wanted.keys()
        assert got["loss"] == pytest.approx(wanted["loss"], rel=1e-6, abs=1e-6), step
        for name, value in wanted.items():  # terms are small differences of the same sums
            assert got[name] == pytest.approx(value, rel=1e-5, abs=1e-6), (step, name)


def test_torchrun_gives_the_losses_of_one_process(
    data: Path, settings: Path, alone: Path, tmp_path: Path
) -> None:
    line = runs.command(*runs.words(data, tmp_path / "run", settings), module=TORCHRUN)
    done = runs.ran(line)
    assert done.returncode == 0, done.stderr
    assert "2 processes" in done.stdout
    assert_same(tmp_path / "run", alone)
    assert (tmp_path / "run" / "weights.safetensors").is_file()


def test_devices_two_gives_them_too_and_one_goes_on_with_it(
    data: Path, settings: Path, alone: Path, tmp_path: Path
) -> None:
    """The first stage by two processes that are then stopped, the rest by one."""
    words = runs.words(data, tmp_path / "run", settings, "--resume")
    program = subprocess.Popen(
        runs.command(*words, "--devices", "2"), env=runs.environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    log = tmp_path / "run" / "log.jsonl"
    try:
        while not log.is_file() or log.read_text().count("\n") < 2:
            assert program.poll() is None, program.communicate()
            time.sleep(0.02)
        os.killpg(program.pid, signal.SIGINT)  # as Ctrl-C does: both get it
        said, complaint = program.communicate(timeout=100)
    finally:
        program.kill()
    assert program.returncode == 130, complaint
    assert complaint.split() == ["interrupted"], complaint
    assert "stopped at step" in said
    done = runs.ran(runs.command(*words))
    assert done.returncode == 0, done.stderr
    assert "going on from step" in done.stdout
    assert_same(tmp_path / "run", alone)


def test_one_line_where_they_cannot_share(data: Path, settings: Path, tmp_path: Path) -> None:
    words = runs.words(data, tmp_path / "run", settings, "--set", "streams=1", "--devices", "2")
    done = runs.ran(runs.command(*words))
    assert done.returncode == 2
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: 2 processes cannot share 1 stream(s)")
    assert "streams=2" in hint
    assert not (tmp_path / "run").exists(), "nothing stands in the way of the next try"


def test_the_first_processs_trouble_is_everybodys(data: Path, settings: Path, alone: Path) -> None:
    """Only the first one holds the lock and writes; the other must not wait for ever."""
    before = json.dumps(sorted(path.name for path in alone.iterdir()))
    done = runs.ran(runs.command(*runs.words(data, alone, settings, "--devices", "2")))
    assert done.returncode == 2
    assert "holds a run already" in done.stderr
    assert "Traceback" not in done.stderr
    assert json.dumps(sorted(path.name for path in alone.iterdir())) == before


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_process_that_dies_takes_the_run_with_it_in_order(
    data: Path, settings: Path, tmp_path: Path
) -> None:
    more = ("--set", "stages.0.joint_steps=2000", "--devices", "2")
    program = subprocess.Popen(
        runs.command(*runs.words(data, tmp_path / "run", settings, *more)),
        env=runs.environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    log = tmp_path / "run" / "log.jsonl"
    try:
        while not log.is_file():
            assert program.poll() is None, program.communicate()
            time.sleep(0.02)
        (second,) = psutil.Process(program.pid).children()
        second.kill()
        _, complaint = program.communicate(timeout=100)
    finally:
        program.kill()
    assert program.returncode in (5, -signal.SIGKILL), complaint  # the launcher may be first
    if program.returncode == 5:
        assert complaint.startswith("error: another process of this run has ended")
    assert Checkpoints(tmp_path / "run" / "checkpoints").newest() is not None
