"""Memory that sessions have freed, back to the system: glibc keeps it, and a server lives long."""

from __future__ import annotations

import ctypes
import sys


def give_back_freed_memory() -> None:
    """Takes some milliseconds and slows what allocates next, so for moments without a session. Any thread."""
    if sys.platform != "linux":
        return
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):  # another C library, which does so by itself or not at all
        return
