"""The steady clock of the output: a virtual camera wants its pictures evenly spaced, new or not."""

from __future__ import annotations

from typing import TypeVar

from lia_live.engine.slot import Slot
from lia_live.interfaces import Clock

T = TypeVar("T")

EARLY = 0.75
"""Of one interval: how long before its due time a tick may happen when a new item is there."""


class SteadyClock:
    """Exactly one tick in each interval of 1/``fps`` seconds; a missed one is skipped, never made up for.

    Items come at nearly the same rate but at any phase, so waiting for a strict tick would cost half an
    interval on average. A tick may therefore come early, as soon as the item is there, by up to
    ``EARLY`` intervals; the grid itself never moves, so the rate stays exact. One thread.
    """

    def __init__(self, clock: Clock, fps: float) -> None:
        self._clock = clock
        self._interval = 1.0 / fps
        self._due = clock.now() + self._interval

    def tick(self, slot: Slot[T]) -> T | None:
        """Sleep until this interval's tick; returns the new item, or None when none is there by then."""
        late = self._clock.now() - self._due
        if late > 0:  # on the grid: skip the intervals that have passed
            self._due += self._interval * int(late / self._interval)
        self._clock.sleep(self._due - EARLY * self._interval - self._clock.now())
        item = slot.take(max(0.0, self._due - self._clock.now()))
        if item is None:
            self._clock.sleep(self._due - self._clock.now())  # a closed slot answers at once
        self._due += self._interval
        return item
