"""An avatar that a clip moves, and what was seen of the driver: the product's path, watched."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Final

from lia_live.engine import Animator, beginning
from lia_live.frame import Crop, Frame, Pixels
from lia_live.interfaces import Tracker
from lia_live.track import open_tracker

if TYPE_CHECKING:
    from lia_live.avatar import Avatar
    from lia_live.model import LIA
    from lia_live.render import Renderer

SETTLE_S: Final = 1.0
"""The beginning of a driven avatar that is not judged: it eases in from rest."""


class _Watched:
    """A tracker that remembers what it gave: the driver is judged in the very crop that was encoded."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self.last: Crop | None = None

    def track(self, frame: Frame) -> Crop | None:
        self.last = self._tracker.track(frame)
        return self.last

    def recalibrate(self) -> None:
        self._tracker.recalibrate()

    def close(self) -> None:
        self._tracker.close()


class Driven:
    """Moves ``avatar`` as ``lia-live animate`` does: neutral learned, relative, smoothed. Use ``with``."""

    def __init__(self, model: LIA, renderer: Renderer, avatar: Avatar) -> None:
        self._watched = _Watched(open_tracker(model.config.framing, model.config.size))
        self._animator = Animator(
            renderer, avatar, tracker=self._watched, directions=model.directions
        )

    def learn_neutral(self, clip: Iterable[Frame]) -> None:
        """From the clip's first seconds, before it is shown."""
        self._animator.learn_neutral(beginning(clip))

    def animate(self, frame: Frame) -> Pixels:
        """The avatar (S, S, 3) uint8 at that frame; frames come in order."""
        return self._animator.animate(frame).pixels

    @property
    def crop(self) -> Crop | None:
        """What was cut out of the last frame and encoded; None: no face."""
        return self._watched.last

    def __enter__(self) -> Driven:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._animator.close()
