"""One render service for all sessions: a few threads find faces, one thread owns the network.

    Stage.frames ── worker: unpack, track ── model thread: encode, pose, render together ── Stage.show

A session has one frame in hand at most; what comes meanwhile waits in its slot, where the newest wins. So nothing
queues, and a slow network makes every session slower instead of later.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from lia_live.engine import PreparedAvatar
from lia_live.engine.networks import LiveNetwork
from lia_live.engine.observer import ShapeOf, Sighting
from lia_live.engine.performer import AvatarPicture, render_together
from lia_live.interfaces import Clock, Tracker
from lia_live.timing import Percentiles
from lia_live_server.config import ServerConfig
from lia_live_server.stage import LateTracker, Stage

if TYPE_CHECKING:
    from lia_live.engine.policy import Codes
    from lia_live_server.media import RawFrame

log = logging.getLogger("lia_live_server")

JOIN_S = 5.0


class Job(NamedTuple):
    """A stage to be moved on; ``sighting`` None: without a frame."""

    stage: Stage
    sighting: Sighting | None


class RenderService:
    """Threads that render for every session. ``open_tracker``: called on a worker, once for each session.

    ``start`` and ``close`` once each; the rest may be called from any thread in between.
    """

    def __init__(
        self,
        config: ServerConfig,
        open_tracker: Callable[[], Tracker],
        shape_of: ShapeOf | None,
        clock: Clock,
    ) -> None:
        self._config, self._clock = config, clock
        self._open_tracker, self._shape_of = open_tracker, shape_of
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._stages: dict[Stage, ThreadPoolExecutor] = {}
        self._stopped = False
        self._workers = [
            ThreadPoolExecutor(1, thread_name_prefix=f"lia-track-{number}")
            for number in range(config.track_workers)
        ]
        self._thread = threading.Thread(target=self._run, name="lia-model", daemon=True)
        self.render_s = Percentiles(512)
        """Of one call of the network, for however many sessions."""
        self.batched = 0
        """Pictures that were rendered together with another one."""
        self.rendered = 0

    def start(self, warm: PreparedAvatar | None = None) -> None:
        """Begin. ``warm``: rendered once beforehand, because first calls are slow."""
        self._warm = warm
        self._thread.start()

    def close(self) -> None:
        """End every thread; stages that are still open are left as they are."""
        with self._changed:
            self._stopped = True
            stages = list(self._stages)
            self._changed.notify_all()
        for stage in stages:
            self.leave(stage)
        if self._thread.is_alive():
            self._thread.join(JOIN_S)
        for worker in self._workers:
            worker.shutdown(wait=True, cancel_futures=False)

    @property
    def alive(self) -> bool:
        """The model thread runs."""
        return self._thread.is_alive()

    def open(
        self,
        first: PreparedAvatar,
        show: Callable[[AvatarPicture], None],
        failed: Callable[[Exception], None],
    ) -> Stage:
        """A stage for a new session. ``show``, ``failed``: called on threads of the service; quick, never raising."""
        tracker = LateTracker(self._open_tracker)
        stage = Stage(first, tracker, self._config, self._shape_of, self._clock, show, failed)
        stage.stats.runs_on(first.network.renderer)
        with self._changed:
            used = list(self._stages.values())
            worker = min(self._workers, key=used.count)
            self._stages[stage] = worker
            self._changed.notify_all()
        worker.submit(self._prepare, stage)
        return stage

    def offer(self, stage: Stage, frame: RawFrame) -> None:
        """A camera frame; one that still waits is replaced."""
        with self._changed:
            worker = self._stages.get(stage)
            if worker is None or stage.paused:
                return
            stage.stats.frames_in += 1
            stage.frames.put(frame)
            stage.stats.dropped_in = stage.frames.drops
            if stage.busy:
                return
            stage.busy = True
        worker.submit(self._look, stage)

    def pause(self, stage: Stage, paused: bool) -> None:
        """Take nothing from this stage, or go on with it."""
        with self._changed:
            stage.paused = paused
            stage.frames.clear()
            if not paused:
                stage.refresh()
            self._changed.notify_all()

    def wake(self) -> None:
        """Something changed on an idle stage."""
        with self._changed:
            self._changed.notify_all()

    def leave(self, stage: Stage) -> None:
        """Give the stage up: its tracker is freed after what is in hand. May be called twice."""
        with self._changed:
            worker = self._stages.pop(stage, None)
            stage.closed = True
        stage.frames.clear()
        if worker is not None:
            worker.submit(stage.leave)

    # Workers

    def _prepare(self, stage: Stage) -> None:
        if stage.closed:
            return
        try:
            stage.tracker.warm()
        except Exception as error:
            self._fail(stage, error)

    def _look(self, stage: Stage) -> None:
        raw = None if stage.closed else stage.frames.take(0)
        if raw is None:
            self._release(stage)
            return
        try:
            sighting = stage.look(raw)
        except Exception as error:
            self._fail(stage, error)
            return
        with self._changed:
            self._jobs.append(Job(stage, sighting))
            self._changed.notify_all()

    def _release(self, stage: Stage) -> None:
        """Nothing is in hand any more; go on with what came meanwhile."""
        with self._changed:
            worker = self._stages.get(stage)
            stage.busy = worker is not None and len(stage.frames) > 0
            again = stage.busy
        if again and worker is not None:
            worker.submit(self._look, stage)

    def _fail(self, stage: Stage, error: Exception) -> None:
        """One session has come to its end; no other notices."""
        if not stage.closed:
            log.error("a session failed: %s: %s", type(error).__name__, error)
            self.leave(stage)
            stage.failed(error)

    # The model thread

    def _run(self) -> None:
        if self._warm is not None:
            self._warm_up(self._warm)
            self._warm = None
        while (jobs := self._next()) is not None:
            if jobs:
                self._perform(jobs)

    def _next(self) -> list[Job] | None:
        """Wait for frames that were looked at, and for stages that move without one. None: the end."""
        tick = 1 / self._config.fps
        with self._changed:
            if not self._jobs and not self._stopped:
                self._changed.wait(tick if self._stages else None)
            if self._stopped:
                return None
            most = self._config.max_batch
            jobs = [self._jobs.popleft() for _ in range(min(most, len(self._jobs)))]
            resting = [
                stage for stage in self._stages if not stage.busy and not stage.paused and stage.due
            ]
            for stage in resting[: most - len(jobs)]:
                stage.busy = True
                jobs.append(Job(stage, None))
            return jobs

    def _perform(self, jobs: Iterable[Job]) -> None:
        groups: dict[LiveNetwork, list[tuple[Stage, Codes, float | None]]] = {}
        held = []
        for stage, sighting in jobs:
            held.append(stage)
            if stage.closed:
                continue
            try:
                posed = stage.pose(sighting)
            except Exception as error:
                self._fail(stage, error)
                continue
            if posed is not None:
                network = stage.performer.avatar.network
                groups.setdefault(network, []).append((stage, *posed))
        for group in groups.values():
            self._render(group)
        for stage in held:
            self._release(stage)

    def _render(self, group: list[tuple[Stage, Codes, float | None]]) -> None:
        began = self._clock.now()
        try:
            pictures = render_together(
                [(stage.performer, code, captured_at) for stage, code, captured_at in group]
            )
        except Exception as error:
            if len(group) > 1:  # whose fault it is shows when each is alone
                for one in group:
                    self._render([one])
                return
            (stage, _, _) = group[0]
            try:
                stage.not_shown(error)
            except Exception as lasting:
                self._fail(stage, lasting)
            return
        spent = self._clock.now() - began
        self.render_s.add(spent)
        self.rendered += len(group)
        self.batched += len(group) if len(group) > 1 else 0
        for (stage, _, _), picture in zip(group, pictures, strict=True):
            stage.shown(picture, spent)

    def _warm_up(self, avatar: PreparedAvatar) -> None:
        renderer = avatar.network.renderer
        try:
            renderer.encode_motion(avatar.picture[None])
            renderer.render([avatar.loaded[avatar.mouths.own]], avatar.rest[None])
        except Exception as error:
            log.error("warming up failed: %s: %s", type(error).__name__, error)
