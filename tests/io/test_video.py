"""Decoding: times, rotation, aspect, resampling to a constant rate, and every bad file's one line."""

from __future__ import annotations

import itertools
import struct
from fractions import Fraction

import numpy as np
import pytest

from lia_live.errors import MediaError
from lia_live.io import VideoReader
from tests.io.clips import (
    BLUE,
    RED,
    even_times,
    number_of,
    write_clip,
    write_sound,
)


def test_reads_every_frame_with_its_number_time_and_colours(tmp_path):
    clip = write_clip(tmp_path / "a.mp4", even_times(12), audio="aac")
    with VideoReader(clip) as reader:
        frames = list(reader)
        assert reader.size == (320, 192)
        assert reader.fps == pytest.approx(30)
        assert reader.duration_s == pytest.approx(12 / 30, abs=0.05)
        assert reader.has_audio
    assert [number_of(f.pixels) for f in frames] == list(range(12))
    assert [f.number for f in frames] == list(range(12))
    assert [f.captured_at for f in frames] == pytest.approx(even_times(12), abs=1e-3)
    assert np.abs(frames[3].pixels[100, 50] - np.int16(RED)).max() <= 3
    assert np.abs(frames[3].pixels[100, 280] - np.int16(BLUE)).max() <= 3


def test_variable_rate_keeps_the_files_own_times(tmp_path):
    times = [0.0, 0.1, 0.15, 0.4, 0.42]
    with VideoReader(write_clip(tmp_path / "v.mp4", times, first_pts_s=1.5)) as reader:
        assert [f.captured_at for f in reader] == pytest.approx(times, abs=1e-3)


def test_constant_rate_repeats_and_leaves_out(tmp_path):
    clip = write_clip(tmp_path / "v.mp4", [0.0, 0.1, 0.13, 0.4], fps=10)
    with VideoReader(clip) as reader:
        frames = list(reader.constant_rate(20))
    # 20 ticks a second, each shows the newest picture whose time has come.
    assert [number_of(f.pixels) for f in frames][:9] == [0, 0, 1, 2, 2, 2, 2, 2, 3]
    assert [f.captured_at for f in frames] == pytest.approx([n / 20 for n in range(len(frames))])


def test_constant_rate_at_the_clips_own_rate_changes_nothing(tmp_path):
    clip = write_clip(tmp_path / "a.mp4", even_times(50, 29.97), fps=30)
    with VideoReader(clip) as reader:
        assert [number_of(f.pixels) for f in reader.constant_rate(29.97)] == list(range(50))


def test_a_broken_timestamp_does_not_stop_the_clock(tmp_path):
    times = [0.0, 1 / 30, 3600.0, 3600.0 + 1 / 30]  # an hour's jump
    with VideoReader(write_clip(tmp_path / "jump.mkv", times)) as reader:
        moments = [f.captured_at for f in reader]
    assert len(moments) == 4
    assert moments[-1] < 1.0
    assert all(b > a for a, b in itertools.pairwise(moments))


@pytest.mark.parametrize("turn", [90, 180, -90])
def test_rotation_metadata_is_applied(tmp_path, turn):
    """A quarter turn counterclockwise puts red (left) at the bottom; clockwise at the top."""
    clip = write_clip(tmp_path / "r.mp4", even_times(2), rotate=turn)
    with VideoReader(clip) as reader:
        pixels = next(iter(reader)).pixels
        assert pixels.shape[1::-1] == reader.size
    assert reader.size == ((320, 192) if turn == 180 else (192, 320))
    end = {90: pixels[-5, 100], 180: pixels[100, -5], -90: pixels[5, 100]}[turn]
    assert np.abs(end - np.int16(RED)).max() <= 4


def test_pixels_that_are_not_square_are_made_so(tmp_path):
    clip = tmp_path / "sar.mkv"
    write_clip(clip, even_times(2))
    import av

    with av.open(str(clip)) as source, av.open(str(tmp_path / "wide.mkv"), "w") as target:
        stream = target.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 320, 192, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2)
        for frame in source.decode(video=0):
            frame.pict_type = 0
            target.mux(stream.encode(frame.reformat(format="yuv420p")))
        target.mux(stream.encode(None))
    with VideoReader(tmp_path / "wide.mkv") as reader:
        assert reader.size == (640, 192)


