"""MediaPipe writes its start-up log to file descriptor 2, and no setting stops it. This does."""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_NOISE = re.compile(
    rb"^([WIE]\d{4} |I0000 |INFO: Created TensorFlow Lite|WARNING: All log messages before absl)"
)
"""What MediaPipe, absl and TensorFlow Lite say when all is well (F, fatal, is never noise)."""
_one_at_a_time = threading.Lock()


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back what native code writes to file descriptor 2 while the block runs.

    The descriptor belongs to the whole process, so keep the block short: construction and first calls only.
    Blocks of several threads take turns. What another thread wrote meanwhile, and everything if the block
    raises, is written out afterwards: only known start-up noise is lost.
    """
    with _one_at_a_time, tempfile.TemporaryFile() as held:
        try:
            kept = os.dup(2)
        except OSError:  # no stderr at all (a windowed program on Windows): nothing to keep quiet
            yield
            return
        failed = True
        try:
            os.dup2(held.fileno(), 2)
            yield
            failed = False
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            lines = held.readlines()
            words = b"".join(line for line in lines if failed or not _NOISE.match(line))
            while words:
                words = words[os.write(2, words) :]
