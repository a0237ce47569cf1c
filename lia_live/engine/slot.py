"""A hand-over between two threads that holds one item. The newest wins."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Slot(Generic[T]):
    """At most one item waits here; putting another replaces it, and the replaced one is a counted drop.

    Any thread may call any method. Waiting uses the system's monotonic time, not the loop's clock.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._closed = False
        self._drops = 0

    def put(self, item: T) -> bool:
        """Leave ``item`` for the taker. True if it replaced one that nobody took.

        After ``close`` the item is thrown away and False is returned.
        """
        with self._changed:
            if self._closed:
                return False
            replaced = self._item is not None
            self._drops += replaced
            self._item = item
            self._changed.notify()
            return replaced

    def take(self, timeout: float | None = None) -> T | None:
        """The item, waiting up to ``timeout`` seconds for one (None: without end; 0: not at all).

        None when none came in time, or when the slot is closed and empty.
        """
        with self._changed:
            if timeout is None or timeout > 0:
                self._changed.wait_for(lambda: self._item is not None or self._closed, timeout)
            item, self._item = self._item, None
            return item

    def wait(self) -> bool:
        """Until something waits here. False: the slot is closed and empty, nothing will ever come."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed)
            return self._item is not None

    def close(self) -> None:
        """No more items; every waiting taker wakes. What already waits can still be taken once."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def clear(self) -> None:
        """Throw away what waits, uncounted (the end of a run)."""
        with self._changed:
            self._item = None

    @property
    def finished(self) -> bool:
        """Closed, and nothing left to take."""
        with self._changed:
            return self._closed and self._item is None

    @property
    def drops(self) -> int:
        """Items that were replaced before anybody took them."""
        return self._drops

    def __len__(self) -> int:
        """0 or 1."""
        return int(self._item is not None)
