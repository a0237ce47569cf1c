"""The live loop on the real clock, with doubles at every seam. Runs are short."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from lia_live.engine import Output, Pipeline, PolicyConfig
from lia_live.errors import ConfigError, DeviceError, MediaError, StorageError
from lia_live.frame import Frame
from tests.doubles import (
    ListSink,
    ListSource,
    ScriptedRenderer,
    ScriptedTracker,
    camera_picture,
    scripted_avatar,
    shows_camera,
)
from tests.engine.live import (
    CONFIG,
    DIRECTIONS,
    GREEN,
    QUICK,
    camera,
    corner,
    lia_threads,
    pipeline,
)

# A good run


def test_a_run_counts_what_happened_and_closes_everything() -> None:
    source, tracker, sink = camera(30), ScriptedTracker(CONFIG.size), ListSink()
    renderer = ScriptedRenderer()
    run = pipeline(source, tracker=tracker, renderer=renderer, sinks=[sink], fps=30.0)
    snapshot = run.run(duration=1.5)

    assert (source.closed, tracker.closed, sink.closed) == (True, 1, 1)
    assert 30 <= snapshot["frames_in"] <= 48
    assert snapshot["face_frames"] <= snapshot["frames_in"]
    assert snapshot["frames_out"] + snapshot["repeated"] == len(sink.pictures)
    assert 38 <= len(sink.pictures) <= 47  # one and a half seconds of a steady clock
    assert snapshot["frames_out"] >= 30
    assert 0 < snapshot["age_ms"]["p50"] < 60
    assert snapshot["startup_s"] < 1
    assert snapshot["driver"] == "face"
    assert snapshot["faults"] == {}
    assert renderer.threads == {"lia-model"}
    assert not any(shows_camera(picture) for picture in sink.pictures)


def test_pictures_follow_the_driver() -> None:
    """The bar that the scripted renderer paints is as wide as the code says."""
    pictures = [np.full((72, 96, 3), level, np.uint8) for level in (100, 100, 200)]
    source = ListSource([pictures[0]] * 30 + [pictures[2]] * 15, fps=30)
    renderer = ScriptedRenderer(code=lambda crop: float(crop.mean()) / 100)
    sink = ListSink((64, 64))
    pipeline(source, renderer=renderer, sinks=[sink], badge=False).run()
    bars = [int((p[4] == 255).all(axis=-1).sum()) for p in sink.pictures]
    assert bars[0] == 32
    assert bars[-1] == 36


def test_a_file_that_ends_ends_the_run_with_its_last_frame_shown() -> None:
    source, sink = camera(60, loop=False, count=20), ListSink()
    snapshot = pipeline(source, sinks=[sink]).run()
    assert snapshot["frames_in"] == 20
    assert snapshot["frames_out"] >= 10
    assert sink.closed == 1


def test_the_avatar_is_shown_before_any_camera_frame() -> None:
    source, sink = ListSource([None], loop=True, fps=100), ListSink()
    snapshot = pipeline(source, sinks=[sink]).run(duration=0.4)
    assert snapshot["frames_in"] == 0
    assert snapshot["frames_out"] == 1  # at rest: nothing more to render
    assert len(sink.pictures) > 15
    assert corner(sink.pictures[0]) == GREEN


def test_sinks_of_two_sizes_and_badges_get_their_own_picture() -> None:
    wide, square, clean = ListSink((160, 90)), ListSink((64, 64)), ListSink((64, 64))
    pipeline(sinks=[wide, square, Output(clean, badge=False)]).run(duration=0.3)
    assert (clean.pictures[-1][-8:, :32] == GREEN).all()
    assert (square.pictures[-1][-8:, :32] != GREEN).any()
    assert len(wide.pictures) == len(square.pictures) == len(clean.pictures)


def test_stop_from_another_thread_ends_the_run() -> None:
    run, sink = None, ListSink()
    run = pipeline(sinks=[sink])
    threading.Timer(0.2, run.stop).start()
    began = time.perf_counter()
    run.run()
    assert time.perf_counter() - began < 2
    assert sink.closed == 1


def test_a_pipeline_that_is_stopped_before_it_runs_still_closes() -> None:
    source, sink = camera(), ListSink()
    run = pipeline(source, sinks=[sink])
    run.stop()
    run.run()
    assert source.closed
    assert sink.closed == 1


def test_report_is_called_on_the_callers_thread() -> None:
    lines: list[str] = []
    names: set[str] = set()
    run = pipeline()

    def report() -> None:
        lines.append(run.status_line())
        names.add(threading.current_thread().name)

    run.run(duration=1.3, report=report)
    assert len(lines) == 1
    assert "audio delay" in lines[0]
    assert names == {threading.current_thread().name}


def test_no_output_or_no_avatar_is_a_usage_error() -> None:
    with pytest.raises(ConfigError, match="output"):
        Pipeline(
            camera(),
            ScriptedTracker(CONFIG.size),
            ScriptedRenderer(),
            [scripted_avatar()],
            [],
            directions=DIRECTIONS,
        )
    with pytest.raises(ConfigError, match="avatar"):
        pipeline(avatars=[])


# Slow and missing parts


def test_a_slow_model_never_builds_a_queue() -> None:
    """200 ms a frame against 30 frames a second: the age stays that of one frame."""
    renderer = ScriptedRenderer(encode_s=0.08, render_s=0.12)
    run = pipeline(camera(30), renderer=renderer, fps=30.0)
    longest = [0, 0, 0]
    watching = threading.Event()

    def watch() -> None:
        while not watching.wait(0.005):
            for index, slot in enumerate((run._frames, run._sightings, run._pictures)):
                longest[index] = max(longest[index], len(slot))

    watcher = threading.Thread(target=watch)
    watcher.start()
    snapshot = run.run(duration=4.0)
    watching.set()
    watcher.join()
    assert snapshot["age_ms"]["p99"] <= 300
    assert snapshot["age_ms"]["p50"] >= 200
    assert snapshot["frames_out"] >= 15
    assert snapshot["dropped"] >= 60
    assert longest[1] == 1
    assert max(longest) == 1


def test_a_camera_that_goes_and_comes_back() -> None:
    """Pictures, then nothing for a second, then pictures: avatar at rest meanwhile, then driven again."""
    items: list[Any] = [camera_picture()] * 20 + [None] * 50 + [camera_picture()] * 20
    renderer = ScriptedRenderer(code=lambda crop: 5.0)
    run = pipeline(ListSource(items, fps=40), renderer=renderer, policy=QUICK)
    states: list[str] = []
    seen = threading.Event()

    def watch() -> None:
        while not seen.wait(0.02):
            if not states or states[-1] != run.stats.driver:
                states.append(run.stats.driver)

    watcher = threading.Thread(target=watch)
    watcher.start()
    snapshot = run.run()
    seen.set()
    watcher.join()
    assert states[-3:] == ["face", "no camera", "face"]
    assert snapshot["frames_in"] == 40
    assert snapshot["faults"] == {}


def test_a_lost_face_is_eased_to_rest_while_frames_go_on() -> None:
    tracker = ScriptedTracker(CONFIG.size, lambda frame: frame.number < 20)
    renderer = ScriptedRenderer(code=lambda crop: 5.0)
    pipeline(
        camera(60, loop=False, count=60),
        tracker=tracker,
        renderer=renderer,
        policy=PolicyConfig("absolute", smooth=0.0, hold_s=0.1, ease_s=0.2, return_s=0.0),
    ).run()
    first = [float(code[0]) for code in renderer.rendered]
    assert max(first) == pytest.approx(5.0)
    assert first[-1] == pytest.approx(0.0, abs=1e-6)
    falling = first[first.index(max(first)) :]
    assert len([v for v in falling if 0.2 < v < 4.8]) >= 3  # eased, not cut


def test_a_hopeless_source_ends_the_run_with_its_error() -> None:
    for error in (DeviceError("camera 0 is gone", "plug it in"), MediaError("clip is broken")):
        sink = ListSink()
        source = ListSource([camera_picture()] * 5 + [error], fps=60)
        with pytest.raises(type(error)) as caught:
            pipeline(source, sinks=[sink]).run()
        assert caught.value is error
        assert sink.closed == 1


def test_a_source_that_hangs_is_closed_under_its_read() -> None:
    class Hanging(ListSource):
        def __init__(self) -> None:
            super().__init__([camera_picture()])
            self.freed = threading.Event()

        def read(self) -> Frame | None:
            self.freed.wait(20)
            return None

        def close(self) -> None:
            super().close()
            self.freed.set()

    began = time.perf_counter()
    pipeline(Hanging()).run(duration=0.2)
    assert time.perf_counter() - began < 3


# Sinks that fail


def test_a_lost_device_ends_the_run_with_a_clear_error() -> None:
    sink = ListSink(fail_at=10, name="virtual camera /dev/video9")
    with pytest.raises(DeviceError, match="virtual camera /dev/video9 has gone"):
        pipeline(sinks=[sink]).run(duration=5)
    assert sink.closed >= 1


def test_other_sinks_go_on_and_the_loss_is_told_during_and_after() -> None:
    bad = ListSink(fail_at=5, name="out.mp4", error=StorageError("out.mp4: no space left"))
    good = ListSink()
    run = pipeline(sinks=[bad, good])
    with pytest.raises(StorageError, match="no space left"):
        run.run(duration=0.6)
    assert len(good.pictures) > 20
    assert len(bad.pictures) == 5
    assert "out.mp4 lost" in run.status_line()
    assert (bad.closed, good.closed) == (1, 1)


def test_a_sink_that_does_not_close_well_is_told_and_others_are_closed() -> None:
    class Full(ListSink):
        def close(self) -> None:
            super().close()
            raise StorageError("disk full at the end")

    bad, good = Full(), ListSink()
    with pytest.raises(StorageError, match="disk full at the end"):
        pipeline(sinks=[bad, good]).run(duration=0.2)
    assert good.closed == 1


def test_a_sink_that_hangs_does_not_hold_the_program() -> None:
    freed = threading.Event()
    sink = ListSink(keep=False, look=lambda pixels: freed.wait(20) and None)
    began = time.perf_counter()
    with pytest.raises(DeviceError, match=r"lia-output did not end within 0\.3 s"):
        pipeline(sinks=[sink], join_s=0.3).run(duration=0.2)
    assert time.perf_counter() - began < 3
    freed.set()
    while lia_threads():
        time.sleep(0.01)
    assert sink.closed == 1


def test_a_second_ctrl_c_does_not_keep_files_from_being_finished() -> None:
    class Slow(ListSink):
        def close(self) -> None:
            time.sleep(0.3)
            super().close()

    sink = Slow()
    run = pipeline(sinks=[sink])
    shut_down, tries = run._shut_down, []

    def interrupted() -> None:
        tries.append(1)
        if len(tries) == 1:
            run.stop()
            raise KeyboardInterrupt
        shut_down()

    run._shut_down = interrupted
    with pytest.raises(KeyboardInterrupt):
        run.run(duration=0.2)
    assert len(tries) == 2
    assert sink.closed == 1


def test_ctrl_c_while_the_threads_start_closes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    source, sink, tracker = camera(), ListSink(), ScriptedTracker(CONFIG.size)
    run = pipeline(source, tracker=tracker, sinks=[sink])
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        if thread.name == "lia-output":
            raise KeyboardInterrupt
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.run(duration=1.0)
    assert source.closed and sink.closed and tracker.closed


def test_ctrl_c_closes_everything_and_is_passed_on() -> None:
    source, sink = camera(), ListSink()

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline(source, sinks=[sink]).run(report=interrupt)
    assert source.closed
    assert sink.closed == 1


# Faults that last


@pytest.mark.parametrize("seam", ["tracker", "encoder", "renderer"])
def test_a_part_that_never_works_ends_the_run_with_its_error(seam: str) -> None:
    error = RuntimeError(f"{seam} is broken")
    tracker = ScriptedTracker(CONFIG.size, (lambda f: error) if seam == "tracker" else None)
    renderer = ScriptedRenderer(
        before_encode=(lambda c: error) if seam == "encoder" else None,
        before_render=(lambda: error) if seam == "renderer" else None,
    )
    sink = ListSink()
    with pytest.raises(RuntimeError, match="is broken"):
        pipeline(tracker=tracker, renderer=renderer, sinks=[sink], fault_limit_s=0.3).run(
            duration=5
        )
    assert sink.closed == 1
    assert all(corner(picture) == GREEN for picture in sink.pictures)


def test_codes_that_are_never_finite_end_the_run() -> None:
    bad = np.full((1, CONFIG.motion_dim), np.nan, np.float32)
    with pytest.raises(ValueError, match="not finite"):
        pipeline(renderer=ScriptedRenderer(before_encode=lambda crops: bad), fault_limit_s=0.3).run(
            duration=5
        )


def test_a_fault_now_and_then_is_survived_and_counted() -> None:
    count = iter(range(10_000))
    renderer = ScriptedRenderer(
        before_render=lambda: RuntimeError("hiccup") if next(count) % 3 == 2 else None
    )
    snapshot = pipeline(renderer=renderer, fault_limit_s=0.1).run(duration=0.8)
    assert snapshot["faults"]["renderer"] >= 5
    assert snapshot["frames_out"] >= 15
