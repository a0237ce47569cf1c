"""When to begin: the output with its next picture, the tracker with its next frame."""

from __future__ import annotations

import statistics
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from lia_live.engine.slot import Slot
from lia_live.interfaces import Clock
from lia_live.timing import Chooser

T = TypeVar("T")

IN_TURNS, AHEAD = 0, 1
WORTH_GOING_AHEAD = 0.9
"""Tracking beside the network must bring a frame below this fraction of what both take in turns."""
EARLY_S = 0.002
"""Ahead, tracking is to end so long before the network does."""
NEWEST = 0.2
"""How much the newest frame counts in what tracking usually takes."""
OLD_S = 1 / 30
"""What was tracked and is not taken for so long, or for half of what the network takes, gives way to a newer frame."""

EARLY = 0.75
"""Of one interval: how long before its due time a tick may happen when a new item is there."""


class SteadyClock:
    """A virtual camera wants its pictures evenly spaced, new or not: exactly one tick in each interval of 1/``fps``
    seconds; a missed one is skipped, never made up for.

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


class NetworkForecast:
    """When tracking begins, so that it ends with the newest frame when the network is free for it, and no frame is
    tracked that the network has no time for. ``begin`` and ``end``: the model thread; the rest: any.

    Either in turns, once the network is free; or ahead, beside the network, so that it never waits. Ahead is quicker
    where a core is free for it, and older pictures for nothing where none is: what frames take decides.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._chooser = Chooser(IN_TURNS, AHEAD, IN_TURNS, WORTH_GOING_AHEAD)
        self._recent: deque[float] = deque(maxlen=9)
        self._track_s = 0.0
        self._began: float | None = None  # None: it is free
        self._closed = False

    def begin(self) -> None:
        """The network has a frame in hand."""
        with self._changed:
            self._began = self._clock.now()
            self._changed.notify_all()

    def end(self) -> None:
        """It is done with it."""
        with self._changed:
            if self._began is not None:
                took_s = self._clock.now() - self._began
                self._recent.append(took_s)
                in_turns = self._chooser.current == IN_TURNS
                self._chooser.took(took_s + self._track_s if in_turns else took_s)
            self._began = None
            self._changed.notify_all()

    def tracked(self, seconds: float) -> None:
        """Tracking a frame has taken so long."""
        self._track_s += (seconds - self._track_s) * NEWEST

    def wait(self, pending: Callable[[], bool]) -> None:
        """Until it is time to track the newest frame.

        ``pending``: whether a tracked one waits for the network already; then until it is taken, or has become old.
        """
        with self._changed:
            asked_at = self._clock.now()
            while self._recent and not self._closed:
                usual = statistics.median(self._recent)
                if pending():
                    until = asked_at + max(OLD_S, usual / 2)
                elif self._began is None:
                    return
                elif self._chooser.current == IN_TURNS:
                    self._changed.wait()
                    continue
                else:
                    until = self._began + usual - self._track_s - EARLY_S
                left = until - self._clock.now()
                if left <= 0:
                    return
                self._changed.wait(left)

    def close(self) -> None:
        """Nobody waits any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
