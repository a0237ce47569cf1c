"""How many threads a frame is computed with, decided by the frames themselves while they are shown.

What is right changes: on two cores that nobody else wants, two threads halve the age of a picture; beside a program
that keeps one of them busy, the two wait for each other and one alone is quicker. A machine that was measured once,
at its first start, knows neither what is open today nor that the tracker runs beside.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence

from lia_live.frame import Pixels
from lia_live.model.config import LIAConfig
from lia_live.model.lia import Look
from lia_live.render.interface import Alpha, LoadedAvatar, Threaded

WORTH_A_THREAD = 0.8
"""A further thread must bring the time of a frame below this fraction: capture and tracking want cores too."""
SLACK = 0.05
"""What is in use is given up only where the other is better by this much more: near the border nothing flutters."""

SOON_S, FIRST_S, RAREST_S = 0.3, 1.5, 24.0
"""Until the other number of threads is looked at for the first time, since what was measured once may not hold today;
then again after ``FIRST_S``, and every time that changes nothing, after twice as long."""
FRAME_S = 1 / 30
"""From one frame to the next, where the network keeps up."""
LOOK = 6
"""Frames of one look. The first of them wakes threads and caches and does not count."""
RECENT = 9
"""Frames whose median is what a frame takes now."""
DISTURBED = 1.3
"""A frame that takes so many times what it took at the last decision is a reason to look at once."""


class ThreadChooser:
    """Two numbers of threads, one in use. ``current``: at the beginning; must be one of them. One thread."""

    def __init__(self, counts: Sequence[int], current: int) -> None:
        self._few, self._many = sorted(counts)
        self.current = current
        """For the coming frame."""
        self._usual = current
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._looked: list[float] = []
        self._pause = self._left = SOON_S
        self._decided_s: float | None = None

    def took(self, seconds: float) -> None:
        """The frame that was computed with ``current``."""
        if self.current != self._usual:
            self._looked.append(seconds)
            if len(self._looked) == LOOK:
                self._decide(statistics.median(self._looked[1:]))
            return
        self._recent.append(seconds)
        self._left -= max(seconds, FRAME_S)  # about what has passed
        full = len(self._recent) == RECENT
        if full and (self._left <= 0 or self._disturbed()):
            self.current = self._other

    @property
    def _other(self) -> int:
        return self._few if self._usual == self._many else self._many

    def _disturbed(self) -> bool:
        """Frames take longer than they did when this was chosen."""
        if self._decided_s is None or self._left > self._pause - FIRST_S / 3:
            return False  # just decided
        return statistics.median(self._recent) > DISTURBED * self._decided_s

    def _decide(self, other_s: float) -> None:
        usual_s = statistics.median(self._recent)
        few_s, many_s = (usual_s, other_s) if self._usual == self._few else (other_s, usual_s)
        worth = WORTH_A_THREAD + (SLACK if self._usual == self._many else -SLACK)
        best = self._many if many_s < worth * few_s else self._few
        if best == self._usual:
            self._pause = min(max(2 * self._pause, FIRST_S), RAREST_S)
            self._decided_s = usual_s
        else:
            self._pause = FIRST_S
            self._decided_s = other_s
            self._recent.clear()
        self._usual = self.current = best
        self._left = self._pause
        self._looked.clear()


class AdaptiveRenderer:
    """A ``Renderer`` that computes as ``inner`` does, with as many threads as are best at the moment.

    ``counts``: two that ``inner`` can be set to; it begins with the one that is set.
    """

    def __init__(
        self, inner: Threaded, counts: Sequence[int], now: Callable[[], float] = time.perf_counter
    ) -> None:
        self.inner = inner
        self._chooser = ThreadChooser(counts, inner.threads)
        self._now = now

    @property
    def config(self) -> LIAConfig:
        return self.inner.config

    @property
    def device(self) -> str:
        return self.inner.device

    @property
    def engine(self) -> str:
        return self.inner.engine

    @property
    def precision(self) -> str:
        return self.inner.precision

    @property
    def threads(self) -> int:
        """Of the coming frame."""
        return self.inner.threads

    @property
    def description(self) -> str:
        return self.inner.description

    def load_avatar(self, look: Look) -> LoadedAvatar:
        return self.inner.load_avatar(look)

    def encode_motion(self, crops: Pixels) -> Alpha:
        return self.inner.encode_motion(crops)

    def render(self, avatars: Sequence[LoadedAvatar], alpha: Alpha) -> Pixels:
        """Every call is measured; encoding, which scales alike, goes with it."""
        began = self._now()
        pictures = self.inner.render(avatars, alpha)
        if len(avatars) > 0:
            self._chooser.took((self._now() - began) / len(avatars))
            self.inner.threads = self._chooser.current
        return pictures
