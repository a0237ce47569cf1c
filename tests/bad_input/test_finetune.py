"""What a person can get wrong with ``lia-live finetune``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image


@pytest.fixture
def finetune(files, refused, tmp_path):
    """``lia-live finetune`` with good defaults; what the test adds takes their place, None takes away."""

    def check(code: int, **changes: object) -> tuple[str, str]:
        given = {
            "avatar": files / "me.png",
            "base": files / "tiny.safetensors",
            "out": tmp_path / "me.avatar",
            "device": "cpu",
            "consent": "me",
            "minutes": 0.1,
            **changes,
        }
        words = [
            word
            for key, value in given.items()
            if value is not None
            for word in (f"--{key}", value)
        ]
        said = refused(code, "finetune", *words)
        assert not (tmp_path / "me.avatar").exists()
        return said

    return check


def test_a_text_file_that_is_called_a_video(finetune, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("not a video")
    what, _ = finetune(3, video=tmp_path / "notes.mp4")
    assert "notes.mp4" in what


def test_a_picture_in_place_of_the_video(finetune, files) -> None:
    what, _ = finetune(3, video=files / "me.png")
    assert "me.png" in what


def test_a_video_that_is_not_there(finetune, tmp_path: Path) -> None:
    what, _ = finetune(3, video=tmp_path / "absent.mp4")
    assert "absent.mp4" in what


def test_a_clip_that_is_too_short(finetune, files) -> None:
    what, to_do = finetune(3, video=files / "clip.mp4")  # one second
    assert "too few" in what or "short" in what
    assert to_do


def test_no_photographs(finetune, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    what, _ = finetune(3, images=tmp_path / "empty")
    assert "no photographs" in what
    finetune(3, images=tmp_path / "nowhere")


def test_a_portrait_without_a_face(finetune, tmp_path: Path) -> None:
    Image.fromarray(np.full((200, 200, 3), 90, np.uint8)).save(tmp_path / "wall.png")
    what, _ = finetune(3, avatar=tmp_path / "wall.png")
    assert "face" in what


def test_both_sources_at_once(finetune, files, tmp_path: Path) -> None:
    what, to_do = finetune(2, video=files / "clip.mp4", images=tmp_path)
    assert "--video and --images" in what
    assert "one of them" in to_do


def test_ranges_and_names(finetune, tmp_path: Path) -> None:
    assert "minutes" in finetune(2, minutes=0)[0]
    assert ".avatar" in finetune(2, out=tmp_path / "me.png")[0]
    finetune(4, out=tmp_path / "no folder" / "me.avatar")


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU that must be absent")
def test_a_gpu_that_is_not_there(finetune) -> None:
    what, to_do = finetune(5, device="cuda")
    assert "cuda" in what
    assert "--device cpu" in to_do
