"""What counts as a clip, what is left out and why, and the one square of a clip."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lia_live.errors import ConfigError, MediaError
from lia_live.evaluate.clips import Clip, find_clips, find_pictures
from lia_live.evaluate.evaluation import EvaluateConfig
from lia_live.evaluate.framing import frame_clip
from lia_live.model import Framing
from tests.evaluate.crops import write_frames
from tests.io import clips


def nothing() -> None:
    """No progress is shown."""


def test_a_folder_of_everything(tmp_path):
    clips.write_clip(tmp_path / "b.mp4", clips.even_times(3))
    (tmp_path / "a").mkdir()
    (tmp_path / "face.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".hidden.mp4").write_text("x")
    found, skipped = find_clips([tmp_path])
    assert [clip.name for clip in found] == ["a", "b"]
    assert [(one.name, one.reason.split(":")[0]) for one in skipped] == [
        ("face.jpg", "a picture"),
        ("notes.txt", "not a video by its name"),
    ]
    found, _ = find_clips([tmp_path / "notes.txt"])
    assert [clip.name for clip in found] == ["notes"], "a file that is named is tried"
    with pytest.raises(MediaError, match="there is no file or folder"):
        find_clips([tmp_path / "none"])


def test_clips_of_one_name_are_told_apart(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "clip.mp4").touch()
    found, _ = find_clips([tmp_path / "a", tmp_path / "b"])
    assert [clip.name for clip in found] == ["clip", "clip (2)"]


def test_frames_in_a_folder_come_in_natural_order(tmp_path):
    folder = tmp_path / "clip"
    folder.mkdir()
    for number in range(12):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((8, 8, 3), number, np.uint8))
    frames = list(Clip(folder).frames(11))
    assert [int(frame.pixels[0, 0, 0]) for frame in frames] == list(range(11))
    assert [frame.captured_at for frame in frames] == pytest.approx([n / 25 for n in range(11)])
    cv2.imwrite(str(folder / "12.png"), np.zeros((9, 8, 3), np.uint8))
    with pytest.raises(MediaError, match="not all of one size"):
        list(Clip(folder).frames(100))


def test_a_limit_ends_a_video(tmp_path):
    path = clips.write_clip(tmp_path / "clip.mp4", clips.even_times(9))
    assert len(list(Clip(path).frames(4))) == 4
    assert len(list(Clip(path).frames(400))) == 9


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("text", "is not a video"), ("picture", "is a picture, not a clip"), ("empty", "is empty"),
        ("folder", "without pictures"), ("blocks", "shows a face in 0 of 12"),
        ("short", "has 3 frames"),
    ],
)  # fmt: skip
def test_clips_that_cannot_be_used(kind, says, tmp_path):
    path = tmp_path / "clip.mp4"
    if kind == "text":
        path.write_text("not a film")
    elif kind == "picture":
        cv2.imwrite(str(tmp_path / "face.png"), np.zeros((64, 64, 3), np.uint8))
        (tmp_path / "face.png").rename(path)
    elif kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    else:
        clips.write_clip(path, clips.even_times(12 if kind == "blocks" else 3))
    with pytest.raises(MediaError, match=says):
        frame_clip(Clip(path), Framing(), 64, 50, nothing)


def test_the_square_stays_and_the_head_moves_in_it(tmp_path):
    folder = write_frames(tmp_path / "clip", 25, reach=12)
    framed = frame_clip(Clip(folder), Framing(), 128, 25, nothing)
    assert (framed.frames, len(framed.crops), framed.faceless) == (25, 25, 0)
    assert framed.crops[0].shape == (128, 128, 3)
    still = frame_clip(
        Clip(write_frames(tmp_path / "still", 12, reach=0)), Framing(), 128, 12, nothing
    )
    assert framed.box.side == pytest.approx(still.box.side, rel=0.03)
    # frame 6 is 12 pixels to the right of frame 0: in the crop that many of its own pixels
    off = framed.crops[6].astype(float)
    shift = 12 * np.sin(2 * np.pi * 6 / 25) * 128 / framed.box.side
    back = cv2.warpAffine(off, np.array([[1, 0, -shift], [0, 1, 0]]), (128, 128))
    middle = np.s_[20:-20, 20:-20]
    assert np.abs(back[middle] - framed.crops[0][middle]).mean() < 3
    assert np.abs(off[middle] - framed.crops[0][middle]).mean() > 8


def test_frames_without_a_face_are_left_out(tmp_path):
    folder = write_frames(tmp_path / "clip", 20)
    for number in (8, 9, 10):
        cv2.imwrite(str(folder / f"frame{number}.png"), np.zeros((320, 320, 3), np.uint8))
    framed = frame_clip(Clip(folder), Framing(), 64, 50, nothing)
    assert framed.frames == 20
    assert 3 <= framed.faceless <= 6, "it is searched again only so often"
    assert len(framed.crops) == 20 - framed.faceless
    assert all(crop.mean() > 20 for crop in framed.crops)


def test_a_model_of_the_full_frame_needs_no_face(tmp_path):
    path = clips.write_clip(tmp_path / "clip.mp4", clips.even_times(12))
    framed = frame_clip(Clip(path), Framing(kind="full"), 64, 50, nothing)
    assert len(framed.crops) == 12


def test_pictures_of_a_folder(tmp_path):
    with pytest.raises(MediaError, match="there is no folder"):
        find_pictures(tmp_path / "none")
    with pytest.raises(MediaError, match="without pictures"):
        find_pictures(tmp_path)
    for name in ("p10.jpg", "p9.png", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in find_pictures(tmp_path)] == ["p9.png", "p10.jpg"]
    assert find_pictures(tmp_path / "p9.png") == [tmp_path / "p9.png"]


@pytest.mark.parametrize("values", [{"limit_frames": 9}, {"sources": -1}, {"sources": 1001}])
def test_ranges(values):
    with pytest.raises(ConfigError, match=next(iter(values)).replace("_", "-")):
        EvaluateConfig(**values)
