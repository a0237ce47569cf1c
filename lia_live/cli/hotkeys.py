"""Keys while the avatar is live: what each does, and reading them from a terminal.

The preview window hands its keys to the same ``Hotkeys.press``. The terminal's mode is put back when
the block ends, when the program fails, and when the interpreter exits.
"""

from __future__ import annotations

import atexit
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

STRENGTH_STEP = 0.1

HELP = "keys: X calibrate · 1-9, A/D avatar · R/T mirror in/out · +/- strength · I stats · Q quit"


class Controls(Protocol):
    """What the keys steer. Called from the key reader's thread or the output thread."""

    def calibrate(self) -> None: ...
    def choose_avatar(self, index: int) -> None: ...
    def step_avatar(self, step: int) -> None: ...
    def toggle_mirror_in(self) -> None: ...
    def toggle_mirror_out(self) -> None: ...
    def change_strength(self, change: float) -> None: ...
    def show_stats(self) -> None: ...
    def hold_passthrough(self) -> None: ...
    def stop(self) -> None: ...


class Hotkeys:
    """Turns one key into one action. Key P has none unless ``passthrough`` was allowed.

    P counts as held while it is reported again and again, as a terminal and a window do.
    """

    def __init__(self, controls: Controls, *, passthrough: bool = False) -> None:
        self._actions: dict[str, Callable[[], None]] = {
            "x": controls.calibrate,
            "a": lambda: controls.step_avatar(-1),
            "d": lambda: controls.step_avatar(+1),
            "r": controls.toggle_mirror_in,
            "t": controls.toggle_mirror_out,
            "+": lambda: controls.change_strength(+STRENGTH_STEP),
            "=": lambda: controls.change_strength(+STRENGTH_STEP),  # + without shift
            "-": lambda: controls.change_strength(-STRENGTH_STEP),
            "i": controls.show_stats,
            "q": controls.stop,
        }
        for digit in range(1, 10):
            self._actions[str(digit)] = self._choose(controls, digit - 1)
        if passthrough:
            self._actions["p"] = controls.hold_passthrough

    def press(self, key: str) -> None:
        """Act on one key, upper or lower case; keys without a meaning are ignored."""
        action = self._actions.get(key.lower())
        if action is not None:
            action()

    @staticmethod
    def _choose(controls: Controls, index: int) -> Callable[[], None]:
        return lambda: controls.choose_avatar(index)


@contextmanager
def terminal_keys(press: Callable[[str], None]) -> Iterator[bool]:
    """Hand the terminal's keys to ``press``, from a thread, while the block runs.

    Yields whether there is a terminal to read from. Ctrl-C keeps its meaning.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        yield False
    elif sys.platform == "win32":
        with _windows_keys(press):
            yield True
    elif os.tcgetpgrp(sys.stdin.fileno()) != os.getpgrp():
        yield False  # started in the background: reading would stop the program
    else:
        with _single_keys(sys.stdin.fileno()), _reader(sys.stdin.fileno(), press):
            yield True


if sys.platform != "win32":
    import termios
    import tty

    @contextmanager
    def _single_keys(terminal: int) -> Iterator[None]:
        """The terminal gives each key at once and shows none, until the block ends."""
        before = termios.tcgetattr(terminal)

        def restore() -> None:
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)

        atexit.register(restore)
        try:
            tty.setcbreak(terminal)
            yield
        finally:
            restore()
            atexit.unregister(restore)

    @contextmanager
    def _reader(terminal: int, press: Callable[[str], None]) -> Iterator[None]:
        wake_read, wake_write = os.pipe()

        def read() -> None:
            while True:
                ready, _, _ = select.select([terminal, wake_read], [], [])
                if wake_read in ready:
                    return
                try:
                    typed = os.read(terminal, 64)
                except OSError:
                    return  # the terminal has gone
                if not typed:
                    return
                if typed.startswith(b"\x1b"):
                    continue  # an arrow or function key, not letters
                for key in typed.decode("utf-8", "ignore"):
                    press(key)

        thread = threading.Thread(target=read, name="keys", daemon=True)
        thread.start()
        try:
            yield
        finally:
            os.write(wake_write, b"x")
            thread.join(timeout=1)
            os.close(wake_write)
            os.close(wake_read)

else:
    import msvcrt

    @contextmanager
    def _windows_keys(press: Callable[[str], None]) -> Iterator[None]:
        ended = threading.Event()

        def read() -> None:
            while not ended.wait(0.05):
                while msvcrt.kbhit():
                    press(msvcrt.getwch())

        thread = threading.Thread(target=read, name="keys", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(timeout=1)
