"""The live run from end to end: a clip as camera, a tiny network, files and terminals as they are."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import termios
import time

import av
import pytest

from lia_live.cli import main
from tests.cli import material

STATS = {
    "frames_in", "frames_out", "repeated", "dropped", "face_frames", "fps", "age_ms", "model_ms",
    "track_ms", "startup_s", "device", "engine", "precision",
}  # fmt: skip


@pytest.fixture
def words(files):
    """The flags of a run on the clip, without an output."""
    return [
        "--avatar", str(files / "me.png"), "--camera", str(files / "clip.mp4"), "--device", "cpu",
        "--weights", str(files / "tiny.safetensors"), "--consent", "me",
    ]  # fmt: skip


def test_recording_and_counters(words, tmp_path, capsys):
    out, stats = tmp_path / "out.mp4", tmp_path / "stats.json"
    more = ["--output", str(out), "--stats-json", str(stats), "--size", "320x240", "--fps", "25"]
    assert main(["run", *words, *more]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "cpu" in said.out.splitlines()[0]
    assert "clip.mp4 → me" in said.out
    assert "fps, age p50" in said.out
    counted = json.loads(stats.read_text())
    assert set(counted) >= STATS
    assert counted["frames_in"] > 10
    assert counted["face_frames"] > 0
    assert counted["frames_out"] > 0
    frames = material.frames_in(out)
    assert frames[0].shape == (240, 320, 3)
    assert 0.5 < len(frames) / 25 < 3  # one second of clip, and the resting avatar around it
    with av.open(str(out)) as container:
        assert "AI" in json.dumps(dict(container.metadata))


def test_consent_is_asked_once(words, tmp_path, monkeypatch, capsys):
    assert main([*words, "--output", "none", "--duration", "0.2"]) == 0
    unanswered = [word for word in words if word not in ("--consent", "me")]
    with (tmp_path / "nobody").open("w+") as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        assert main([*unanswered, "--output", "none", "--duration", "0.2"]) == 0


def test_settings_file(words, tmp_path):
    out, settings = tmp_path / "out.mp4", tmp_path / "my.toml"
    settings.write_text(f'output = "{out}"\nwidth = 160\nheight = 120\nduration = 0.5\n')
    assert main([*words, "--config", str(settings), "--height", "90"]) == 0
    assert material.frames_in(out)[0].shape == (90, 160, 3)


def test_folder_of_portraits(words, files, tmp_path, capsys):
    folder = tmp_path / "portraits"
    folder.mkdir()
    for name in ("b.png", "a.png"):
        shutil.copy(files / "me.png", folder / name)
    (folder / "notes.txt").write_text("no portrait")
    assert main(["--avatar", str(folder), *words[2:], "--output", "none", "--duration", "0.5"]) == 0
    assert "→ a" in capsys.readouterr().out


def test_duty_and_danger_are_said(words, capsys):
    assert main([*words, "--output", "none", "--duration", "0.2", "--no-badge", "--fps", "60"]) == 0
    said = capsys.readouterr().err
    assert "tell the people who see this" in said
    assert "Zoom" in said


class Terminal:
    """The program on a terminal of its own, as a person has it."""

    def __init__(self, words: list[str]) -> None:
        self.keyboard, self._screen = pty.openpty()
        self.before = termios.tcgetattr(self._screen)
        begin = (
            f"import os, sys; os.login_tty({self._screen}); os.execv(sys.executable, sys.argv[1:])"
        )
        self.program = subprocess.Popen(
            [sys.executable, "-c", begin, sys.executable, "-m", "lia_live", *words],
            pass_fds=[self._screen],
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        )
        self.text = ""

    def read_until(self, word: str, timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        while word not in self.text:
            assert time.monotonic() < deadline, self.text
            if select.select([self.keyboard], [], [], 0.2)[0]:
                self.text += os.read(self.keyboard, 4096).decode("utf-8", "replace")
            elif self.program.poll() is not None:
                raise AssertionError(f"ended with {self.program.returncode}: {self.text}")

    def type(self, keys: str) -> None:
        os.write(self.keyboard, keys.encode())

    def close(self) -> int:
        """The exit code; the terminal must be as it was."""
        try:
            code = self.program.wait(timeout=30)
            assert termios.tcgetattr(self._screen) == self.before
            return code
        finally:
            self.program.kill()
            os.close(self._screen)
            os.close(self.keyboard)


@pytest.mark.parametrize(("keys", "code"), [("q", 0), ("\x03", 130)])
def test_keys_on_a_terminal(words, keys, code):
    terminal = Terminal([*words, "--output", "none", "--loop"])
    terminal.read_until("Q quit")
    terminal.type("+")
    terminal.read_until("strength 1.1")
    terminal.type("x")
    terminal.read_until("calibrating")
    terminal.read_until("age ")  # the status line
    terminal.type("9")
    terminal.read_until("there is no avatar 9")
    terminal.type(keys)
    assert terminal.close() == code


def test_the_signal_of_a_service_manager_finishes_the_file_too(words, tmp_path):
    out = tmp_path / "out.mp4"
    program = subprocess.Popen(
        [sys.executable, "-m", "lia_live", *words, "--output", str(out), "--loop"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        material.wait_for_bytes(out, 20_000, program)
        program.send_signal(signal.SIGTERM)
        _, said = program.communicate(timeout=60)
    finally:
        program.kill()
    assert (program.returncode, said) == (130, "interrupted\n")
    assert len(material.frames_in(out)) > 0
