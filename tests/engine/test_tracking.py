"""Tracking on a thread of its own: what it gains, what it may not do, how it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from lia_live.engine import PipelineConfig, PolicyConfig
from lia_live.engine.observer import Observer, Sighting
from lia_live.engine.pacing import AHEAD, NetworkForecast
from lia_live.engine.slot import Slot
from lia_live.engine.stats import Stats
from lia_live.engine.tracking import TrackingLoop
from lia_live.frame import Frame
from lia_live.model import Framing, LIAConfig
from tests.doubles import HandClock, ListSink, ScriptedRenderer, ScriptedTracker, camera_picture
from tests.engine.live import CONFIG, GREEN, camera, corner, pipeline
from tests.engine.test_fail_closed import camera_in_reach
from tests.engine.test_neutral_across_networks import live_network

FRAME = Frame(camera_picture(), 1.0, 0)


def slow(seconds: float):
    """A tracker that takes so long and says on which thread."""

    def script(frame: Frame) -> object:
        names.add(threading.current_thread().name)
        time.sleep(seconds)
        return True

    names: set[str] = set()
    return ScriptedTracker(CONFIG.size, script), names


def test_the_next_frame_is_tracked_while_the_network_works() -> None:
    """60 ms of tracking and 70 of network, 10 frames a second: in turns that would be 7.7 pictures a second."""
    tracker, names = slow(0.060)
    renderer = ScriptedRenderer(encode_s=0.030, render_s=0.040)
    run = pipeline(camera(10), tracker=tracker, renderer=renderer, fps=30.0)
    run._forecast._chooser.current = run._forecast._chooser._usual = AHEAD  # as it will find out
    snapshot = run.run(duration=4.0)
    assert snapshot["frames_out"] >= 32  # in turns: 31 and less
    assert snapshot["age_ms"]["p50"] < 250
    assert names == {"lia-track"}
    assert renderer.threads == {"lia-model"}


def test_a_slow_tracker_never_builds_a_queue() -> None:
    tracker, _ = slow(0.2)
    run = pipeline(camera(30), tracker=tracker, fps=30.0)
    snapshot = run.run(duration=2.0)
    assert snapshot["age_ms"]["p95"] <= 600  # in a queue the last ones would be 1,600 old
    assert snapshot["dropped_in"] >= 25
    assert snapshot["dropped_tracked"] == 0


def test_where_the_network_is_slow_ages_stay_those_of_one_frame() -> None:
    run = pipeline(camera(60), renderer=ScriptedRenderer(render_s=0.1), fps=30.0)
    snapshot = run.run(duration=1.5)
    assert snapshot["age_ms"]["p95"] < 250
    parts = [snapshot[f"dropped_{where}"] for where in ("in", "tracked", "out")]
    assert snapshot["dropped"] == sum(parts) >= 40


def test_no_frame_is_tracked_that_came_while_the_network_was_far_from_free() -> None:
    """While the tracker waits for the network three frames come: it takes the newest, and looks at no other."""
    frames: Slot[Frame] = Slot()
    sightings: Slot[Sighting] = Slot()
    frames.put(FRAME)
    clock = HandClock()
    numbers: list[int] = []
    waits: list[bool] = []

    class Forecast(NetworkForecast):
        def wait(self, pending: Callable[[], bool]) -> None:
            waits.append(pending())
            if len(waits) > 4:
                frames.clear()
                frames.close()
                return
            for number in range(3 * len(waits) - 2, 3 * len(waits) + 1):
                frames.put(Frame(camera_picture(), clock.now(), number))

    def script(frame: Frame) -> object:
        numbers.append(frame.number)
        clock.advance(0.006)
        frames.put(FRAME)  # the next one has come meanwhile
        return True

    observer = Observer(ScriptedTracker(CONFIG.size, script), live_network(lambda n: 1), None)
    stats = Stats("cpu", "scripted", "fp32", began_at=0.0, sink_latency_s=0.0)
    stop = threading.Event()
    config = PipelineConfig()
    TrackingLoop(frames, sightings, observer, Forecast(clock), config, stats, clock, stop).run()
    assert numbers == [3, 6, 9, 12]
    assert frames.drops == 12
    assert waits == [False, True, True, True, True]  # whether one waits for the network
    assert sightings.drops == stats.dropped_tracked == 3
    last = sightings.take(0)
    assert last is not None and last.frame.number == 12
    assert sightings.finished


def test_a_tracker_that_hangs_leaves_the_avatar_moving_to_rest() -> None:
    freed = threading.Event()

    def script(frame: Frame) -> object:
        if frame.number >= 30:
            freed.wait(20)
        return True

    renderer = ScriptedRenderer(code=lambda crop: 5.0)
    sink = ListSink()
    run = pipeline(
        camera(60),
        tracker=ScriptedTracker(CONFIG.size, script),
        renderer=renderer,
        sinks=[sink],
        policy=PolicyConfig("absolute", smooth=0.0, hold_s=0.1, ease_s=0.2, return_s=0.0),
    )

    def until_at_rest() -> None:
        moved = False
        while not freed.wait(0.02):
            now = [float(code[0]) for code in renderer.rendered]
            moved = moved or 5.0 in now
            if moved and now[-1] == 0.0:
                freed.set()
                run.stop()

    watcher = threading.Thread(target=until_at_rest)
    watcher.start()
    run.run(duration=15.0)
    at_rest = freed.is_set()
    freed.set()
    watcher.join()
    assert at_rest
    assert all(corner(picture) == GREEN for picture in sink.pictures)


def test_the_tracker_is_freed_by_its_own_thread_and_nothing_waits_after_the_end() -> None:
    closed_on: list[str] = []

    class Noting(ScriptedTracker):
        def close(self) -> None:
            super().close()
            closed_on.append(threading.current_thread().name)

    tracker = Noting(CONFIG.size)
    run = pipeline(tracker=tracker, renderer=ScriptedRenderer(render_s=0.05))
    run.run(duration=0.4)
    assert (tracker.closed, closed_on) == (1, ["lia-track"])
    assert len(run._frames) == len(run._sightings) == len(run._pictures) == 0


def test_what_was_seen_stays_on_the_cameras_side() -> None:
    """A sighting holds camera pictures: the avatar's side and the output can reach neither it nor its slot."""
    run = pipeline(renderer=ScriptedRenderer(render_s=0.05))
    run._sightings.put(Sighting(FRAME))
    assert camera_in_reach(run._sightings)  # there is something to be found, and the look finds it
    looks: list[list[str]] = []

    def look() -> None:
        time.sleep(0.3)  # something has been shown
        for _ in range(6):
            parts = (run._output, run._performer, run._shelf, run._pictures)
            looks.append([name for part in parts for name in camera_in_reach(part)])
            time.sleep(0.1)

    looker = threading.Thread(target=look)
    looker.start()
    run.run(duration=1.1)
    looker.join()
    assert looks == [[]] * 6


