"""Ctrl-C that never breaks a file in the middle of being written.

Outside a guarded stretch the first signal raises ``KeyboardInterrupt`` at once. Inside ``deferred`` it
is remembered, the work is asked to stop, and the exception comes when the stretch has ended. A second
signal while things are being closed is answered with a line; the third gives up on closing.
Loading is guarded step by step too: native libraries print tracebacks when their import is torn apart.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
_WAKE, _REST = b"!", b"."


class Interrupts:
    """The signals of one command. Made and used by the main thread."""

    def __init__(self) -> None:
        self.pending = False
        """True once a signal has come: loops look at it between two frames."""
        self._count = 0
        self._depth = 0
        self._wakers: list[int] = []

    @contextmanager
    def installed(self, *, process_ends: bool = False) -> Iterator[Interrupts]:
        """Take the signals over, and give them back. Does nothing off the main thread.

        ``process_ends``: nothing but the interpreter's own end comes after. Once interrupted, a further Ctrl-C is
        ignored there: it would kill the process and turn its exit code into a signal's. SIGTERM still ends it.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {}
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup keeps its meaning
                before[number] = signal.signal(number, self._on_signal)
        try:
            yield self
        finally:
            for number, handler in before.items():
                over = process_ends and self.pending and number == signal.SIGINT
                signal.signal(number, signal.SIG_IGN if over else handler)

    @contextmanager
    def deferred(self, stop: Callable[[], None] | None = None) -> Iterator[None]:
        """Let the block end in order: a signal has ``stop`` called, on a thread of its own, and
        ``KeyboardInterrupt`` is raised after the block, unless the block raised something itself.
        """
        self._depth += 1
        try:
            if stop is None:
                yield
            else:
                with self._woken(stop):
                    yield
        finally:
            self._depth -= 1
        if self.pending and self._depth == 0:
            raise KeyboardInterrupt

    @contextmanager
    def _woken(self, stop: Callable[[], None]) -> Iterator[None]:
        """A thread that calls ``stop`` after a signal. The handler itself must not: it may have
        interrupted the very code that holds the lock which ``stop`` needs.
        """
        sleeper, waker = os.pipe()

        def wait() -> None:
            if os.read(sleeper, 1) == _WAKE:
                stop()

        thread = threading.Thread(target=wait, name="interrupts", daemon=True)
        thread.start()
        self._wakers.append(waker)
        if self.pending:
            os.write(waker, _WAKE)
        try:
            yield
        finally:
            self._wakers.remove(waker)
            os.write(waker, _REST)
            thread.join()
            os.close(waker)
            os.close(sleeper)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.pending = True
        self._count += 1
        if self._count >= 3:
            raise KeyboardInterrupt
        if self._count == 2:
            # not print: the signal may have come in the middle of one
            os.write(2, b"\nclosing; press Ctrl-C once more to give up on it\n")
            return
        for waker in tuple(self._wakers):
            os.write(waker, _WAKE)
        if self._depth == 0:
            raise KeyboardInterrupt
