"""What keys do, and that a terminal is always left as it was found."""

import os
import pty
import termios
import threading

import pytest

from lia_live.cli.hotkeys import Hotkeys, terminal_keys


class Recorder:
    """Controls that note what was asked."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def calibrate(self) -> None:
        self.asked.append("calibrate")

    def choose_avatar(self, index: int) -> None:
        self.asked.append(index)

    def step_avatar(self, step: int) -> None:
        self.asked.append(("step", step))

    def toggle_mirror_in(self) -> None:
        self.asked.append("in")

    def toggle_mirror_out(self) -> None:
        self.asked.append("out")

    def change_strength(self, change: float) -> None:
        self.asked.append(round(change, 2))

    def show_stats(self) -> None:
        self.asked.append("stats")

    def hold_passthrough(self) -> None:
        self.asked.append("passthrough")

    def stop(self) -> None:
        self.asked.append("stop")


def test_every_key():
    controls = Recorder()
    keys = Hotkeys(controls)
    for key in "x19adRT+=-iQ":
        keys.press(key)
    assert controls.asked == [
        "calibrate", 0, 8, ("step", -1), ("step", 1), "in", "out", 0.1, 0.1, -0.1, "stats", "stop",
    ]  # fmt: skip


def test_unknown_keys_do_nothing():
    controls = Recorder()
    for key in "0zé \n":
        Hotkeys(controls).press(key)
    assert controls.asked == []


def test_passthrough_does_not_exist_unless_allowed():
    controls = Recorder()
    Hotkeys(controls).press("p")
    Hotkeys(controls).press("P")
    assert controls.asked == []
    Hotkeys(controls, passthrough=True).press("p")
    assert controls.asked == ["passthrough"]


@pytest.fixture
def terminal(monkeypatch):
    """A pseudo-terminal as stdin; the test types at its other end."""
    keyboard, screen = pty.openpty()
    with open(screen, closefd=False) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        monkeypatch.setattr(os, "tcgetpgrp", lambda descriptor: os.getpgrp())
        yield keyboard, screen
    os.close(keyboard)
    os.close(screen)


def test_keys_come_at_once_and_the_mode_is_put_back(terminal):
    keyboard, screen = terminal
    before = termios.tcgetattr(screen)
    typed: list[str] = []
    all_there = threading.Event()

    def press(key: str) -> None:
        typed.append(key)
        if len(typed) == 2:
            all_there.set()

    with terminal_keys(press) as listening:
        assert listening
        assert termios.tcgetattr(screen) != before
        os.write(keyboard, b"\x1b[A")  # an arrow key is no letter
        threading.Event().wait(0.1)
        os.write(keyboard, b"xq")
        assert all_there.wait(5)
    assert typed == ["x", "q"]
    assert termios.tcgetattr(screen) == before


def test_the_mode_is_put_back_after_an_error(terminal):
    _, screen = terminal
    before = termios.tcgetattr(screen)
    with pytest.raises(ValueError, match="inside"), terminal_keys(lambda key: None):
        raise ValueError("inside")
    assert termios.tcgetattr(screen) == before


def test_without_a_terminal_nothing_is_read(monkeypatch, tmp_path):
    with (tmp_path / "file").open("w+") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        with terminal_keys(lambda key: None) as listening:
            assert not listening


def test_in_the_background_nothing_is_read(terminal, monkeypatch):
    _, screen = terminal
    before = termios.tcgetattr(screen)
    monkeypatch.setattr(os, "tcgetpgrp", lambda descriptor: os.getpgrp() + 1)
    with terminal_keys(lambda key: None) as listening:
        assert not listening
        assert termios.tcgetattr(screen) == before
