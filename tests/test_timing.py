"""A choice between two ways is made by what frames take: seldom looked at, and without fluttering."""

from __future__ import annotations

import random

import pytest

from lia_live import timing
from lia_live.render.adaptive import WORTH_A_THREAD
from lia_live.timing import Chooser


def threads(current: int) -> Chooser:
    """One thread or two."""
    return Chooser(1, 2, current, WORTH_A_THREAD)


class Machine:
    """Frames that take what the script says, seconds for each number of threads."""

    def __init__(self, chooser: Chooser, **times: float) -> None:
        self.chooser = chooser
        self.used: list[int] = []
        self.set(**times)

    def set(self, one: float, two: float, noise: float = 0.0) -> None:
        self.times, self.noise = {1: one, 2: two}, noise

    def frames(self, count: int) -> list[int]:
        """Show ``count`` frames; the threads that each of them had."""
        draw = random.Random(len(self.used))
        used = []
        for _ in range(count):
            used.append(self.chooser.current)
            usual = self.times[self.chooser.current]
            self.chooser.took(usual * (1 + self.noise * draw.random()))
        self.used += used
        return used

    def mostly(self) -> int:
        """Of the next second's frames all but those of one look."""
        used = self.frames(30)
        best = max(set(used), key=used.count)
        assert used.count(best) >= 30 - timing.LOOK
        return best


def test_two_threads_are_taken_where_both_cores_are_free() -> None:
    machine = Machine(threads(1), one=0.030, two=0.018)
    machine.frames(60)
    assert machine.mostly() == 2


def test_a_program_that_takes_a_core_is_noticed_within_a_second_or_so() -> None:
    machine = Machine(threads(2), one=0.030, two=0.018)
    machine.frames(3000)
    machine.set(one=0.032, two=0.055)
    machine.frames(30)
    assert (
        machine.frames(300).count(2) <= 3 * timing.LOOK
    )  # it looks again soon: it may have been a moment


def test_and_when_it_has_gone_within_half_a_minute() -> None:
    machine = Machine(threads(1), one=0.032, two=0.055)
    machine.frames(5000)
    machine.set(one=0.030, two=0.018)
    machine.frames(round(timing.RAREST_S * 30) + 20)
    assert machine.mostly() == 2


def test_looking_costs_few_frames() -> None:
    machine = Machine(threads(1), one=0.032, two=0.055, noise=0.2)
    used = machine.frames(9000)  # five minutes
    assert used.count(2) <= 0.02 * len(used)
    assert used[:200].count(2) <= 0.1 * 200


@pytest.mark.parametrize(
    ("one", "two", "best"),
    [(0.020, 0.018, 1), (0.020, 0.010, 2), (0.050, 0.044, 1), (0.050, 0.030, 2), (0.050, 0.060, 1)],
    ids=[
        "hardly quicker",
        "much quicker",
        "slow and hardly quicker",
        "slow and much quicker",
        "slower",
    ],
)
@pytest.mark.parametrize("begin", [1, 2])
def test_what_a_thread_must_bring(one: float, two: float, best: int, begin: int) -> None:
    machine = Machine(threads(begin), one=one, two=two)
    machine.frames(100)
    assert machine.mostly() == best


def test_what_was_measured_once_is_looked_at_at_once_also_where_frames_are_slow() -> None:
    machine = Machine(threads(2), one=0.100, two=0.160)
    machine.frames(timing.RECENT + timing.LOOK)
    assert machine.chooser.current == 1


@pytest.mark.parametrize("begin", [1, 2])
def test_near_the_border_nothing_flutters(begin: int) -> None:
    machine = Machine(threads(begin), one=0.020, two=0.0158, noise=0.1)
    machine.frames(5000)
    changes = sum(a != b for a, b in zip(machine.used, machine.used[1:], strict=False))
    assert changes < 60  # two a look


def test_a_machine_that_stays_slow_is_not_looked_at_all_the_time() -> None:
    machine = Machine(threads(1), one=0.030, two=0.028)
    machine.frames(3000)
    machine.set(one=0.060, two=0.070)
    used = machine.frames(3000)
    assert used.count(2) <= 0.03 * len(used)
