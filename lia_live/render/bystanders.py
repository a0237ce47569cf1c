"""What other programs do to the machine while something is measured on it."""

from __future__ import annotations

import time

import psutil


class Bystanders:
    """Counts from when it is made; any thread."""

    def __init__(self) -> None:
        self._before = _spent()

    def share(self) -> float:
        """Of all cores' time since then, the part that other programs or other virtual machines took: 0 to 1."""
        passed, busy, own = (
            now - before for now, before in zip(_spent(), self._before, strict=True)
        )
        return min(1.0, max(0.0, busy - own) / passed) if passed > 0 else 0.0


def _spent() -> tuple[float, float, float]:
    """Seconds of all cores together, of those the busy ones, of those this process's own."""
    times = psutil.cpu_times()
    guests: float = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    total = sum(times) - guests  # which stand in the users' time already
    idle: float = times.idle + getattr(times, "iowait", 0.0)
    return total, total - idle, time.process_time()
