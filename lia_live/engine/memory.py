"""How much memory this process holds."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_STATM = Path("/proc/self/statm")
MIB = 1024 * 1024


def resident_mb() -> float | None:
    """Resident set size in MiB; the peak where the system tells only that; None where it tells nothing."""
    if sys.platform == "win32":
        return None
    try:
        pages = int(_STATM.read_text(encoding="ascii").split()[1])
        return round(pages * os.sysconf("SC_PAGE_SIZE") / MIB, 1)
    except (OSError, IndexError, ValueError):
        return _peak_mb()


def _peak_mb() -> float | None:
    if sys.platform == "win32":
        return None
    import resource  # does not exist on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    return round(peak * unit / MIB, 1)
