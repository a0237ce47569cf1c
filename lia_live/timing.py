"""The monotonic clock, the percentiles that every latency figure is made of, and choices made by what frames take."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from lia_live.interfaces import Clock

SLACK = 0.05
"""What is in use is given up only where the other is better by this much more: near the border nothing flutters."""

SOON_S, FIRST_S, RAREST_S = 0.3, 1.5, 24.0
"""Until the other way is looked at for the first time, since what was measured once may not hold today;
then again after ``FIRST_S``, and every time that changes nothing, after twice as long."""
FRAME_S = 1 / 30
"""From one frame to the next, where the network keeps up."""
LOOK = 6
"""Frames of one look. The first of them wakes threads and caches and does not count."""
RECENT = 9
"""Frames whose median is what a frame takes now."""
DISTURBED = 1.3
"""A frame that takes so many times what it took at the last decision is a reason to look at once."""


class MonotonicClock:
    """The real clock: ``time.perf_counter``, one per process, so ages of all threads compare."""

    def now(self) -> float:
        return time.perf_counter()

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)


class Percentiles:
    """The last ``capacity`` durations and their percentiles. Seconds in, milliseconds out.

    Written by one thread, read by any: a deque's append and copy are atomic in CPython.
    """

    def __init__(self, capacity: int = 4096) -> None:
        self._values: deque[float] = deque(maxlen=capacity)

    def __len__(self) -> int:
        return len(self._values)

    def add(self, seconds: float) -> None:
        """Record one duration in seconds."""
        self._values.append(seconds)

    def clear(self) -> None:
        """Forget everything (after warm-up)."""
        self._values.clear()

    def milliseconds(self, *percents: float) -> dict[str, float]:
        """{"p50": ms, ...} for the given percents; 0.0 where nothing was recorded."""
        values = list(self._values)
        if not values:
            return {f"p{p:g}": 0.0 for p in percents}
        found = np.percentile(np.asarray(values), percents) * 1000.0
        return {f"p{p:g}": round(float(v), 3) for p, v in zip(percents, found, strict=True)}

    @contextmanager
    def measure(self, clock: Clock) -> Iterator[None]:
        """Record how long the block took, also when it raises."""
        began = clock.now()
        try:
            yield
        finally:
            self.add(clock.now() - began)


class Chooser:
    """Two ways to make a frame, one in use; which of them is decided by how long frames take. One thread.

    ``more`` takes more of the machine than ``less``: it must bring the time below ``worth`` of it. ``current``: the
    one to begin with.
    """

    def __init__(self, less: int, more: int, current: int, worth: float) -> None:
        self._less, self._more, self._worth = less, more, worth
        self.current = current
        """For the coming frame."""
        self._usual = current
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._looked: list[float] = []
        self._pause = self._left = SOON_S
        self._decided_s: float | None = None

    def took(self, seconds: float) -> None:
        """The frame that was made the way of ``current``."""
        if self.current != self._usual:
            self._looked.append(seconds)
            if len(self._looked) == LOOK:
                self._decide(statistics.median(self._looked[1:]))
            return
        self._recent.append(seconds)
        self._left -= max(seconds, FRAME_S)  # about what has passed
        full = len(self._recent) == RECENT
        if full and (self._left <= 0 or self._disturbed()):
            self.current = self._other

    @property
    def _other(self) -> int:
        return self._less if self._usual == self._more else self._more

    def _disturbed(self) -> bool:
        """Frames take longer than they did when this was chosen."""
        if self._decided_s is None or self._left > self._pause - FIRST_S / 3:
            return False  # just decided
        return statistics.median(self._recent) > DISTURBED * self._decided_s

    def _decide(self, other_s: float) -> None:
        usual_s = statistics.median(self._recent)
        less_s, more_s = (usual_s, other_s) if self._usual == self._less else (other_s, usual_s)
        worth = self._worth + (SLACK if self._usual == self._more else -SLACK)
        best = self._more if more_s < worth * less_s else self._less
        if best == self._usual:
            self._pause = min(max(2 * self._pause, FIRST_S), RAREST_S)
            self._decided_s = usual_s
        else:
            self._pause = FIRST_S
            self._decided_s = other_s
            self._recent.clear()
        self._usual = self.current = best
        self._left = self._pause
        self._looked.clear()
