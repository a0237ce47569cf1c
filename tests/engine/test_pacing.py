"""One tick in each interval, early when there is something new, never a burst."""

from __future__ import annotations

import threading
import time

import pytest

from lia_live.engine.pacing import NetworkForecast, SteadyClock
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


# When the network will be free


class Waits:
    """The event of a forecast: says how long somebody would have waited."""

    def __init__(self, forecast: NetworkForecast) -> None:
        self.free, self.asked = True, 0.0
        forecast._free = self  # type: ignore[assignment]

    def set(self) -> None:
        self.free = True

    def clear(self) -> None:
        self.free = False

    def wait(self, seconds: float) -> bool:
        self.asked = 0.0 if self.free else seconds
        return self.free


def test_tracking_begins_when_the_network_is_about_to_be_free() -> None:
    clock = HandClock()
    forecast = NetworkForecast(clock)
    waits = Waits(forecast)

    def asked(lead_s: float) -> float:
        forecast.wait(lead_s)
        return round(waits.asked, 6)

    forecast.begin()
    assert asked(0.01) == 0  # nothing is known yet
    clock.advance(0.2)
    forecast.end()
    for took in (0.1, 0.1, 5.0):  # one frame that hung says nothing
        forecast.begin()
        clock.advance(took)
        forecast.end()
    assert asked(0.01) == 0  # free
    forecast.begin()
    clock.advance(0.04)
    assert asked(0.01) == pytest.approx(0.15 - 0.04 - 0.01)
    clock.advance(0.2)
    assert asked(0.01) == 0  # later than thought: any moment now
    forecast.close()
    forecast.begin()
    assert asked(0.0) == 0


def test_whoever_waits_for_the_network_is_woken_when_it_is_free_earlier_or_never_again() -> None:
    for wake in (NetworkForecast.end, NetworkForecast.close):
        clock = HandClock()
        forecast = NetworkForecast(clock)
        forecast.begin()
        clock.advance(30.0)
        forecast.end()
        forecast.begin()
        threading.Timer(0.05, wake, (forecast,)).start()
        began = time.perf_counter()
        forecast.wait(0.0)
        assert time.perf_counter() - began < 5
