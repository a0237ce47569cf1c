"""The model thread: newest sighting of the driver to newest avatar picture, and the calm while none comes."""

from __future__ import annotations

import threading

from lia_live.engine.config import PipelineConfig
from lia_live.engine.faults import Faults
from lia_live.engine.networks import LiveNetwork
from lia_live.engine.observer import Observation, Observer, Sighting
from lia_live.engine.pacing import NetworkForecast
from lia_live.engine.performer import AvatarPicture, Performer
from lia_live.engine.shelf import AvatarShelf
from lia_live.engine.slot import Slot
from lia_live.engine.stats import Stats
from lia_live.interfaces import Clock

NO_CAMERA_AFTER_S = 1.0
"""Without a frame for this long, the status says that the camera is gone."""


class PerformingLoop:
    """Sightings to avatar pictures until the sightings are finished or ``stop`` is set.

    No fault of one frame gets out: without a trusted code the policy brings the avatar to rest, without
    a trusted rendering no picture is handed on and the output repeats the last one.
    """

    def __init__(
        self,
        sightings: Slot[Sighting],
        pictures: Slot[AvatarPicture],
        observer: Observer,
        performer: Performer,
        shelf: AvatarShelf,
        forecast: NetworkForecast,
        config: PipelineConfig,
        stats: Stats,
        clock: Clock,
        stop: threading.Event,
        ready: threading.Event,
    ) -> None:
        self._sightings = sightings
        self._pictures = pictures
        self._observer = observer
        self._performer = performer
        self._shelf = shelf
        self._forecast = forecast
        self._config = config
        self._stats = stats
        self._clock = clock
        self._stop = stop
        self._ready = ready
        self._faults = Faults(stats, clock, config.fault_limit_s)
        self._stale = True
        self._frame_at = clock.now()
        self._idle = False
        self._encode_s = 0.0

    def refresh(self) -> None:
        """Settings changed: the next idle moment renders, even if the pose would stay. Any thread."""
        self._stale = True

    def run(self) -> None:
        """Body of the thread."""
        try:
            self._warm_up()
            self._rest()
            self._ready.set()
            self._frame_at = self._clock.now()
            while not self._stop.is_set():
                sighting = self._sightings.take(self._patience())
                if self._stop.is_set():
                    break
                self._change_avatar()
                if sighting is not None:
                    self._forecast.begin()
                    self._perform(sighting)
                    self._forecast.end()
                elif self._sightings.finished:
                    break
                else:
                    self._rest()
        finally:
            self._ready.set()
            self._pictures.close()
            self._observer.forget()

    def _patience(self) -> float:
        """Seconds to wait for a sighting: short while the avatar is being moved on without any."""
        return 1 / self._config.fps if self._idle else self._config.idle_after_s

    def _perform(self, sighting: Sighting) -> None:
        """One camera frame. Its pixels end inside ``_observe``; from there on there are numbers."""
        self._frame_at, self._idle = self._clock.now(), False
        observation = self._observe(sighting)
        seen = observation.alpha is not None
        self._stats.driver = "face" if seen else "no face"
        if seen or self._stale or not self._performer.policy.settled:
            self._show(observation, observation.captured_at)
        if seen:
            self._observer.keep(self._performer.policy.neutral_times)

    def _rest(self) -> None:
        """No frame came: move the avatar on without one, if there is anything to move."""
        self._idle = True
        if self._clock.now() - self._frame_at > NO_CAMERA_AFTER_S:
            self._stats.driver = "no camera"
        if self._stale or not self._performer.policy.settled:
            self._show(None, None)

    def _observe(self, sighting: Sighting) -> Observation:
        self._encode_s = 0.0
        began = self._clock.now()
        try:
            observation = self._observer.encode(sighting)
        except Exception as error:  # whatever it is, the answer is the same: nobody was seen
            self._faults.note("encoder", error)
            return Observation.nobody(sighting.frame)
        if observation.alpha is not None:
            self._encode_s = self._clock.now() - began
            self._faults.well("encoder")
            self._stats.face_frames += 1
        return observation

    def _show(self, observation: Observation | None, captured_at: float | None) -> None:
        policy = self._performer.policy
        code = self._performer.pose(observation, self._clock.now())
        began = self._clock.now()
        try:
            picture = self._performer.render(code, captured_at)
        except Exception as error:
            self._stale = True
            self._faults.note("renderer", error)
            return
        self._faults.well("renderer")
        self._stale = False
        if observation is not None and observation.alpha is not None:
            self._stats.model.add(self._encode_s + self._clock.now() - began)
        self._stats.calibrated, self._stats.neutral_score = policy.calibrated, policy.neutral_score
        self._pictures.put(picture)
        self._stats.dropped_out = self._pictures.drops

    def _change_avatar(self) -> None:
        avatar = self._shelf.due()
        if avatar is None:
            return
        neutral: list[Observation] = []
        if avatar.network is not self._performer.avatar.network:
            neutral = self._look_again(avatar.network)
            self._stats.runs_on(avatar.network.renderer)
        self._performer.switch(avatar, neutral)
        self._stats.avatar = avatar.name
        self._stale = True

    def _look_again(self, network: LiveNetwork) -> list[Observation]:
        """What another network makes of the frames that the neutral was found in; nothing after a fault."""
        try:
            return self._observer.turn_to(network)
        except Exception as error:
            self._faults.note("encoder", error)
            return []

    def _warm_up(self) -> None:
        """First calls are slow: pay for them before the camera is read. Uses the avatar's own picture."""
        picture = self._performer.avatar.picture
        try:
            self._observer.warm_up(picture)
        except Exception as error:
            self._faults.note("encoder", error)
