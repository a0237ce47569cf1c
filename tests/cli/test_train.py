"""``lia-live train``: what it writes and says, its exit codes, and that it stops when it is asked to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lia_live.cli import main
from lia_live.model import LIA, load_model, save_weights
from lia_live.train.checkpoints import Checkpoints
from lia_live.train.locking import locked
from lia_live.train.reporting import FolderReporter, bar, lasting
from tests.train import runs
from tests.train.faces import drawn_portraits

pytestmark = pytest.mark.timeout(400)  # processes start slowly on a busy machine
SETTINGS = runs.config(replace(runs.STAGE, joint_steps=3))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return runs.write_data(tmp_path_factory.mktemp("data") / "data")


@pytest.fixture
def settings(tmp_path) -> Path:
    return runs.write_settings(tmp_path / "run.toml", SETTINGS)


@pytest.fixture
def words(data, settings, tmp_path) -> list[str]:
    return runs.words(data, tmp_path / "run", settings)


def lines(capsys) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_whole_run(tmp_path, settings, capsys):
    data = runs.write_data(tmp_path / "data", held_out=[False, False, True])
    run = tmp_path / "run"
    named = ["--name", "mine", "--licence", "CC0", "--set", "stages.0.batch=8"]
    assert main([*runs.words(data, run, settings), *named]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    first, *_, last = said.out.splitlines()
    assert first.startswith("2 portraits and 0 clips, 3 steps at 32 pixels, width 0.0625, on cpu")
    assert "L1" in said.out
    assert "nothing is held out" not in said.out
    assert last.startswith(f"{run / 'weights.safetensors'}: ")
    model = load_model(run / "weights.safetensors", "cpu")
    assert (model.name, model.licence, model.config) == ("mine", "CC0", runs.TINY)
    assert json.loads((run / "config.json").read_text())["config"]["stages"][0]["batch"] == 8
    assert sorted(runs.logged(run)) == [1, 2, 3]
    assert (run / "sheet.png").is_file()
    board = EventAccumulator(str(run / "tensorboard")).Reload()
    assert [event.step for event in board.Scalars("loss")] == [1, 2, 3]
    logged = runs.logged(run)[2][0]["loss"]
    assert board.Scalars("loss")[1].value == pytest.approx(logged, rel=1e-6)
    assert {"pixels", "flow", "motion", "single", "measured/l1", "measured/r2/yaw"} <= set(
        board.Tags()["scalars"]
    )
    assert board.Tags()["images"] == ["sheet"]
    assert Checkpoints(run / "checkpoints").numbers() == [1, 2, 3]

    # started again, it does not touch what is there
    assert main(runs.words(data, run, settings)) == 2
    assert lines(capsys)[0] == f"error: {run} holds a run already"
    # and resumed with other settings it names them
    assert main([*runs.words(data, run, settings), "--resume", "--set", "seed=4"]) == 2
    error, hint = lines(capsys)
    assert "config.stages.0.batch: 8 -> 4" in error
    assert "config.seed: 1 -> 4" in error
    assert "config.json" in hint


def test_only_the_licence_groups_that_were_named_are_trained_on(tmp_path, settings, capsys):
    data, run = runs.write_data(tmp_path / "data", clips=True), tmp_path / "run"
    grouped = replace(drawn_portraits(), groups=("P1", "P2", "P1"))
    grouped.save(data / "portraits.safetensors")
    chosen = ["--set", 'groups=["P1"]', "--set", "variants=2"]
    assert main([*runs.words(data, run, settings), *chosen]) == 0
    assert capsys.readouterr().out.startswith("2 portraits and 0 clips, 3 steps")
    assert json.loads((run / "config.json").read_text())["config"]["groups"] == ["P1"]
    assert main([*runs.words(data, tmp_path / "no", settings), "--set", 'groups=["P1", "P9"]']) == 3
    error, hint = lines(capsys)
    assert "group 'P9'" in error
    assert "'P1', 'P2'" in hint
    assert not (tmp_path / "no").exists()


def test_without_held_out_pictures_it_says_that_nothing_will_be_measured(words, tmp_path, capsys):
    assert main(words) == 0
    first, note, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("3 portraits")
    assert note.startswith("nothing is held out: nothing will be measured, no sheet drawn")
    assert not (tmp_path / "run" / "sheet.png").exists()
    assert "measured" not in (tmp_path / "run" / "log.jsonl").read_text()


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (["--base", "default"], 2),
        (["--set", "model.motion_dim=8"], 2),
        (["--device", "mps"], 2),
        (["--vgg", "missing.safetensors", "--set", "stages.0.losses.perceptual=1"], 3),
        (None, 3),
    ],
    ids=["base", "network", "device", "vgg", "data"],
)
def test_a_start_that_fails_leaves_no_folder_and_says_one_thing(
    given, code, words, settings, tmp_path, capsys
):
    run = tmp_path / "run"
    if given is None:
        data = runs.write_data(tmp_path / "all", held_out=[True, True, True])
        words, given = runs.words(data, run, settings), []
    assert main([*words, *given]) == code
    said = capsys.readouterr()
    assert said.out == ""
    error, hint = said.err.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("to do: ")
    assert not run.exists()


@pytest.mark.parametrize(
    ("of_base", "given", "kept", "warned"),
    [
        ("CC BY-NC 4.0", None, "CC BY-NC 4.0", False),
        ("CC BY-NC 4.0", "MIT", "MIT", True),
        ("Non-commercial research only", "", "", True),
        ("CC BY-NC 4.0", "CC BY-NC-SA 4.0", "CC BY-NC-SA 4.0", False),
        ("MIT", "CC0", "CC0", False),
        (None, None, "", False),
    ],
)
def test_the_licence_of_a_base_stays(of_base, given, kept, warned, words, tmp_path, capsys):
    if of_base is not None:
        torch.manual_seed(0)
        base = LIA(replace(runs.TINY, size=32))
        save_weights(base, tmp_path / "base.safetensors", name="b", licence=of_base)
        words = [*words, "--base", str(tmp_path / "base.safetensors")]
    if given is not None:
        words = [*words, "--licence", given]
    assert main([*words, "--set", "stages.0.joint_steps=1"]) == 0
    warnings = [one for one in capsys.readouterr().out.splitlines() if one.startswith("warning: ")]
    assert len(warnings) == warned
    assert all(of_base in one for one in warnings)
    assert load_model(tmp_path / "run" / "weights.safetensors", "cpu").licence == kept


def test_a_mac_trains_on_its_cpu_and_is_told_so(words, monkeypatch, capsys):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    line = [*words, "--set", "stages.0.joint_steps=1"]
    line[line.index("--device") + 1] = "auto"
    assert main(line) == 0
    first, note, *_ = capsys.readouterr().out.splitlines()
    assert "on cpu" in first
    assert "Apple GPUs (mps): the CPU is used" in note
    assert main([*line, "--resume", "--device", "mps"]) == 2
    error, hint = lines(capsys)
    assert "does not work on Apple GPUs" in error
    assert "--device cpu" in hint


@pytest.mark.parametrize("given", [["--set", "sed=3"], ["--set", "stages.0.batch=x"]])
def test_wrong_settings(words, given, tmp_path, capsys):
    assert main([*words, *given]) == 2
    error, hint = lines(capsys)
    assert given[1].partition("=")[0] in error
    assert hint.startswith("to do: ")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--preset", "best"], "no preset 'best'"),
        (["--scale", "nan"], "scale must be in"),
        (["--devices", "0"], "devices must be in"),
        (["--checkpoint-steps", "0"], "checkpoint-steps must be in"),
        (["--config", "missing.toml"], "no configuration file"),
        (["--bath", "3"], "unknown flag --bath"),
    ],
)
def test_wrong_flags(words, given, says, capsys):
    assert main([*words, *given]) == 2
    error, _ = lines(capsys)
    assert says in error


def test_a_wrong_key_in_the_file(words, settings, capsys):
    settings.write_text(settings.read_text().replace("warmup_steps", "warm_up_steps"))
    assert main(words) == 2
    error, hint = lines(capsys)
    assert "unknown key warm_up_steps" in error
    assert "did you mean warmup_steps?" in hint


def test_data_that_is_none(data, settings, tmp_path, capsys):
    def code(path: Path) -> int:
        return main(runs.words(path, tmp_path / "run", settings))

    assert code(tmp_path / "missing") == 3
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"\x89PNG")
    assert code(tmp_path / "pictures") == 3
    assert "not written by `train prepare`" in capsys.readouterr().err
    assert code(tmp_path / "pictures" / "a.png") == 3
    runs.write_data(tmp_path / "all", held_out=[True, True, True])
    assert code(tmp_path / "all") == 3
    assert "everything in this data is held out" in capsys.readouterr().err
    nobody = drawn_portraits().select(torch.tensor([], dtype=torch.int64))
    nobody.save(tmp_path / "nobody.safetensors")
    assert code(tmp_path / "nobody.safetensors") == 3
    half = (data / "portraits.safetensors").read_bytes()[:-1000]
    (tmp_path / "half.safetensors").write_bytes(half)
    assert code(tmp_path / "half.safetensors") == 3
    assert len(lines(capsys)) == 4
    assert code(data) == 0, "none of these stood in the way"


def test_a_base_that_is_none(words, tmp_path, capsys):
    assert main([*words, "--base", str(tmp_path / "none.safetensors")]) == 3
    assert main([*words, "--base", "default"]) == 2
    assert "the first stage on 32" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_absent(words, capsys):
    assert main([*words, "--device", "cuda"]) == 5
    error, hint = lines(capsys)
    assert "cuda" in error.lower() or "gpu" in error.lower()
    assert hint


def test_two_runs_in_one_folder(words, tmp_path, capsys):
    with locked(tmp_path / "run"):
        assert main(words) == 2
    assert "another run is at work" in lines(capsys)[0]
    assert main(words) == 0


FULL = """
import resource, sys
from lia_live.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.skipif(os.name != "posix", reason="file size limits")
def test_a_full_disk(words, tmp_path):
    """Room for the log but not for a checkpoint: the system's own limit on the size of a file."""
    assert main([*words, "--set", "stages.0.joint_steps=6"]) == 0
    run = tmp_path / "run"
    for path in (run / "checkpoints").glob("step-00000000[56]*"):
        path.unlink()
    (run / "weights.safetensors").unlink()
    before = {path.name: path.read_bytes() for path in (run / "checkpoints").iterdir()}
    line = [*words, "--set", "stages.0.joint_steps=6", "--resume"]
    done = runs.ran([sys.executable, "-c", FULL, "100000", *line])
    assert done.returncode == 4, done.stderr
    error, hint = done.stderr.splitlines()
    assert "cannot be written" in error
    assert "free some space" in hint
    assert {path.name: path.read_bytes() for path in (run / "checkpoints").iterdir()} == before
    assert main(line) == 0
    assert (run / "weights.safetensors").is_file()


