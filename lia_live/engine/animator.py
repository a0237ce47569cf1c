"""Tracker, renderer and policy on one thread: a camera frame in, the avatar's frame out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from types import TracebackType
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from lia_live.engine.networks import LiveNetworks
from lia_live.engine.neutral import HeadShape
from lia_live.engine.observer import Observation, Observer, ShapeOf
from lia_live.engine.performer import Performer, prepare, samples_of
from lia_live.engine.policy import MotionPolicy, PolicyConfig
from lia_live.frame import Frame
from lia_live.interfaces import Tracker

if TYPE_CHECKING:
    from lia_live.avatar import Avatar
    from lia_live.model import LIA
    from lia_live.model.directions import Direction
    from lia_live.render.interface import Renderer


NEUTRAL_S: Final = 2.0
"""The neutral of a clip is looked for in that much of its beginning."""


def beginning(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The first ``NEUTRAL_S`` of a clip for ``learn_neutral``, dated before it: time must never go back for the
    tracker, and the clip is still to come.
    """
    for frame in takewhile(lambda one: one.captured_at < NEUTRAL_S, frames):
        yield Frame(frame.pixels, frame.captured_at - NEUTRAL_S - 1, frame.number)


def expression_of(landmarks: NDArray[np.float32]) -> HeadShape:
    """The shape of a face from its (478, 3) landmarks, by the track room."""
    from lia_live.track import expression

    return expression(landmarks)


class Animator:
    """Moves one avatar with the faces in a row of frames. One thread; close it, or use ``with``.

        with Animator(model, avatar) as animator:
            out = animator.animate(frame)

    ``model``: a loaded ``LIA`` or an opened renderer; None where every avatar brings its own network, which
    goes before ``model`` in any case. ``tracker``: None opens the one that the avatar's framing needs; one that
    is given must cut for that avatar's network. ``directions``: None takes the model's. ``device``: where
    networks run, None: where the model is. Faults are raised: a live run that has to go on is ``Pipeline``.
    """

    def __init__(
        self,
        model: LIA | Renderer | None,
        avatar: Avatar,
        *,
        policy: PolicyConfig | None = None,
        tracker: Tracker | None = None,
        directions: Sequence[Direction] | None = None,
        shape_of: ShapeOf | None = expression_of,
        engine: str = "auto",
        threads: int | None = None,
        device: str | None = None,
    ) -> None:
        self._networks = _networks(model, directions, engine, threads, device)
        self._shape_of = shape_of
        network = self._networks.of(avatar)
        prepared = prepare(avatar, network, shape_of)  # what may fail, before a tracker is held
        if tracker is None:
            from lia_live.track import open_tracker

            config = network.renderer.config
            tracker = open_tracker(config.framing, config.size)
        self._observer = Observer(tracker, network, shape_of)
        self._performer = Performer(prepared, policy or PolicyConfig())

    def animate(self, frame: Frame) -> Frame:
        """The avatar (S, S, 3) at the moment of ``frame`` (any size); same time and number.

        Frames come in order; their ``captured_at`` is the time that holding, easing and smoothing go by.
        """
        observation = self._observer.observe(frame)
        code = self._performer.pose(observation, frame.captured_at)
        if observation.alpha is not None:
            self._observer.keep(self.policy.neutral_times)
        picture = self._performer.render(code, frame.captured_at)
        return Frame(picture.pixels, frame.captured_at, frame.number)

    def learn_neutral(self, frames: Iterable[Frame]) -> float:
        """Choose the neutral from ``frames`` beforehand, so that a clip uses one from its first frame on.

        Of the clip itself these are its ``beginning``.
        Returns its score in [0, 1]; 0 when no face was in them (the search then goes on while animating).
        """
        seen: list[Observation] = []
        for frame in frames:
            seen.append(self._observer.observe(frame))
            self.policy.learn_neutral(samples_of(seen))  # so far: the frame is still at hand
            self._observer.keep(self.policy.neutral_times)
        return self.policy.neutral_score

    def calibrate(self) -> None:
        """Take a new neutral, and a new crop scale, from the next half second of faces."""
        self._observer.recalibrate()
        self.policy.calibrate()

    def switch(self, avatar: Avatar) -> None:
        """Go on with another avatar, by its own network if it brings one; the driver's neutral stays."""
        network = self._networks.of(avatar)
        prepared = prepare(avatar, network, self._shape_of)
        other = network is not self._performer.avatar.network
        neutral = self._observer.turn_to(network) if other else ()
        self._performer.switch(prepared, neutral)

    @property
    def renderer(self) -> Renderer:
        """What runs the network on stage."""
        return self._performer.avatar.network.renderer

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


def _networks(
    model: LIA | Renderer | None,
    directions: Sequence[Direction] | None,
    engine: str,
    threads: int | None,
    device: str | None,
) -> LiveNetworks:
    """The networks of an animator: each is opened when the first avatar needs it."""
    from lia_live.model import LIA, Direction
    from lia_live.render import open_renderer

    if model is None:
        where = device
    elif isinstance(model, LIA):
        where = device or str(next(model.parameters()).device)
    else:
        where = device or model.device

    def shared() -> tuple[Renderer, Sequence[Direction]]:
        if isinstance(model, LIA):
            opened = open_renderer(model, engine, threads, device=where)
            return opened, directions or model.directions
        assert model is not None  # else there is nothing to share
        return model, directions or Direction.unlabelled(model.config.motion_dim)

    def own(network: LIA, other: Renderer | None) -> Renderer:
        return open_renderer(network, engine, threads, device=where, beside=other)

    def is_shared(avatar: Avatar) -> bool:
        return isinstance(model, LIA) and avatar.fingerprint == model.fingerprint

    return LiveNetworks(None if model is None else shared, own, is_shared=is_shared)