def test_a_new_scale_is_asked_for_on_the_trackers_thread() -> None:
    asked_on: list[str] = []

    class Noting(ScriptedTracker):
        def recalibrate(self) -> None:
            asked_on.append(threading.current_thread().name)

    run = pipeline(tracker=Noting(CONFIG.size))
    threading.Timer(0.2, run.calibrate).start()
    run.run(duration=0.5)
    assert asked_on == ["lia-track"]


def test_a_sighting_for_another_network_is_cut_again() -> None:
    """The network changes while a sighting waits: it is never shown a square of the other's size."""
    first = live_network(lambda n: n / 100)
    close = LIAConfig(
        size=128, width=0.0625, latent_dim=32, framing=Framing(eye_distance=0.5, eye_y=0.4)
    )
    other = live_network(lambda n: n / 10, close)
    observer = Observer(ScriptedTracker(CONFIG.size), first, None)
    sighting = observer.look(Frame(np.full((72, 96, 3), 110, np.uint8), 2.5, 7))
    observer.turn_to(other)
    observation = observer.encode(sighting)
    assert observation.alpha is not None
    assert float(observation.alpha[0]) == pytest.approx(11.0)
    assert (observation.captured_at, observation.number) == (2.5, 7)


def test_a_sighting_without_a_look_or_a_face_is_nobody() -> None:
    observer = Observer(
        ScriptedTracker(CONFIG.size, lambda f: False), live_network(lambda n: 1), None
    )
    for sighting in (Sighting(FRAME), observer.look(FRAME)):
        assert observer.encode(sighting).alpha is None
    slot: Slot[Sighting] = Slot()
    slot.put(Sighting(FRAME))
    slot.clear()
    assert len(slot) == 0
