"""Offline: every frame of the clip, its sound, its rate; and the demo, with its files put in place."""

from __future__ import annotations

import json
from itertools import pairwise

import av
import numpy as np
import pytest

from lia_live.cli import main, offline, showing
from lia_live.cli.interrupts import Interrupts
from tests.cli import material


@pytest.fixture
def words(files):
    return [
        "animate", "--avatar", str(files / "me.png"), "--driving", str(files / "clip.mp4"),
        "--weights", str(files / "tiny.safetensors"), "--device", "cpu", "--consent", "me",
    ]  # fmt: skip


def test_every_frame_and_the_sound(words, tmp_path, capsys):
    out = tmp_path / "out.mp4"
    assert main([*words, "--out", str(out)]) == 0
    assert "25 frames, 25 fps, sound kept" in capsys.readouterr().out
    frames = material.frames_in(out)
    assert len(frames) == 25
    assert frames[0].shape == (512, 512, 3)
    assert any((a != b).any() for a, b in pairwise(frames)), "it does not move"
    with av.open(str(out)) as container:
        assert container.streams.video[0].average_rate == 25
        sound = container.streams.audio[0]
        assert sound.duration is not None and sound.time_base is not None
        assert abs(float(sound.duration * sound.time_base) - 1.0) < 0.1
        assert "AI" in json.dumps(dict(container.metadata))


def test_side_by_side_shows_the_clip_on_the_left(words, files, tmp_path):
    out = tmp_path / "out.mp4"
    more = ["--out", str(out), "--side-by-side", "--side", "240", "--duration", "0.2"]
    assert main([*words, *more]) == 0
    frames = material.frames_in(out)
    assert len(frames) == 5
    assert frames[0].shape == (240, 320 + 240, 3)
    clip = material.frames_in(files / "clip.mp4")
    left = frames[3][:, :320].astype(int)
    assert np.abs(left - clip[3]).mean() < 6


def test_badge_is_on_unless_told_and_then_the_duty_is_said(words, tmp_path, capsys):
    plain, marked = tmp_path / "plain.mp4", tmp_path / "marked.mp4"
    assert main([*words, "--out", str(marked), "--duration", "0.1"]) == 0
    assert capsys.readouterr().err == ""
    assert main([*words, "--out", str(plain), "--duration", "0.1", "--no-badge"]) == 0
    assert "tell the people who see this" in capsys.readouterr().err
    difference = np.abs(
        material.frames_in(plain)[0].astype(int) - material.frames_in(marked)[0].astype(int)
    )
    assert difference[400:].max() > 60  # the badge is at the bottom
    assert difference[:300].mean() < 3


def test_a_clip_without_a_face_is_said(words, tmp_path, capsys):
    from tests.io import clips

    clip = clips.write_clip(tmp_path / "blocks.mp4", clips.even_times(5))
    words[words.index("--driving") + 1] = str(clip)
    assert main([*words, "--out", str(tmp_path / "out.mp4")]) == 0
    assert "no face was seen" in capsys.readouterr().err


def test_the_first_seconds_are_looked_at_before_time_begins(files):
    frames = list(offline._beginning(str(files / "clip.mp4"), 25, Interrupts()))
    times = [frame.captured_at for frame in frames]
    assert len(frames) == 25
    assert times == sorted(times)
    assert times[-1] < 0


@pytest.fixture
def demo_files(files, monkeypatch):
    monkeypatch.setattr(showing, "DEMO_AVATAR", files / "me.png")
    monkeypatch.setattr(showing, "DEMO_DRIVER", files / "clip.mp4")


def test_demo_shows_the_driver_beside_the_avatar(demo_files, files, tmp_path, capsys):
    out, stats = tmp_path / "demo.mp4", tmp_path / "stats.json"
    weights = ["--weights", str(files / "tiny.safetensors"), "--device", "cpu"]
    assert main(["demo", "--out", str(out), "--stats-json", str(stats), *weights]) == 0
    assert "age p50" in capsys.readouterr().out
    frames = material.frames_in(out)
    assert frames[0].shape == (512, 1024, 3)
    left = [frame[:, :512].astype(int) for frame in frames]
    moved = [np.abs(a - b).mean() for a, b in zip(left, left[5:], strict=False)]
    assert max(moved) > 3, "the driver stands still"
    assert json.loads(stats.read_text())["face_frames"] > 0


def test_demo_without_its_files(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(showing, "DEMO_AVATAR", tmp_path / "none.png")
    assert main(["demo", "--out", str(tmp_path / "demo.mp4")]) == 3
    assert "none.png" in capsys.readouterr().err
