"""One tick in each interval, early when there is something new, never a burst."""

from __future__ import annotations

from lia_live.engine.pacing import SteadyClock
from lia_live.engine.slot import Slot
from tests.doubles import HandClock


def closed(item: int | None = None) -> Slot[int]:
    """A slot that answers at once, so that only the hand-moved clock passes."""
    slot: Slot[int] = Slot()
    if item is not None:
        slot.put(item)
    slot.close()
    return slot


def test_the_grid_is_exact_when_nothing_new_comes() -> None:
    clock = HandClock(0.0)
    pace = SteadyClock(clock, 10)
    times = []
    for _ in range(5):
        assert pace.tick(closed()) is None
        times.append(round(clock.now(), 6))
    assert times == [0.1, 0.2, 0.3, 0.4, 0.5]


def test_a_waiting_item_is_taken_early_and_the_grid_stays() -> None:
    clock = HandClock(0.0)
    pace = SteadyClock(clock, 10)
    times = []
    for item in range(100):
        assert pace.tick(closed(item)) == item
        times.append(round(clock.now(), 6))
    assert times[:3] == [0.025, 0.125, 0.225]
    assert times[-1] == 9.925  # a hundred ticks in ten seconds, however early each one is


def test_missed_ticks_are_skipped() -> None:
    clock = HandClock(0.0)
    pace = SteadyClock(clock, 10)
    pace.tick(closed())
    clock.advance(1.03)  # a sink that hung
    times = []
    for _ in range(3):
        pace.tick(closed())
        times.append(round(clock.now(), 6))
    assert times == [1.13, 1.2, 1.3]
