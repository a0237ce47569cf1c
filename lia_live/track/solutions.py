"""MediaPipe's face solutions, imported without what faces never need, and ahead of time where that saves waiting."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from types import ModuleType
from typing import Any, Final

_PYPLOT: Final = "matplotlib.pyplot"
_one_at_a_time = threading.RLock()


class _LatePyplot(ModuleType):
    """Becomes the real one when somebody asks it for anything."""

    def __getattr__(self, name: str) -> Any:
        with _one_at_a_time:
            if sys.modules.get(_PYPLOT) is self:
                del sys.modules[_PYPLOT]
        return getattr(import_module(_PYPLOT), name)


def face_solutions() -> tuple[Any, Any]:
    """(``face_detection``, ``face_mesh``) of MediaPipe. Any thread; later calls cost nothing."""
    with _one_at_a_time, _without_pyplot():
        return (
            import_module("mediapipe.python.solutions.face_detection"),
            import_module("mediapipe.python.solutions.face_mesh"),
        )


def import_ahead() -> threading.Thread:
    """Begin the import on a thread of its own, while this one waits for a disk or computes.

    What goes wrong there goes wrong again, and is told, where the solutions are used. A program that ends early waits
    for it: native libraries crash if the interpreter goes away under their import.
    """

    def work() -> None:
        with suppress(Exception):
            face_solutions()

    thread = threading.Thread(target=work, name="lia-imports")
    thread.start()
    return thread


@contextmanager
def _without_pyplot() -> Iterator[None]:
    """MediaPipe's drawing module imports pyplot for a function that plots landmarks: 0.35 s and 15 MB of a start.

    It gets a stand-in that turns into pyplot when it is used.
    """
    if _PYPLOT in sys.modules or "mediapipe" in sys.modules:
        yield
        return
    late = sys.modules[_PYPLOT] = _LatePyplot(_PYPLOT)
    try:
        yield
    finally:
        if sys.modules.get(_PYPLOT) is late:
            del sys.modules[_PYPLOT]
