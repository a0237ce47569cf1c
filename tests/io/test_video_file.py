"""Recordings: constant rate, playable whatever ends them, sound in time, marked as AI-generated."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import av
import numpy as np
import pytest

from lia_live.errors import ConfigError, StorageError
from lia_live.interfaces import Sink
from lia_live.io import VideoFileSink, VideoReader, provenance
from tests.io.clips import bursts, even_times, frames_of, number_of, numbered, write_clip

SIZE = (320, 192)


class HandClock:
    """A clock that is moved by hand."""

    def __init__(self):
        self.time = 100.0

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds


def record(path, count=20, fps=30, **options):
    sink = VideoFileSink(path, SIZE, fps, **options)
    for number in range(count):
        sink.send(numbered(number))
    sink.close()
    return sink


def test_every_picture_is_one_frame_of_constant_rate(tmp_path):
    path = tmp_path / "out.mp4"
    sink = record(path, 40, 29.97)
    assert isinstance(sink, Sink) and sink.size == SIZE
    sink.close()  # twice is fine
    frames = frames_of(path)
    assert [number_of(pixels) for _time, pixels in frames] == list(range(40))
    gaps = np.diff([time for time, _pixels in frames])
    assert np.allclose(gaps, 1 / 29.97, atol=1e-4)
    for x, colour in ((50, (200, 40, 40)), (160, (40, 180, 40)), (280, (40, 60, 210))):
        assert np.abs(frames[9][1][100, x] - np.int16(colour)).max() <= 4


def test_a_finished_file_is_an_ordinary_mp4(tmp_path):
    path = tmp_path / "out.mp4"
    record(path)
    kinds = [kind for kind, _body in boxes(path)]
    assert b"moof" not in kinds and kinds.count(b"moov") == 1
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.frames == 20


def boxes(path):
    data, at, found = Path(path).read_bytes(), 0, []
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 8], data[at + 8 : at + size]))
        at += max(size, 8)
    return found


def test_it_says_that_it_is_ai_generated(tmp_path):
    path = tmp_path / "out.mp4"
    record(path, metadata={"title": "My avatar"})
    with av.open(str(path)) as container:
        tags = container.metadata
    assert "AI-generated" in tags["comment"] and "AI-generated" in tags["description"]
    assert "trainedAlgorithmicMedia" in tags["comment"]
    assert tags["title"] == "My avatar"
    kind, body = boxes(path)[-1]
    assert kind == b"uuid" and body[:16].hex() == "be7acfcb97a942e89c71999491e3afac"
    assert b'DigitalSourceType="' + provenance.DIGITAL_SOURCE_TYPE.encode() in body
    import xml.etree.ElementTree as ElementTree

    ElementTree.fromstring(body[16:].decode().replace("\ufeff", ""))


def test_live_a_minute_plays_for_a_minute(tmp_path):
    """Late pictures are preceded by repeats of the last one."""
    clock = HandClock()
    sink = VideoFileSink(tmp_path / "out.mp4", SIZE, 30, clock=clock)
    for number, wait in enumerate([1 / 30, 1 / 30, 0.2, 1 / 30, 1 / 30]):
        sink.send(numbered(number))
        clock.sleep(wait)
    sink.close()
    shown = [number_of(pixels) for _time, pixels in frames_of(tmp_path / "out.mp4")]
    assert shown == [0, 1, 2, 2, 2, 2, 2, 2, 3, 4]


def test_live_a_sleeping_laptop_is_not_recorded(tmp_path):
    clock = HandClock()
    sink = VideoFileSink(tmp_path / "out.mp4", SIZE, 30, clock=clock)
    for number, wait in enumerate([1 / 30, 3600, 1 / 30]):
        sink.send(numbered(number))
        clock.sleep(wait)
    sink.close()
    assert sink.frames == 3


def test_odd_sides_are_padded(tmp_path):
    sink = VideoFileSink(tmp_path / "odd.mp4", (33, 21), 10)
    sink.send(np.full((21, 33, 3), 90, np.uint8))
    sink.close()
    ((_time, pixels),) = frames_of(tmp_path / "odd.mp4")
    assert pixels.shape == (22, 34, 3) and np.abs(pixels.astype(int) - 90).max() <= 3


def test_nothing_sent_leaves_no_file(tmp_path):
    VideoFileSink(tmp_path / "out.mp4", SIZE, 30).close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["no folder", "under a file", "a folder", "not ours"])
def test_places_that_cannot_be_written(tmp_path, place):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.mp4").mkdir()
    path = {
        "no folder": tmp_path / "nowhere" / "out.mp4",
        "under a file": tmp_path / "file" / "out.mp4",
        "a folder": tmp_path / "folder.mp4",
        "not ours": Path("/proc/out.mp4"),
    }[place]
    with pytest.raises(StorageError) as caught:
        VideoFileSink(path, SIZE, 30)
    assert caught.value.hint and str(path.parent) in caught.value.message


def test_only_mp4_and_never_the_clip_itself(tmp_path):
    with pytest.raises(ConfigError, match="mp4"):
        VideoFileSink(tmp_path / "out.avi", SIZE, 30)
    clip = write_clip(tmp_path / "clip.mp4", even_times(3))
    with pytest.raises(ConfigError, match="clip itself"):
        VideoFileSink(clip, SIZE, 30, audio_from=clip)
    assert len(frames_of(clip)) == 3


WRITE_FOREVER = """
    import sys, numpy as np
    from lia_live.errors import StorageError
    from lia_live.io import VideoFileSink
    from tests.io.clips import numbered
    {setup}
    path, count = sys.argv[1], int(sys.argv[2])
    noise = np.random.default_rng(0).integers(0, 256, (100, 320, 3), np.uint8)
    sink = VideoFileSink(path, (320, 192), 30)
    try:
        for number in range(count):
            pixels = numbered(number % 256)
            pixels[92:] = np.roll(noise, number * 7, axis=1)
            sink.send(pixels)
            if number == 100:
                print("running", flush=True)
    except StorageError as error:
        print("StorageError:", error.message, "|", error.hint, "|", number, flush=True)
    finally:
        sink.close()
        sink.close()
        print("closed", flush=True)
