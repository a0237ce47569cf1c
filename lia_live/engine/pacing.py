"""The steady clock of the output: a virtual camera wants its pictures evenly spaced, new or not."""

from __future__ import annotations

from lia_live.interfaces import Clock

LAND_AFTER_S = 0.002
"""Where ticks should fall: this long after a new picture arrived."""
LARGEST_NUDGE = 0.03
"""Of one interval: how far a single tick may be moved to meet the pictures."""
GAIN = 0.25
STEADY_RUN = 5
"""Ticks in a row that each brought a new picture before the clock begins to follow them."""


class SteadyClock:
    """Ticks ``fps`` times a second; a missed tick is skipped, never made up for. One thread.

    Ticks and pictures come at nearly the same rate but at any phase, so a picture would wait half an
    interval on average. While every tick brings a new picture, the ticks drift to just after its arrival.
    """

    def __init__(self, clock: Clock, fps: float) -> None:
        self._clock = clock
        self._interval = 1.0 / fps
        self._next = clock.now()
        self._run = 0

    def wait(self) -> float:
        """Sleep until the next tick; returns the time."""
        now = self._clock.now()
        if now > self._next + self._interval:
            self._next = now
        self._clock.sleep(self._next - now)
        self._next += self._interval
        return self._clock.now()

    def meet(self, waited_s: float | None) -> None:
        """Tell how long this tick's new picture had waited; None: there was none."""
        if waited_s is None:
            self._run = 0
            return
        self._run += 1
        if self._run < STEADY_RUN:
            return
        late = waited_s - LAND_AFTER_S
        if (
            late > self._interval / 2
        ):  # just missed by the tick before: the nearer way is to wait for it
            late -= self._interval
        bound = LARGEST_NUDGE * self._interval
        self._next -= max(-bound, min(bound, GAIN * late))