def test_training_that_diverges(words, tmp_path, capsys):
    """Real divergence: a weight that lifts every loss out of float32."""
    wild = ["--set", "stages.0.losses.pixels=1e39", "--set", "stages.0.joint_steps=50"]
    assert main([*words, *wild]) == 6
    said = capsys.readouterr()
    assert "training diverged" in said.err.splitlines()[0]
    assert said.out.count("half the learning rate") == 3
    assert Checkpoints(tmp_path / "run" / "checkpoints").newest() is not None
    entry = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[0])
    assert entry["loss"] is None, "JSON has no word for infinity"


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_ends(words, tmp_path, number):
    """No checkpoint is due for a long time; the signal makes one."""
    line = [word for word in words if word not in ("--checkpoint-steps",)]
    line.pop(line.index("1", line.index("--log-steps") + 2))
    line += ["--set", "stages.0.joint_steps=2000"]
    program = subprocess.Popen(
        runs.command(*line), env=runs.environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    log = tmp_path / "run" / "log.jsonl"
    try:
        while not log.is_file() or log.read_text().count("\n") < 3:
            assert program.poll() is None, program.communicate()
            time.sleep(0.02)
        program.send_signal(number)
        said, complaint = program.communicate(timeout=60)
    finally:
        program.kill()
    assert program.returncode == 130
    assert complaint == "interrupted\n"
    stopped = int(said.rpartition("stopped at step ")[2].split(";")[0])
    assert Checkpoints(tmp_path / "run" / "checkpoints").newest().number == stopped
    assert max(runs.logged(tmp_path / "run")) == stopped


def test_half_a_line_in_the_log_stays_alone(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"total": 1, "loss": 2.0}\n{"total": 2, "lo')
    reporter = FolderReporter(tmp_path, lambda text: None)
    reporter.scalars(2, {"loss": 1.5, "bad": float("nan")})
    reporter.close()
    whole, half, new = (tmp_path / "log.jsonl").read_text().splitlines()
    assert json.loads(whole)["total"] == 1
    assert half == '{"total": 2, "lo'
    assert json.loads(new) == {"total": 2, "loss": 1.5, "bad": None}


def test_progress_tells_rate_and_time_left(tmp_path):
    shown: list[str] = []
    reporter = FolderReporter(tmp_path, lambda text: None, shown.append)
    reporter._began -= 10.0
    reporter.advance(101, 200, 40)  # resumed after 100 steps
    reporter.advance(110, 200, 400)
    reporter.close()
    assert shown[0].startswith("[############............] 101/200  4.0 pairs/s")
    assert "40.0 pairs/s" in shown[1]
    assert shown[1].endswith("90 s left") or shown[1].endswith("2 min left")
    assert bar(0.0, 4) == "[....]"
    assert bar(1.0, 4) == "[####]"
    assert [lasting(s) for s in (40, 720, 12_000)] == ["40 s", "12 min", "3 h 20 min"]
