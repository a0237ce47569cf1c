"""One session's place in the render service: its driver, its avatar, what is counted. Numbers go from one to the other.

The same parts as in ``lia-live run``: ``Observer`` looks at the driver, ``MotionPolicy`` decides, ``Performer`` shows
the avatar. Here the looking happens on a tracking worker, and the rendering together with other sessions.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lia_live.engine import PolicyConfig, PreparedAvatar, Stats
from lia_live.engine.faults import Faults
from lia_live.engine.observer import Observation, Observer, ShapeOf, Sighting
from lia_live.engine.performer import AvatarPicture, Performer
from lia_live.engine.performing import NO_CAMERA_AFTER_S
from lia_live.engine.slot import Slot
from lia_live.frame import Crop, Frame
from lia_live.interfaces import Clock, Tracker
from lia_live.timing import Percentiles

if TYPE_CHECKING:
    from lia_live.engine.policy import Codes
    from lia_live.model.directions import Direction
    from lia_live_server.config import ServerConfig
    from lia_live_server.media import RawFrame

RECENT = 150
"""Ages and model times that are kept: the last five seconds."""


class LateTracker:
    """A tracker that is opened where it is used first: on its worker. ``warm``: do so now."""

    def __init__(self, opened: Callable[[], Tracker]) -> None:
        self._open = opened
        self._tracker: Tracker | None = None

    def warm(self) -> Tracker:
        if self._tracker is None:
            self._tracker = self._open()
        return self._tracker

    def track(self, frame: Frame) -> Crop | None:
        return self.warm().track(frame)

    def recalibrate(self) -> None:
        if self._tracker is not None:
            self._tracker.recalibrate()

    def close(self) -> None:
        if self._tracker is not None:
            self._tracker.close()


class Stage:
    """Made by ``RenderService.open``. ``frames``, ``choose``, ``calibrate`` and the settings: any thread."""

    def __init__(
        self,
        first: PreparedAvatar,
        tracker: LateTracker,
        config: ServerConfig,
        shape_of: ShapeOf | None,
        clock: Clock,
        show: Callable[[AvatarPicture], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.tracker = tracker
        self.show, self.failed = show, failed
        self._clock = clock
        self._idle_after_s = config.idle_after_s
        self._rest_every_s = 0.9 / config.fps
        self._posed_at = clock.now()
        self.stats = Stats(
            device="",
            engine="",
            precision="",
            began_at=clock.now(),
            sink_latency_s=0.0,
            avatar=first.name,
            age=Percentiles(RECENT),
            model=Percentiles(RECENT),
            track=Percentiles(RECENT),
        )
        self._faults = Faults(self.stats, clock, config.fault_limit_s)
        self._observer = Observer(tracker, first.network, shape_of)
        self.performer = Performer(first, config.policy)
        self.frames: Slot[RawFrame] = Slot()
        self.busy = False
        """A thread of the service has it in hand. Guarded by the service's lock."""
        self.paused = False
        """Parked: takes no frames, moves nothing. Guarded by the service's lock."""
        self.closed = False
        self._frame_at = clock.now()
        self._stale = True
        self._wanted: PreparedAvatar | None = None
        self._recalibrate = threading.Event()
        self._encode_s = 0.0

    # What the session says

    @property
    def directions(self) -> Sequence[Direction]:
        """Of the network on stage."""
        return self.performer.avatar.network.directions

    @property
    def policy_config(self) -> PolicyConfig:
        """In use, or about to be."""
        return self.performer.policy.config

    @property
    def mirror(self) -> bool:
        """The driver is flipped."""
        return self._observer.mirror

    def settle(self, mirror: bool | None, changes: dict[str, object]) -> None:
        """Change settings of the policy by name, and the mirror. Raises ``ConfigError`` for edits that do not fit."""
        policy = self.performer.policy
        if changes:
            policy.update(replace(policy.config, **changes))  # type: ignore[arg-type]  # by name
        if mirror is not None and mirror != self._observer.mirror:
            self._observer.mirror = mirror
            policy.calibrate()  # a neutral that looked left now looks right
        self.refresh()

    def calibrate(self) -> None:
        """A new neutral, and a new place and size of the crop."""
        self._recalibrate.set()
        self.performer.policy.calibrate()

    def choose(self, avatar: PreparedAvatar) -> None:
        """Put another avatar on stage with the next picture."""
        self._wanted = avatar

    def refresh(self) -> None:
        """The next idle moment renders, even if the pose would stay."""
        self._stale = True

    # The tracking worker

    def look(self, raw: RawFrame) -> Sighting:
        """Unpack and track. Faults count as "nobody there"; raises one that has gone on for too long."""
        frame = Frame(raw.pixels(), raw.captured_at, raw.number)
        try:
            if self._recalibrate.is_set():
                self._recalibrate.clear()
                self._observer.recalibrate()
            with self.stats.track.measure(self._clock):
                sighting = self._observer.look(frame)
        except Exception as error:
            self._faults.note("tracker", error)
            return Sighting(frame)
        self._faults.well("tracker")
        return sighting

    def leave(self) -> None:
        """Free the tracker and forget every frame."""
        self._observer.close()

    # The model thread

    @property
    def due(self) -> bool:
        """No frame has come for a while, and there is something to move without one."""
        now = self._clock.now()
        if now - self._frame_at < self._idle_after_s or now - self._posed_at < self._rest_every_s:
            return False
        if now - self._frame_at > NO_CAMERA_AFTER_S:
            self.stats.driver = "no camera"
        return self._moving

    @property
    def _moving(self) -> bool:
        return self._stale or self._wanted is not None or not self.performer.policy.settled

    def pose(self, sighting: Sighting | None) -> tuple[Codes, float | None] | None:
        """The code to render and the capture time it belongs to; None where nothing would change.

        ``sighting`` None: no frame came.
        """
        self._change_avatar()
        self._encode_s = 0.0
        self._posed_at = self._clock.now()
        if sighting is None:
            code = self.performer.pose(None, self._clock.now())
            return code, None
        self._frame_at = self._clock.now()
        observation = self._observe(sighting)
        seen = observation.alpha is not None
        self.stats.driver = "face" if seen else "no face"
        if not (seen or self._moving):
            return None
        code = self.performer.pose(observation, self._clock.now())
        if seen:
            self._observer.keep(self.performer.policy.neutral_times)
        return code, observation.captured_at

    def shown(self, picture: AvatarPicture, spent_s: float) -> None:
        """The picture of the last ``pose``; ``spent_s``: what rendering took."""
        self._faults.well("renderer")
        self._stale = False
        if picture.captured_at is not None:
            self.stats.model.add(self._encode_s + spent_s)
        policy = self.performer.policy
        self.stats.calibrated = policy.calibrated
        self.stats.neutral_score = policy.neutral_score
        if not self.closed:
            self.show(picture)

    def not_shown(self, error: Exception) -> None:
        """Rendering failed. Raises ``error`` when that has gone on for too long."""
        self._stale = True
        self._faults.note("renderer", error)

    def _observe(self, sighting: Sighting) -> Observation:
        began = self._clock.now()
        try:
            observation = self._observer.encode(sighting)
        except Exception as error:
            self._faults.note("encoder", error)
            return Observation.nobody(sighting.frame)
        if observation.alpha is not None:
            self._encode_s = self._clock.now() - began
            self._faults.well("encoder")
            self.stats.face_frames += 1
        return observation

    def _change_avatar(self) -> None:
        avatar, self._wanted = self._wanted, None
        if avatar is None:
            return
        neutral: list[Observation] = []
        if avatar.network is not self.performer.avatar.network:
            try:
                neutral = self._observer.turn_to(avatar.network)
            except Exception as error:
                self._faults.note("encoder", error)
            self.stats.runs_on(avatar.network.renderer)
        self.performer.switch(avatar, neutral)
        self.stats.avatar = avatar.name
        self._stale = True
