"""A clip paced as a camera; stills; what ``open_source`` makes of what the user wrote."""

from __future__ import annotations

import functools
import http.server
import itertools
import threading
import time

import cv2
import numpy as np
import pytest

from lia_live.errors import DeviceError, MediaError
from lia_live.interfaces import Source
from lia_live.io import CameraSource, StillSource, VideoSource, open_source
from lia_live.timing import MonotonicClock
from tests.io.clips import even_times, number_of, numbered, write_clip
from tests.io.test_video import BAD_FILES, bad_file


def read_all(source, *, pause_s=0.0, limit=1000):
    """(frames, seconds it took): everything until the end."""
    began = time.perf_counter()
    frames = []
    while not source.ended and len(frames) < limit:
        frame = source.read()
        if frame is not None:
            frames.append(frame)
            time.sleep(pause_s)
    return frames, time.perf_counter() - began


def test_a_clip_plays_at_its_own_speed_and_ends(tmp_path):
    source = VideoSource(str(write_clip(tmp_path / "a.mp4", even_times(30))))
    assert isinstance(source, Source)
    frames, took = read_all(source)
    source.close()
    assert 0.9 < took < 1.6
    assert len(frames) >= 25  # a busy machine may cost a few
    numbers = [number_of(f.pixels) for f in frames]
    assert numbers == sorted(set(numbers))
    gaps = np.diff([f.captured_at for f in frames])
    assert np.median(gaps) == pytest.approx(1 / 30, abs=2e-3)
    assert source.read() is None


def test_capture_times_are_on_the_loops_clock_and_not_in_the_future(tmp_path):
    clock = MonotonicClock()
    source = VideoSource(str(write_clip(tmp_path / "a.mp4", even_times(10))), clock=clock)
    time.sleep(0.3)  # the model loads: the clip must not have begun
    began = clock.now()
    while not source.ended:
        frame = source.read()
        if frame is not None:
            assert began <= frame.captured_at <= clock.now() + 1e-3
            if frame.number == 0:
                assert number_of(frame.pixels) == 0
    source.close()


def test_a_late_reader_misses_frames_instead_of_queueing_them(tmp_path):
    source = VideoSource(str(write_clip(tmp_path / "a.mp4", even_times(45))))
    frames, took = read_all(source, pause_s=0.2)
    source.close()
    assert took < 2.4  # 1.5 s of clip, not 45 × 0.2 s
    assert len(frames) <= 10
    drops = sum(b.number - a.number - 1 for a, b in itertools.pairwise(frames))
    assert drops > 20  # the numbers tell what was missed


def test_loop_starts_over_and_never_ends(tmp_path):
    source = VideoSource(str(write_clip(tmp_path / "a.mp4", even_times(6))), loop=True)
    frames, _took = read_all(source, limit=20)
    assert not source.ended
    source.close()
    assert source.ended
    numbers = [number_of(f.pixels) for f in frames]
    assert numbers.count(0) >= 2 and max(numbers) == 5
    gaps = np.diff([f.captured_at for f in frames])
    assert gaps.min() > 0 and gaps.max() < 0.2


def test_a_long_pause_in_the_clip_is_not_a_lost_camera(tmp_path):
    source = VideoSource(str(write_clip(tmp_path / "a.mp4", [0.0, 1.2])))
    frames, _took = read_all(source)
    source.close()
    assert [number_of(f.pixels) for f in frames][:4] == [0, 0, 0, 0]
    assert number_of(frames[-1].pixels) == 1
    assert np.diff([f.captured_at for f in frames]).max() < 0.4


def test_close_ends_a_waiting_read_and_the_thread(tmp_path):
    source = VideoSource(str(write_clip(tmp_path / "a.mp4", [0.0, 5.0, 5.1])))
    source.read()
    threading.Timer(0.1, source.close).start()
    began = time.perf_counter()
    while not source.ended:
        source.read()
    assert time.perf_counter() - began < 0.5
    source.close()
    assert not any(t.name == "video" and t.is_alive() for t in threading.enumerate())


def test_a_url_plays_like_a_file(tmp_path):
    write_clip(tmp_path / "a.mp4", even_times(10))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_arguments):
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = open_source(f"http://127.0.0.1:{server.server_address[1]}/a.mp4")
        frames, _took = read_all(source)
        source.close()
        server.shutdown()
    assert len(frames) >= 7
    assert source.name == "http://127.0.0.1/a.mp4"


def test_an_unreachable_url_is_one_line():
    with pytest.raises(MediaError) as caught:
        open_source("http://127.0.0.1:9/a.mp4")
    assert caught.value.hint


@pytest.mark.parametrize("kind", BAD_FILES)
def test_open_source_refuses_bad_files(tmp_path, kind):
    with pytest.raises(MediaError):
        open_source(str(bad_file(tmp_path, kind)))


def test_a_picture_is_a_camera_that_sees_nothing_move(tmp_path):
    path = tmp_path / "portrait.bin"  # the content counts, not the name
    path.write_bytes(cv2.imencode(".png", numbered(5)[..., ::-1])[1].tobytes())
    source = open_source(str(path), fps=50)
    assert isinstance(source, StillSource) and isinstance(source, Source)
    frames, took = read_all(source, limit=20)
    assert 0.3 < took < 0.8
    assert all(np.array_equal(f.pixels, numbered(5)) for f in frames)
    assert [f.number for f in frames] == list(range(20))
    source.close()
    assert source.ended and source.read() is None


def test_a_slow_still_waits_half_a_second_at_most(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), numbered(0))
    source = StillSource(path, fps=0.5)
    source.read()
    began = time.perf_counter()
    assert source.read() is None
    assert time.perf_counter() - began < 0.7


def test_a_number_or_a_device_path_is_a_camera():
    for spec in ("99", "/dev/video99"):
        with pytest.raises(DeviceError) as caught:
            open_source(spec)
        assert "/dev/video99" in caught.value.message or "99" in caught.value.message
        assert "camera" in caught.value.hint
    assert CameraSource is not None
