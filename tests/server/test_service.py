"""The render service without any network around it: batches, newest wins, and faults that stay where they are."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from lia_live.engine import PolicyConfig, PreparedAvatar, prepare
from lia_live.engine.networks import LiveNetworks
from lia_live.model.directions import Direction
from lia_live.timing import MonotonicClock
from lia_live_server import ServerConfig
from lia_live_server.service import RenderService
from tests.doubles import ScriptedRenderer, ScriptedTracker, scripted_avatar, tiny_config

CONFIG = tiny_config()
QUICK = PolicyConfig(smooth=0.0, hold_s=0.1, ease_s=0.1, return_s=0.0)


class Raw:
    """A camera frame of one grey level."""

    def __init__(self, number: int, level: int = 90) -> None:
        self.number, self.captured_at, self._level = number, time.perf_counter(), level
        self.unpacked_by = ""

    def pixels(self) -> np.ndarray:
        self.unpacked_by = threading.current_thread().name
        return np.full((72, 96, 3), self._level, np.uint8)


@contextmanager
def service(
    renderer: Any, tracker: Any = None, **config: Any
) -> Iterator[tuple[RenderService, PreparedAvatar]]:
    networks = LiveNetworks(
        lambda: (renderer, Direction.unlabelled(CONFIG.motion_dim)), lambda network, other: renderer
    )
    avatar = scripted_avatar()
    first = prepare(avatar, networks.of(avatar), None)
    running = RenderService(
        ServerConfig(policy=QUICK, **config),
        tracker or (lambda: ScriptedTracker(CONFIG.size)),
        None,
        MonotonicClock(),
    )
    running.start(first)
    try:
        yield running, first
    finally:
        running.close()
        assert not [t for t in threading.enumerate() if t.name.startswith("lia-")]


class Seat:
    """A session of the service."""

    def __init__(self, running: RenderService, first: PreparedAvatar) -> None:
        self.pictures: list[Any] = []
        self.errors: list[Exception] = []
        self.stage = running.open(first, self.pictures.append, self.errors.append)


def until(true, timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.005)


def test_the_avatar_at_rest_comes_without_a_camera() -> None:
    with service(ScriptedRenderer()) as (running, first):
        seat = Seat(running, first)
        until(lambda: seat.pictures)
        assert seat.pictures[0].captured_at is None


def test_frames_are_unpacked_and_tracked_by_workers_and_rendered_by_one_thread() -> None:
    renderer = ScriptedRenderer()
    with service(renderer) as (running, first):
        seats = [Seat(running, first) for _ in range(3)]
        raws = [Raw(0) for _ in seats]
        for seat, raw in zip(seats, raws, strict=True):
            running.offer(seat.stage, raw)
        until(lambda: all(any(p.captured_at for p in seat.pictures) for seat in seats))
        assert {raw.unpacked_by.partition("_")[0] for raw in raws} <= {"lia-track-0", "lia-track-1"}
        assert renderer.threads == {"lia-model"}


def test_concurrent_sessions_are_rendered_together() -> None:
    renderer = ScriptedRenderer(render_s=0.03)
    with service(renderer) as (running, first):
        seats = [Seat(running, first) for _ in range(4)]
        for number in range(20):
            for seat in seats:
                running.offer(seat.stage, Raw(number))
            time.sleep(0.02)
        until(lambda: all(len(seat.pictures) > 5 for seat in seats))
        assert running.batched > 8
        assert all(p.pixels.shape == (64, 64, 3) for seat in seats for p in seat.pictures)


def test_a_slow_network_drops_frames_and_does_not_queue_them() -> None:
    with service(ScriptedRenderer(render_s=0.1)) as (running, first):
        seat = Seat(running, first)
        ages = []

        def show(picture) -> None:
            if picture.captured_at:
                ages.append(time.perf_counter() - picture.captured_at)

        seat.stage.show = show
        for number in range(60):
            running.offer(seat.stage, Raw(number))
            time.sleep(0.02)
        until(lambda: not seat.stage.busy)
        assert seat.stage.stats.dropped_in > 20
        assert len(ages) > 3
        assert max(ages) < 1.0  # two renderings and one wait, on a machine in order


def test_one_session_that_breaks_down_takes_no_other_with_it() -> None:
    bad = [0]

    class Choosy(ScriptedTracker):
        def track(self, frame):
            if frame.pixels[0, 0, 0] == 13:
                bad[0] += 1
                raise RuntimeError("this one")
            return super().track(frame)

    with service(ScriptedRenderer(), lambda: Choosy(CONFIG.size), fault_limit_s=0.05) as (
        running,
        first,
    ):
        good, broken = Seat(running, first), Seat(running, first)
        for number in range(40):
            running.offer(good.stage, Raw(number))
            running.offer(broken.stage, Raw(number, 13))
            time.sleep(0.02)
        until(lambda: broken.errors)
        assert bad[0] >= 5
        assert broken.stage.closed
        before = len(good.pictures)
        running.offer(good.stage, Raw(99))
        until(lambda: len(good.pictures) > before)
        assert not good.errors


def test_a_rendering_that_fails_for_one_is_made_for_the_others() -> None:
    class Picky(ScriptedRenderer):
        def render(self, avatars, alpha):
            if alpha[:, 0].max() > 5:
                raise RuntimeError("too much")
            return super().render(avatars, alpha)

    renderer = Picky(code=lambda crop: 9.0 if crop[0, 0, 0] == 13 else 0.0, render_s=0.01)
    config = PolicyConfig(mode="absolute", smooth=0.0, return_s=0.0)
    with service(renderer, fault_limit_s=60) as (running, first):
        seats = [Seat(running, first) for _ in range(2)]
        for seat in seats:
            seat.stage.performer.policy.update(config)
        for number in range(30):
            running.offer(seats[0].stage, Raw(number))
            running.offer(seats[1].stage, Raw(number, 13))
            time.sleep(0.02)
        until(lambda: seats[1].stage.stats.faults.get("renderer", 0) > 2)
        assert "renderer" not in seats[0].stage.stats.faults
        assert sum(p.captured_at is not None for p in seats[0].pictures) > 5


def test_a_parked_stage_stands_still() -> None:
    with service(ScriptedRenderer()) as (running, first):
        seat = Seat(running, first)
        until(lambda: seat.pictures)
        running.pause(seat.stage, True)
        until(lambda: not seat.stage.busy)
        before = len(seat.pictures)
        running.offer(seat.stage, Raw(0))
        time.sleep(0.2)
        assert len(seat.pictures) == before
        running.pause(seat.stage, False)
        running.offer(seat.stage, Raw(1))
        until(lambda: len(seat.pictures) > before)


def test_a_tracker_that_cannot_be_opened_fails_its_session_only() -> None:
    def opened() -> ScriptedTracker:
        raise RuntimeError("no detector")

    with service(ScriptedRenderer(), opened) as (running, first):
        seat = Seat(running, first)
        until(lambda: seat.errors)
        assert running.alive


def test_every_stage_gives_its_tracker_back() -> None:
    trackers: list[ScriptedTracker] = []

    def opened() -> ScriptedTracker:
        trackers.append(ScriptedTracker(CONFIG.size))
        return trackers[-1]

    with service(ScriptedRenderer(), opened) as (running, first):
        seats = [Seat(running, first) for _ in range(3)]
        until(lambda: len(trackers) == 3)
        running.leave(seats[0].stage)
        running.leave(seats[0].stage)
        until(lambda: sum(t.closed for t in trackers) == 1)
    assert [t.closed for t in trackers] == [1, 1, 1]
