"""One tick in each interval, early when there is something new, never a burst."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from lia_live.engine.pacing import AHEAD, EARLY_S, NetworkForecast, SteadyClock
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


def waited(forecast: NetworkForecast, clock: HandClock, pending: bool = False) -> float:
    """How long somebody waits, on a clock that passes only where they do; nobody else does anything."""

    class Passing:
        def __enter__(self) -> None: ...

        def __exit__(self, *error: object) -> None: ...

        def notify_all(self) -> None: ...

        def wait(self, seconds: float | None = None) -> None:
            if seconds is None:  # only the network's end helps
                seconds = 9.0
                forecast._began = None
            clock.advance(seconds)

    forecast._changed = Passing()  # type: ignore[assignment]
    before = clock.now()
    forecast.wait(lambda: pending)
    return round(clock.now() - before, 6)


def frame(forecast: NetworkForecast, clock: HandClock, took_s: float) -> None:
    forecast.begin()
    clock.advance(took_s)
    forecast.end()


def ahead(forecast: NetworkForecast) -> bool:
    return forecast._chooser.current == AHEAD


def test_in_turns_tracking_waits_for_the_network() -> None:
    clock = HandClock()
    forecast = NetworkForecast(clock)
    forecast.begin()
    assert waited(forecast, clock) == 0  # nothing is known yet
    frame(forecast, clock, 0.1)
    assert waited(forecast, clock) == 0  # free
    forecast.begin()
    assert waited(forecast, clock) == 9.0
    forecast.begin()
    forecast.close()
    assert waited(forecast, clock) == 0


def test_ahead_tracking_ends_a_little_before_the_network() -> None:
    clock = HandClock()
    forecast = NetworkForecast(clock)
    forecast._chooser.current = forecast._chooser._usual = AHEAD
    for took_s in (0.1, 0.1, 5.0):  # one frame that hung says nothing
        frame(forecast, clock, took_s)
    for _ in range(60):
        forecast.tracked(0.02)
    assert waited(forecast, clock) == 0  # free
    forecast.begin()
    clock.advance(0.04)
    assert waited(forecast, clock) == pytest.approx(0.1 - 0.04 - 0.02 - EARLY_S, abs=1e-6)
    clock.advance(0.2)
    assert waited(forecast, clock) == 0  # later than thought: any moment now


def test_one_frame_is_tracked_ahead_and_a_newer_one_only_when_that_has_become_old() -> None:
    clock = HandClock()
    forecast = NetworkForecast(clock)
    for _ in range(3):
        frame(forecast, clock, 0.2)
    assert waited(forecast, clock, pending=True) == pytest.approx(0.1)
    for _ in range(9):
        frame(forecast, clock, 0.01)
    assert waited(forecast, clock, pending=True) == pytest.approx(1 / 30, abs=1e-6)


@pytest.mark.parametrize(
    ("beside_s", "best"), [(0.030, True), (0.036, False)], ids=["a free core", "no free core"]
)
def test_tracking_goes_ahead_where_that_pays(beside_s: float, best: bool) -> None:
    """6 ms of tracking, 30 of network alone; beside each other the network takes as long as the case says."""
    clock = HandClock()
    forecast = NetworkForecast(clock)
    chosen = []
    for _ in range(400):
        forecast.tracked(0.006)
        chosen.append(ahead(forecast))
        frame(forecast, clock, beside_s if chosen[-1] else 0.030)
    assert not chosen[0]
    assert (chosen[100:].count(True) > 250) is best
    assert (chosen[100:].count(True) < 30) is not best


@pytest.mark.parametrize("wake", [NetworkForecast.end, NetworkForecast.close])
def test_whoever_waits_for_the_network_is_woken_when_it_is_free_earlier_or_never_again(
    wake: Callable[[NetworkForecast], None],
) -> None:
    clock = HandClock()
    forecast = NetworkForecast(clock)
    frame(forecast, clock, 30.0)
    forecast.begin()
    threading.Timer(0.05, wake, (forecast,)).start()
    began = time.perf_counter()
    forecast.wait(lambda: False)
    assert time.perf_counter() - began < 5
