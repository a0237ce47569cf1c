"""Tracker, renderer and policy on one thread: a camera frame in, the avatar's frame out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lia_live.engine.neutral import HeadShape
from lia_live.engine.observer import Observer, ShapeOf
from lia_live.engine.performer import Performer, prepare
from lia_live.engine.policy import MotionPolicy, PolicyConfig
from lia_live.frame import Frame
from lia_live.interfaces import Tracker

if TYPE_CHECKING:
    from lia_live.avatar import Avatar
    from lia_live.model import LIA
    from lia_live.model.directions import Direction
    from lia_live.render.interface import Renderer


def expression_of(landmarks: NDArray[np.float32]) -> HeadShape:
    """The shape of a face from its (478, 3) landmarks, by the track room."""
    from lia_live.track import expression

    return expression(landmarks)


class Animator:
    """Moves one avatar with the faces in a row of frames. One thread; close it, or use ``with``.

        with Animator(model, avatar) as animator:
            out = animator.animate(frame)

    ``model``: a loaded ``LIA`` or an opened renderer. ``tracker``: None opens the one that the model's
    framing needs. ``directions``: None takes the model's. Faults are raised: a live run that has to go on
    is ``Pipeline``.
    """

    def __init__(
        self,
        model: LIA | Renderer,
        avatar: Avatar,
        *,
        policy: PolicyConfig | None = None,
        tracker: Tracker | None = None,
        directions: Sequence[Direction] | None = None,
        shape_of: ShapeOf | None = expression_of,
        engine: str = "auto",
        threads: int | None = None,
    ) -> None:
        renderer, directions = _opened(model, directions, engine, threads)
        self._renderer, self._shape_of = renderer, shape_of
        prepared = prepare(avatar, renderer, shape_of)  # what may fail, before a tracker is held
        if tracker is None:
            from lia_live.track import open_tracker

            tracker = open_tracker(renderer.config.framing, renderer.config.size)
        self._observer = Observer(tracker, renderer, shape_of)
        self._performer = Performer(
            renderer,
            prepared,
            policy or PolicyConfig(),
            directions,
        )

    def animate(self, frame: Frame) -> Frame:
        """The avatar (S, S, 3) at the moment of ``frame`` (any size); same time and number.

        Frames come in order; their ``captured_at`` is the time that holding, easing and smoothing go by.
        """
        observation = self._observer.observe(frame)
        code = self._performer.pose(observation, frame.captured_at)
        picture = self._performer.render(code, frame.captured_at)
        return Frame(picture.pixels, frame.captured_at, frame.number)

    def learn_neutral(self, frames: Iterable[Frame]) -> float:
        """Choose the neutral from ``frames`` beforehand, so that a clip uses one from its first frame on.

        Returns its score in [0, 1]; 0 when no face was in them (the search then goes on while animating).
        """
        observations = (self._observer.observe(frame) for frame in frames)
        samples = [(o.alpha, o.shape) for o in observations if o.alpha is not None]
        return self.policy.learn_neutral(samples)

    def calibrate(self) -> None:
        """Take a new neutral, and a new crop scale, from the next half second of faces."""
        self._observer.recalibrate()
        self.policy.calibrate()

    def switch(self, avatar: Avatar) -> None:
        """Go on with another avatar; the driver's neutral stays."""
        self._performer.switch(prepare(avatar, self._renderer, self._shape_of))

    @property
    def policy(self) -> MotionPolicy:
        """For its state (``calibrated``, ``neutral_score``, ``face``) and ``update``."""
        return self._performer.policy

    @property
    def mirror(self) -> bool:
        """The driver is flipped before the motion is encoded."""
        return self._observer.mirror

    @mirror.setter
    def mirror(self, mirror: bool) -> None:
        if mirror != self._observer.mirror:
            self._observer.mirror = mirror
            self.policy.calibrate()

    def close(self) -> None:
        """Free the tracker."""
        self._observer.close()

    def __enter__(self) -> Animator:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _opened(
    model: LIA | Renderer, directions: Sequence[Direction] | None, engine: str, threads: int | None
) -> tuple[Renderer, Sequence[Direction]]:
    """The renderer of a model, or the one that was given; and the directions."""
    from lia_live.model import LIA

    if isinstance(model, LIA):
        from lia_live.render import open_renderer

        return open_renderer(model, engine, threads), directions or model.directions
    if directions is None:
        from lia_live.model.directions import Direction

        directions = Direction.unlabelled(model.config.motion_dim)
    return model, directions