"""


def writer(path, count, setup="", prefix=()):
    code = textwrap.dedent(WRITE_FOREVER.format(setup=setup))
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", code, str(path), str(count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill"])
def test_a_recording_that_is_stopped_stays_playable(tmp_path, kind):
    path = tmp_path / "out.mp4"
    process = writer(path, 1_000_000)
    assert process.stdout.readline() == "running\n"
    process.send_signal(kind)
    process.communicate(timeout=30)
    frames = frames_of(path)
    assert len(frames) >= 80  # half a second may be lost to a kill
    assert [number_of(p) for _t, p in frames[:80]] == list(range(80))
    with av.open(str(path)) as container:
        assert "AI-generated" in container.metadata["comment"]
    if kind == signal.SIGINT:
        assert b"moof" not in [box for box, _body in boxes(path)]


def assert_full_disk(process, path):
    output, errors = process.communicate(timeout=60)
    assert "StorageError: the disk is full" in output, (output, errors)
    assert output.endswith("closed\n")
    failed_at = int(output.split("|")[2].split()[0])
    frames = frames_of(path)
    assert failed_at - 45 <= len(frames) <= failed_at
    with av.open(str(path)) as container:  # to the very end, without an error
        assert sum(1 for _ in container.decode(video=0)) == len(frames)


def test_a_full_disk_is_said_and_what_was_written_plays(tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (900_000, 900_000))"
    process = writer(tmp_path / "out.mp4", 2000, limit)
    assert_full_disk(process, tmp_path / "out.mp4")


@pytest.mark.skipif(
    subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode != 0,
    reason="user namespaces are not allowed here",
)
def test_a_really_full_disk(tmp_path):
    """A 900 KiB file system of our own; the file is copied out before it goes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    script = (
        f'mount -t tmpfs -o size=900k tmpfs {disk} && "$@"; cp {disk}/out.mp4 {tmp_path}/out.mp4'
    )
    process = writer(disk / "out.mp4", 2000, prefix=("unshare", "-rm", "sh", "-c", script, "sh"))
    assert_full_disk(process, tmp_path / "out.mp4")


@pytest.mark.parametrize(
    ("suffix", "codec", "delay_s", "first_pts_s"),
    [
        ("mp4", "aac", 0.0, 0.0),
        ("mp4", "aac", 0.4, 0.0),
        ("mkv", "aac", 0.0, 2.0),
        ("mp4", "libmp3lame", 0.0, 0.0),
        ("mkv", "libopus", 0.0, 0.0),
        ("mkv", "pcm_s16le", 0.3, 1.0),
        ("mkv", "flac", -0.25, 1.0),
    ],
)
def test_the_clips_sound_is_kept_in_time(tmp_path, suffix, codec, delay_s, first_pts_s):
    clip = write_clip(
        tmp_path / f"clip.{suffix}",
        even_times(75),
        audio=codec,
        audio_delay_s=delay_s,
        first_pts_s=first_pts_s,
    )
    path = tmp_path / "out.mp4"
    with VideoReader(clip) as reader:
        heard = [at - reader.start_s for at in bursts(clip)]
        sink = VideoFileSink(path, reader.size, reader.fps, audio_from=clip)
        assert sink.has_audio
        for frame in reader.constant_rate(reader.fps):
            sink.send(frame.pixels)
        sink.close()
    assert len(frames_of(path)) == 75
    # A burst every second; those before the first picture are gone. The first 10 ms of all may be
    # (AAC's run-in); otherwise 5 ms, far below what one notices.
    heard = [at for at in heard if at > -0.01]
    assert bursts(path) == pytest.approx(heard, abs=0.015)
    assert bursts(path)[1:] == pytest.approx(heard[1:], abs=0.005)
    with av.open(str(path)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        assert container.duration / av.time_base == pytest.approx(2.5, abs=0.06)


def test_sound_longer_than_the_pictures_ends_with_them(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", even_times(75), audio="aac")
    path = tmp_path / "out.mp4"
    sink = VideoFileSink(path, SIZE, 30, audio_from=clip)
    for number in range(30):
        sink.send(numbered(number))
    sink.close()
    with av.open(str(path)) as container:
        assert container.duration / av.time_base == pytest.approx(1.0, abs=0.06)


def test_a_silent_clip_stays_silent(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", even_times(5))
    sink = record(tmp_path / "out.mp4", 5, audio_from=clip)
    assert not sink.has_audio
    assert len(frames_of(tmp_path / "out.mp4")) == 5


def test_closing_from_another_thread_while_sending(tmp_path):
    import threading

    sink = VideoFileSink(tmp_path / "out.mp4", SIZE, 30)
    sink.send(numbered(0))
    closer = threading.Timer(0.05, sink.close)
    closer.start()
    for number in range(1, 120):
        sink.send(numbered(number))
    closer.join()
    assert 1 <= len(frames_of(tmp_path / "out.mp4")) == sink.frames
    assert os.path.getsize(tmp_path / "out.mp4") > 0
