"""The real program: its two lines, its traceback, and Ctrl-C at any moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli import material

QUIET = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def start(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lia_live", *map(str, words)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **QUIET},
    )


def test_the_real_program_says_two_lines(files):
    program = start("--avatar", files / "none.png", "--output", "none", "--consent", "me")
    _, said = program.communicate(timeout=60)
    assert program.returncode == 3
    assert [line.partition(":")[0] for line in said.splitlines()] == ["error", "to do"]


def test_debug_shows_the_traceback(files):
    program = start("--avatar", files / "none.png", "--consent", "me", "--debug")
    _, said = program.communicate(timeout=60)
    assert program.returncode == 3
    assert "Traceback" in said
    assert said.splitlines()[-1].startswith("to do:")


def recording(command: str, files: Path, out: Path) -> subprocess.Popen[str]:
    """The program while it makes ``out`` and does not end by itself for a long time."""
    clip: tuple[object, ...] = ("--camera", files / "clip.mp4", "--loop", "--output", out)
    if command == "animate":
        clip = ("--driving", files / "long.mp4", "--out", out)
    return start(
        command, "--avatar", files / "me.png", *clip,
        "--weights", files / "tiny.safetensors", "--device", "cpu", "--consent", "me",
    )  # fmt: skip


def interrupt(command: str, files: Path, out: Path, since: str, after_s: float) -> int:
    """Press Ctrl-C ``after_s`` seconds after the program's start, its first word or its first pictures;
    returns how many pictures its file holds, 0 for no file.
    """
    program = recording(command, files, out)
    try:
        if since == "first word":
            assert program.stdout is not None
            assert program.stdout.readline(), program.communicate()[1]
        elif since == "first pictures":
            material.wait_for_bytes(out, 10_000, program)
        time.sleep(after_s)
        program.send_signal(signal.SIGINT)
        _, said = program.communicate(timeout=60)
    finally:
        program.kill()
    assert program.returncode == 130, said
    assert said.splitlines()[-1] == "interrupted"
    assert "Traceback" not in said
    return len(material.frames_in(out)) if out.exists() else 0


@pytest.fixture(scope="module")
def long_clip(files) -> None:
    material.write_face_clip(files / "long.mp4", seconds=60, sound=True)


@pytest.mark.parametrize("command", ("run", "animate"))
def test_interrupted_at_any_moment_leaves_a_playable_file(command, files, long_clip, tmp_path):
    """While things load, while the first pictures are made, and well inside."""
    moments = [
        ("start", random.uniform(0.4, 1.2)),
        ("first word", random.uniform(0.0, 1.0)),
        ("first pictures", random.uniform(0.0, 0.5)),
    ]
    print("moments:", moments)
    held = [
        interrupt(command, files, tmp_path / f"{number}.mp4", *moment)
        for number, moment in enumerate(moments)
    ]
    assert held[0] == 0
    assert held[2] > 0


@pytest.mark.soak
@pytest.mark.parametrize("command", ("run", "animate"))
def test_interrupted_at_many_moments(command, files, long_clip, tmp_path):
    moments = [("start", random.uniform(0.4, 10.0)) for _ in range(30)]
    print("moments:", moments)
    for number, moment in enumerate(moments):
        interrupt(command, files, tmp_path / f"{number}.mp4", *moment)


def test_an_impatient_second_signal_does_not_hurt_the_file(files, tmp_path):
    """It comes while the file is being closed."""
    out = tmp_path / "out.mp4"
    program = recording("run", files, out)
    try:
        material.wait_for_bytes(out, 10_000, program)
        for _ in range(2):
            program.send_signal(signal.SIGINT)
            time.sleep(0.02)
        _, said = program.communicate(timeout=60)
    finally:
        program.kill()
    assert program.returncode == 130, said
    assert len(material.frames_in(out)) > 0
