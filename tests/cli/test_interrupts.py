"""A signal is at once an exception, or waits for the end of a guarded stretch."""

import os
import signal

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
    asked: list[str] = []
    finished = False
    with pytest.raises(KeyboardInterrupt), interrupts.deferred(lambda: asked.append("stop")):
        press()
        assert asked == ["stop"]
        finished = True
    assert finished


def test_inner_stretch_ends_in_order_inside_an_outer_one(interrupts):
    steps: list[str] = []
    with pytest.raises(KeyboardInterrupt), interrupts.deferred():
        with interrupts.deferred(lambda: steps.append("asked")):
            press()
        steps.append("outer")
    assert steps == ["asked", "outer"]


def test_a_stretch_entered_after_the_signal_is_told_at_once(interrupts):
    asked: list[str] = []
    with pytest.raises(KeyboardInterrupt), interrupts.deferred():
        press()
        with interrupts.deferred(lambda: asked.append("stop")):
            assert asked == ["stop"]


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
