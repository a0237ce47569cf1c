"""Faults that one frame survives. The avatar stays on; only a seam that keeps failing ends the run."""

from __future__ import annotations

from lia_live.engine.stats import Stats
from lia_live.interfaces import Clock

FEWEST = 5
"""A seam is given up only after this many failures in a row, however long they took."""


class Faults:
    """Counts faults by seam for one thread.

    ``limit_s``: a seam that fails without a success in between for this long raises its last error.
    """

    def __init__(self, stats: Stats, clock: Clock, limit_s: float) -> None:
        self._stats = stats
        self._clock = clock
        self._limit_s = limit_s
        self._since: dict[str, float] = {}
        self._in_a_row: dict[str, int] = {}

    def note(self, seam: str, error: Exception) -> None:
        """``seam`` failed once. Re-raises ``error`` when that has gone on for too long."""
        now = self._clock.now()
        self._stats.faults[seam] = self._stats.faults.get(seam, 0) + 1
        self._in_a_row[seam] = self._in_a_row.get(seam, 0) + 1
        lasted = now - self._since.setdefault(seam, now)
        if self._in_a_row[seam] >= FEWEST and lasted >= self._limit_s:
            raise error

    def well(self, seam: str) -> None:
        """``seam`` did its work."""
        if self._in_a_row.get(seam):
            self._in_a_row[seam] = 0
            self._since.pop(seam, None)
