"""A thread that waits for pictures so that nobody else has to; it keeps only the newest one."""

from __future__ import annotations

import threading
from collections.abc import Callable

from lia_live.frame import Frame, Pixels

READ_TIMEOUT_S = 0.5
"""How long a source's ``read`` may wait (``interfaces.Source``)."""


class Grabber:
    """Runs ``produce(grabber)`` on a thread; ``put`` there, ``take`` elsewhere; the newest picture wins.

    A driver may block for ten seconds when a cable is pulled, and a file must not run late because its
    reader does: so both are waited for here. ``produce`` looks at ``stopping`` (or sleeps
    with ``wait``), frees what it opened and returns when there is nothing more to come.
    """

    def __init__(self, name: str, produce: Callable[[Grabber], None]) -> None:
        self._produce = produce
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._newest: Frame | None = None
        self._failure: BaseException | None = None
        self._finished = False
        self._started = False
        self._count = 0
        self.skipped = 0
        """Pictures replaced before anybody took them."""

    def start(self) -> None:
        """Begin, unless begun or stopped before."""
        if not self._started and not self._stopping.is_set():
            self._started = True
            self._thread.start()

    def stopping(self) -> bool:
        """True once ``stop`` was called."""
        return self._stopping.is_set()

    @property
    def running(self) -> bool:
        """True while the thread lives: what it uses is not yet free."""
        return self._thread.is_alive()

    @property
    def ended(self) -> bool:
        """True once the last picture has been taken and no other will come."""
        with self._changed:
            return self.stopping() or (
                self._finished and self._newest is None and self._failure is None
            )

    def wait(self, seconds: float) -> bool:
        """For ``produce``: sleep that long; True at once when asked to stop."""
        return self._stopping.wait(max(seconds, 0.0))

    def put(self, pixels: Pixels, captured_at: float) -> None:
        """For ``produce``: the newest picture (H, W, 3) uint8 RGB and its capture time in seconds."""
        with self._changed:
            if self._newest is not None:
                self.skipped += 1
            self._newest = Frame(pixels, captured_at, self._count)
            self._count += 1
            self._changed.notify_all()

    def take(self, timeout_s: float = READ_TIMEOUT_S) -> Frame | None:
        """The newest picture not taken before; None after ``timeout_s`` or at the end. Raises what
        ``produce`` raised, once its last picture is taken.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._newest is not None or self._finished or self.stopping(), timeout_s
            )
            frame, self._newest = self._newest, None
            if frame is None and self._failure is not None:
                raise self._failure
            return None if self.stopping() else frame

    def stop(self, timeout_s: float = 2.0) -> None:
        """Ask ``produce`` to end and wait for it; a thread stuck in a driver is left behind (daemon)."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        if self._started and threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            self._produce(self)
        except Exception as error:  # carried to the reader, who raises it
            failure = error
        with self._changed:
            self._failure = failure
            self._finished = True
            self._changed.notify_all()
