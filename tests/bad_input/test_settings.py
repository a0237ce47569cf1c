"""Outputs, flags, settings and consent that do not fit."""

from __future__ import annotations

import os

import pytest
import torch


def test_no_virtual_camera(live, monkeypatch):
    from lia_live.io import v4l2

    monkeypatch.setattr(v4l2, "nodes", list)
    what, to_do = live(5, output="virtual")
    assert "virtual camera" in what
    assert "modprobe" in to_do or "OBS" in to_do


def test_no_screen_for_the_preview(live, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    live(5, output="preview")


def test_output_that_is_none(live):
    live(2, output="vitual")
    live(2, output="out.avi")


@pytest.mark.parametrize("place", ("no such folder/out.mp4", "folder.mp4", "file/out.mp4"))
def test_output_place(place, live, animate, tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").touch()
    live(4, output=tmp_path / place)
    animate(4, out=tmp_path / place)
    live(4, stats_json=tmp_path / place)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_output_without_permission(live, animate, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    live(4, output=locked / "out.mp4")
    animate(4, out=locked / "out.mp4")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk(live, animate, tmp_path):
    full = tmp_path / "out.mp4"
    for check in (lambda: live(4, output=full), lambda: animate(4, out=full)):
        full.symlink_to("/dev/full")
        what, to_do = check()
        assert "full" in what
        assert "space" in to_do
        full.unlink(missing_ok=True)
    live(4, stats_json="/dev/full")


# Flags, settings, consent


def test_unknown_flag(refused):
    _, to_do = refused(2, "--avatar", "me.png", "--strenght", "1")
    assert "--strength" in to_do


def test_one_file_for_two_outputs(live, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    what, _ = live(2, output="a.mp4", stats_json=tmp_path / "sub" / ".." / "a.mp4")
    assert "the same" in what
    what, _ = refused(2, "demo", "--out", "a.mp4", "--stats-json", "./a.mp4")
    assert "the same" in what
    assert list(tmp_path.iterdir()) == []


def test_video_of_another_kind(animate, refused, tmp_path, monkeypatch):
    """Said before the model is loaded: the weights named here do not even exist."""
    monkeypatch.chdir(tmp_path)
    assert ".mp4" in animate(2, out="out.avi", weights="none.safetensors")[0]
    assert ".mp4" in refused(2, "demo", "--out", "out.gif", "--weights", "none.safetensors")[0]


def test_clip_by_url_is_for_live_use(animate):
    what, to_do = animate(2, driving="http://user:secret@127.0.0.1:9/clip.mp4")
    assert "secret" not in what
    assert "download" in to_do


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("fps", "0"), ("fps", "61"), ("fps", "nan"), ("fps", "many"), ("strength", "2.01"),
        ("strength", "-1"), ("smooth", "1.5"), ("smooth", "-0.1"), ("smooth", "nan"),
        ("duration", "0"), ("device", "tpu"), ("mode", "sideways"),
    ],
)  # fmt: skip
def test_out_of_range(flag, value, live):
    what, _ = live(2, **{flag: value})
    assert flag in what


def test_device_that_is_not_there(live):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    what, to_do = live(5, device="cuda")
    assert "cuda" in what.lower()
    assert "--device cpu" in to_do


def test_settings_file(live, tmp_path):
    settings = tmp_path / "my.toml"
    for text, meant in (("strenght = 1", "strength"), ("fsp = 30", "fps")):
        settings.write_text(text)
        what, to_do = live(2, config=settings)
        assert "my.toml" in what
        assert meant in to_do
    for text in ("strength = 9", "fps = 'fast'", "= 3", "[run]\nfps = 30"):
        settings.write_text(text)
        live(2, config=settings)
    live(2, config=tmp_path / "none.toml")


def test_no_answer_about_consent(files, refused, monkeypatch, tmp_path):
    with (tmp_path / "nobody").open("w+") as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        what, to_do = refused(
            2, "--avatar", files / "me.png", "--camera", files / "clip.mp4", "--output", "none"
        )
    assert "me.png" in what
    assert "--consent me" in to_do