def test_large_pictures_shrink_to_max_side(tmp_path):
    clip = write_clip(tmp_path / "big.mp4", even_times(2), size=(640, 384))
    with VideoReader(clip, max_side=320) as reader:
        assert reader.size == (320, 192)
        assert next(iter(reader)).pixels.shape == (192, 320, 3)


def test_a_clip_that_was_cut_off_plays_up_to_there(tmp_path):
    clip = write_clip(tmp_path / "a.mkv", even_times(60))
    data = clip.read_bytes()
    clip.write_bytes(data[: len(data) * 2 // 3])
    with VideoReader(clip) as reader:
        assert 20 < len(list(reader)) < 60


def test_damage_in_the_middle_is_skipped(tmp_path):
    clip = write_clip(tmp_path / "a.mkv", even_times(60), codec="mjpeg")
    data = bytearray(clip.read_bytes())
    for at in range(len(data) // 3, len(data) // 3 + 3000):
        data[at] = (at * 89) & 0xFF
    clip.write_bytes(data)
    with VideoReader(clip) as reader:
        assert len(list(reader)) > 20


def bad_file(tmp_path, kind):
    path = tmp_path / f"{kind}.mp4"
    if kind == "missing":
        return path
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is no video\n" * 100)
    elif kind == "noise":
        path.write_bytes(np.random.default_rng(0).bytes(100_000))
    elif kind == "audio only":
        write_sound(path, 0.5)
    elif kind == "no frames":
        whole = write_clip(tmp_path / "whole.mkv", even_times(5)).read_bytes()
        path.write_bytes(whole[: whole.index(b"\x1f\x43\xb6\x75")])  # up to the first cluster
    elif kind == "cut index":
        whole = write_clip(tmp_path / "whole.mp4", even_times(30)).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])  # the index of an mp4 is at its end
    elif kind == "playlist":
        path.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/secret.ts\n#EXT-X-ENDLIST\n")
    return path


BAD_FILES = [
    "missing",
    "folder",
    "empty",
    "text",
    "noise",
    "audio only",
    "no frames",
    "cut index",
    "playlist",
]


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_files_say_so_in_one_line(tmp_path, kind):
    path = bad_file(tmp_path, kind)
    with pytest.raises(MediaError) as caught:
        VideoReader(path)
    assert caught.value.hint
    for line in (caught.value.message, caught.value.hint):
        assert "\n" not in line and "Errno" not in line
    assert path.name in caught.value.message


def test_album_art_is_not_a_video(tmp_path):
    import av

    song = tmp_path / "song.mp3"
    with av.open(str(song), "w") as container:
        sound = container.add_stream("libmp3lame", rate=48000)
        sound.layout = "mono"
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        from tests.io.clips import tone

        container.mux(cover.encode(av.VideoFrame(64, 64, "yuvj420p")))
        container.mux(cover.encode(None))
        for frame in tone(48000, 0.2):
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    with pytest.raises(MediaError, match="sound but no picture"):
        VideoReader(song)


def gif_that_claims(width, height):
    """A few bytes that ask a decoder for gigabytes."""
    head = b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
    return head + b"\x2c" + struct.pack("<HHHH", 0, 0, width, height) + b"\0\x02\x02\x4c\x01\0;"


def test_a_pixel_bomb_is_refused_before_decoding(tmp_path):
    import resource

    bomb = tmp_path / "bomb.gif"
    bomb.write_bytes(gif_that_claims(30000, 30000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(MediaError):
        VideoReader(bomb)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 500_000  # 30000 × 30000 × 4 bytes would be 3.5 million


def test_a_url_keeps_its_password_out_of_messages():
    with pytest.raises(MediaError) as caught:
        VideoReader("http://user:secret@127.0.0.1:9/clip.mp4?key=secret")
    assert "secret" not in caught.value.message
    assert "127.0.0.1/clip.mp4" in caught.value.message


def test_unknown_kinds_of_url_are_refused():
    with pytest.raises(MediaError, match="gopher"):
        VideoReader("gopher://example.invalid/clip.mp4")
