"""Freed memory: kept while frames are made, given back when much of it will not be needed again.

A frame allocates and frees the same megabytes again and again. glibc gives large blocks back to the
system at once; fetching them anew costs about 3000 page faults, that is 4 to 6 ms, a frame of the small network.
The process keeps its highest level of memory instead, some 50 MB.
"""

from __future__ import annotations

import ctypes
import platform
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_BLOCK = 32 << 20
"""glibc allows no higher threshold; the largest activation of the official network has 17 MB."""
_KEPT = 256 << 20


def keep_freed_memory() -> bool:
    """Tell the C library, once for the process; False where it is not glibc (nothing changes there)."""
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)) and bool(
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
    )


def give_back_freed_memory() -> None:
    """Takes some milliseconds and slows what allocates next: not for a loop. Any thread."""
    if sys.platform != "linux":
        return
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):  # another C library, which does so by itself or not at all
        return
