"""How many threads a frame is computed with, decided by the frames themselves while they are shown.

What is right changes: on two cores that nobody else wants, two threads halve the age of a picture; beside a program
that keeps one of them busy, the two wait for each other and one alone is quicker. A machine that was measured once,
at its first start, knows neither what is open today nor that the tracker runs beside.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from lia_live.frame import Pixels
from lia_live.model.lia import Look
from lia_live.render.front import Front
from lia_live.render.interface import Alpha, LoadedAvatar, Renderer, Threaded
from lia_live.timing import Chooser

WORTH_A_THREAD = 0.8
"""A further thread must bring the time of a frame below this fraction: capture and tracking want cores too."""


class AdaptiveRenderer(Front):
    """A ``Renderer`` that computes as ``inner`` does, with as many threads as are best at the moment.

    ``counts``: two that ``inner`` can be set to; it begins with the one that is set.
    """

    def __init__(
        self, inner: Threaded, counts: Sequence[int], now: Callable[[], float] = time.perf_counter
    ) -> None:
        self.inner = inner
        few, many = sorted(counts)
        self._chooser = Chooser(few, many, inner.threads, WORTH_A_THREAD)
        self._now = now

    @property
    def _at_work(self) -> Renderer:
        return self.inner

    @property
    def threads(self) -> int:
        """Of the coming frame."""
        return self.inner.threads

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
