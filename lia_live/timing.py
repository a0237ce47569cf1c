"""The monotonic clock and the percentiles that every latency figure is made of."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from lia_live.interfaces import Clock


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
