"""Which command is meant, what help shows, and what becomes of anything that is raised."""

import os
import subprocess
import sys
import time

import pytest

from lia_live.cli import main
from lia_live.cli import run as run_command
from lia_live.cli.parser import Command


@pytest.fixture
def stand_in(monkeypatch):
    """Puts a function in the place of ``run``; returns the flags it was called with."""
    calls = []

    def replace(execute) -> list:
        def called(flags, interrupts):
            calls.append(flags)
            return execute()

        command = Command("run", "", run_command.COMMAND.add_arguments, called)
        monkeypatch.setattr(run_command, "COMMAND", command)  # flags alone
        monkeypatch.setitem(sys.modules["lia_live.cli.main"]._BY_NAME, "run", command)
        return calls

    return replace


def fails(error: BaseException):
    def execute() -> int:
        raise error

    return execute


def test_flags_alone_mean_run(stand_in):
    calls = stand_in(lambda: 0)
    assert main(["--avatar", "me.png"]) == 0
    assert calls[0].avatar == ["me.png"]


@pytest.mark.parametrize(
    "words", [["--help"], ["-h"], ["help"], ["run", "--help"], ["avatar", "--help"]]
)
def test_help(words, capsys):
    assert main(words) == 0
    assert "lia-live" in capsys.readouterr().out


def test_help_lists_every_command(capsys):
    main(["--help"])
    text = capsys.readouterr().out
    for name in (
        "run",
        "demo",
        "animate",
        "avatar build",
        "avatar info",
        "weights convert",
        "doctor",
    ):
        assert f"lia-live {name}" in text


def test_help_is_quick():
    def took() -> float:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "lia_live", "--help"], check=True, capture_output=True
        )
        return time.perf_counter() - began

    assert min(took() for _ in range(3)) < 0.5  # the best of three: other programs run too


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("lia-live ")


@pytest.mark.parametrize(
    ("words", "says", "to_do"),
    [
        ([], "no portrait was given", "lia-live --avatar me.png"),
        (["docter"], "no command docter", "did you mean doctor?"),
        (["xyzzy"], "no command xyzzy", "lia-live --help"),
        (["me.png"], "no command me.png", "lia-live --avatar me.png"),
        (["avatar"], "no command `avatar`", "avatar build"),
        (["avatar", "bild"], "no command `avatar bild`", "avatar build"),
        (["--avtar", "me.png"], "unknown flag --avtar", "did you mean --avatar?"),
        (["animate"], "--avatar", "lia-live animate --help"),
    ],
)
def test_usage(words, says, to_do, capsys):
    assert main(words) == 2
    what, hint = capsys.readouterr().err.splitlines()
    assert says in what
    assert to_do in hint


def test_debug_shows_the_traceback_and_nothing_else_does(stand_in, capsys):
    stand_in(fails(ZeroDivisionError("oops")))
    assert main(["run"]) == 1
    assert "Traceback" not in capsys.readouterr().err
    for words in (["--debug", "run"], ["run", "--debug"], ["--avatar", "a", "--debug"]):
        assert main(words) == 1
        assert "Traceback" in capsys.readouterr().err


def test_interrupted(stand_in, capsys):
    stand_in(fails(KeyboardInterrupt()))
    assert main(["run"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_reader_that_leaves_is_no_error():
    program = f"{sys.executable} -m lia_live --help | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "0"
    assert done.stderr == ""


def test_a_console_that_knows_few_letters():
    program = (
        "import sys; from lia_live.cli import main; print(end=''); main(['--help']); print('→')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout[-2:]) == (0, "?\n")


def test_output_to_a_full_disk(capfd):
    program = [sys.executable, "-m", "lia_live", "--help"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 4
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["error", "to do"]
