"""A signal is at once an exception, or waits for the end of a guarded stretch."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from lia_live.cli.interrupts import Interrupts


def press(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture
def interrupts():
    with Interrupts().installed() as installed:
        yield installed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_unguarded_raises_at_once(interrupts, number):
    with pytest.raises(KeyboardInterrupt):
        press(number)
    assert interrupts.pending


def test_guarded_calls_back_and_raises_after_the_block(interrupts):
    asked = threading.Event()
    finished = False
    with pytest.raises(KeyboardInterrupt), interrupts.deferred(asked.set):
        press()
        assert asked.wait(5)
        finished = True
    assert finished


def test_the_callback_may_need_a_lock_that_the_interrupted_code_holds(interrupts):
    lock = threading.Lock()
    stopped = threading.Event()

    def stop() -> None:
        with lock:
            stopped.set()

    with pytest.raises(KeyboardInterrupt), interrupts.deferred(stop):
        with lock:
            press()
        assert stopped.wait(5)


def test_inner_stretch_ends_in_order_inside_an_outer_one(interrupts):
    steps: list[str] = []
    with pytest.raises(KeyboardInterrupt), interrupts.deferred():
        with interrupts.deferred(lambda: steps.append("asked")):
            press()
            steps.append("inner")
        steps.append("outer")
    assert steps[-1] == "outer"
    assert sorted(steps) == ["asked", "inner", "outer"]


def test_a_stretch_entered_after_the_signal_is_told_at_once(interrupts):
    asked = threading.Event()
    with pytest.raises(KeyboardInterrupt), interrupts.deferred():
        press()
        with interrupts.deferred(asked.set):
            assert asked.wait(5)


def test_an_error_of_the_block_is_not_hidden(interrupts):
    with pytest.raises(ValueError, match="real"), interrupts.deferred():
        press()
        raise ValueError("real")


def test_second_signal_says_so_and_third_gives_up(interrupts, capfd):
    with pytest.raises(KeyboardInterrupt):
        press()
    press()
    assert "once more" in capfd.readouterr().err
    with pytest.raises(KeyboardInterrupt):
        press()


def test_handlers_are_given_back():
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts().installed():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("ends, code", ((True, 130), (False, -signal.SIGINT)))
def test_an_interrupted_process_ends_with_its_own_code(ends, code):
    """Ctrl-C once more while the interpreter takes itself down: its handlers are gone by then."""
    program = f"""
import os, signal, sys
from lia_live.cli.interrupts import Interrupts
class Late:
    def __del__(self, kill=os.kill, me=os.getpid(), number=signal.SIGINT):
        kill(me, number)
try:
    with Interrupts().installed(process_ends={ends}):
        os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    sys.late = Late()  # goes with the interpreter, after its signal handlers
    sys.exit(130)
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=60)
    assert done.returncode == code
