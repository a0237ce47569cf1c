"""``lia-live train prepare`` as it is typed: exit codes, the two lines of a mistake, Ctrl-C, a full disk."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lia_live.cli import main
from lia_live.errors import MediaError
from lia_live.train.prepared import Prepared
from tests.train import moving
from tests.train.test_prepare_folder import portraits_only


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    return portraits_only(tmp_path_factory.mktemp("faces") / "in", 6)


WORDS = ("--side", "128", "--clip-side", "64", "--held-out-every", "0")


def loose(folder: Path) -> list[str]:
    """A configuration that lets the close-up faces of these tests pass."""
    path = folder / "loose.toml"
    path.write_text("max_border = 1.0\nside = 96\n[clips]\nmax_border = 1.0\n")
    return ["--config", str(path)]


def run(faces: Path, out: Path, *words: str) -> int:
    return main(["train", "prepare", str(faces), str(out), *words])


def test_a_folder_is_prepared(faces: Path, tmp_path: Path, capsys) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for file in faces.iterdir():
        (source / file.name).symlink_to(file)
    moving.write(source / "me.mp4", moving.swaying(moving.astronaut(), 30))
    held = tmp_path / "held.txt"
    held.write_text("# for evaluation\n\nme.mp4\np0002\n")
    out = tmp_path / "out"
    assert (
        run(source, out, *loose(tmp_path), *WORDS, "--held-out", str(held), "--store", "jpeg") == 0
    )
    said = capsys.readouterr()
    assert "kept 6 of 6 portraits, 1 of them held out" in said.out
    assert "kept 1 of 1 clips, 1 of them held out" in said.out
    assert str(out / "report.html") in said.out
    assert said.err == "", "no progress line away from a terminal"
    loaded = Prepared.load(out)
    assert loaded.portraits is not None and loaded.clips is not None
    assert (loaded.portraits.side, loaded.clips.side) == (128, 64), "flags win over the file"
    assert loaded.portraits.held_out.nonzero().flatten().tolist() == [2]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--sides", "128"], "--side"),
        (["--side", "7"], "prepare.side must be in"),
        (["--fps", "0"], "prepare.clips.fps must be in"),
        (["--store", "zip"], "zip"),
        (["--held-out", "absent.txt"], "absent.txt is not a list"),
        (["--config", "absent.toml"], "absent.toml"),
    ],
)
def test_mistakes_of_usage(words: list, what: str, faces: Path, tmp_path: Path, capsys) -> None:
    assert run(faces, tmp_path / "out", *words) == 2
    said = capsys.readouterr().err
    assert what in said and "to do:" in said
    assert not (tmp_path / "out").exists()


def test_mistakes_in_files(faces: Path, tmp_path: Path, capsys) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text("[clips]\nsides = 3\n")
    assert run(faces, tmp_path / "out", "--config", str(file)) == 2
    assert "clips.sides" in capsys.readouterr().err
    file.write_text("p0099\n")
    assert run(faces, tmp_path / "out", "--held-out", str(file)) == 2
    assert "p0099" in capsys.readouterr().err
    file.write_bytes(b"\xff\xfe\x00")
    assert run(faces, tmp_path / "out", "--held-out", str(file)) == 2


def test_input_that_cannot_be_used(tmp_path: Path, capsys) -> None:
    assert run(tmp_path / "absent", tmp_path / "out") == 3
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty", tmp_path / "out") == 3
    assert "give a folder of portraits" in capsys.readouterr().err
    for number in range(3):
        (tmp_path / "empty" / f"{number}.jpg").write_text("broken")
    assert run(tmp_path / "empty", tmp_path / "out") == 3
    assert "1 of 3 files" in capsys.readouterr().err


def test_places_that_cannot_be_used(faces: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "thesis").write_text("mine")
    assert run(faces, tmp_path) == 2
    assert "other files" in capsys.readouterr().err
    assert run(faces, tmp_path / "thesis") == 4
    assert (tmp_path / "thesis").read_text() == "mine"


def test_a_full_disk_is_four(faces: Path, tmp_path: Path) -> None:
    """No file may grow over 100 kB: the first shard does not fit."""
    program = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from lia_live.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    words = ["train", "prepare", str(faces), str(tmp_path / "out"), *loose(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 4, done.stderr
    assert "cannot be written" in done.stderr and "free some space" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_can_be_gone_on_with(tmp_path: Path) -> None:
    source = portraits_only(tmp_path / "in", 12)
    for number in range(400):  # duplicates: time to be interrupted in
        (source / f"q{number:04}.png").symlink_to(source / "p0000.png")
    out = tmp_path / "out"
    words = ["train", "prepare", str(source), str(out), *loose(tmp_path)]
    with subprocess.Popen(
        [sys.executable, "-m", "lia_live", *words], stderr=subprocess.PIPE, text=True
    ) as program:
        deadline = time.monotonic() + 60
        while not (out / "report.json").exists():
            assert time.monotonic() < deadline and program.poll() is None
            time.sleep(0.02)
        time.sleep(0.3)
        program.send_signal(signal.SIGINT)
        _, said = program.communicate(timeout=60)
    assert program.returncode == 130, said
    assert "Traceback" not in said
    with pytest.raises(MediaError, match="not finished"):
        Prepared.load(out)
    for link in source.glob("q*"):
        link.unlink()
    assert main(words) == 0
    loaded = Prepared.load(out).portraits
    assert loaded is not None and loaded.names == tuple(f"p{n:04}.png" for n in range(12))


def test_progress_on_a_terminal(faces: Path, tmp_path: Path) -> None:
    shown, terminal = pty.openpty()
    words = ["train", "prepare", str(faces), str(tmp_path / "out"), *loose(tmp_path)]
    with subprocess.Popen(
        [sys.executable, "-m", "lia_live", *words], stderr=terminal, stdout=subprocess.DEVNULL
    ) as program:
        os.close(terminal)
        said = b""
        try:
            while piece := os.read(shown, 1024):
                said += piece
        except OSError:  # how a terminal says that its other end is closed
            pass
    os.close(shown)
    assert program.returncode == 0, said
    assert re.search(rb"\d/6 +[\d.]+ a second", said)
