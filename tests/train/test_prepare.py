"""Pictures to prepared portraits, with the public-domain faces that packages carry."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from lia_live.errors import ConfigError, MediaError
from lia_live.model.config import Framing
from lia_live.train.performer import Performer
from lia_live.train.portraits import Portraits
from lia_live.train.prepare import PrepareConfig, prepare_folder, prepare_portrait
from tests.train.faces import drawn_portraits

ROOMY = PrepareConfig(side=192, max_border=0.3)


@pytest.fixture(scope="module")
def astronaut() -> Portraits:
    return prepare_portrait(skimage.data.astronaut(), ROOMY)


def test_the_eyes_lie_where_the_framing_says(astronaut: Portraits) -> None:
    assert astronaut.images.shape == (1, 3, 192, 192)
    left, right = astronaut.landmarks[0, 33], astronaut.landmarks[0, 263]
    assert float((right - left).norm()) == pytest.approx(0.34 * 192, abs=0.5)
    middle = (left + right) / 2
    assert float(middle[0]) == pytest.approx(0.5 * 192, abs=0.5)
    assert float(middle[1]) == pytest.approx(0.47 * 192, abs=0.5)


def test_landmarks_lie_on_the_cropped_picture(astronaut: Portraits) -> None:
    """Found again in the crop, they are where they were said to be."""
    crop = astronaut.images[0].permute(1, 2, 0).numpy()
    again = prepare_portrait(crop, PrepareConfig(side=192, max_border=0.5))
    moved = (again.landmarks[0, :468, :2] - astronaut.landmarks[0, :468, :2]).norm(dim=1)
    assert moved.median() < 2.5


def test_a_prepared_photo_performs(astronaut: Portraits) -> None:
    performer = Performer(astronaut)
    frames = performer.perform(0, performer.rig.own.repeat(2, 1), 96)
    plain = torch.nn.functional.interpolate(
        astronaut.images.float() / 127.5 - 1, size=(96, 96), mode="area"
    )
    assert (frames - plain).abs().mean() < 0.03


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (PrepareConfig(framing=Framing(eye_distance=0.1)), "edge"),
        (PrepareConfig(max_border=1.0, min_eye_px=500), "small"),
        (PrepareConfig(max_border=1.0, max_yaw_deg=0.01), "turned"),
    ],
)
def test_unfit_portraits_say_why(config: PrepareConfig, reason: str) -> None:
    with pytest.raises(MediaError, match=reason):
        prepare_portrait(skimage.data.astronaut(), config)


def test_no_face_is_said() -> None:
    with pytest.raises(MediaError, match="no face") as caught:
        prepare_portrait(np.zeros((120, 120, 3), np.uint8))
    assert caught.value.hint


def test_a_folder_becomes_one_file_and_a_report(tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    face = Image.fromarray(skimage.data.astronaut())
    face.save(folder / "p0015.png")
    face.save(folder / "p0016.png")  # the same again
    face.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "p0017.png")
    Image.new("RGB", (64, 64)).save(folder / "p0018.png")
    Image.new("RGB", (64, 64), "red").save(folder / "p0020.png")
    (folder / "p0019.jpg").write_text("no picture")
    (tmp_path / "index.csv").write_text("file,repo\np0001.jpg,a/b\np0015.png,c/d\n")
    out = tmp_path / "out" / "portraits.safetensors"

    report = prepare_folder(folder, out, ROOMY)

    assert report.kept == ["p0015.png", "p0017.png"]
    assert report.bad == 1
    assert "twice" in report.dropped["p0016.png"]
    assert "no face" in report.dropped["p0018.png"]
    assert "not readable" in report.dropped["p0019.jpg"]
    assert "kept 2 of 6" in report.summary()
    report.save(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["kept"] == report.kept
    loaded = Portraits.load(out)
    assert loaded.names == ("p0015.png", "p0017.png")
    assert loaded.groups == ("P2", "")
    assert loaded.held_out.tolist() == [True, False]
    assert loaded.in_groups("P2").tolist() == [True, False]
    assert loaded.select(~loaded.held_out).names == ("p0017.png",)


def test_folders_without_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no pictures"):
        prepare_folder(tmp_path, tmp_path / "out.safetensors")
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(b"\xff\xd8 broken")
    with pytest.raises(MediaError, match="cannot be read"):
        prepare_folder(tmp_path, tmp_path / "out.safetensors")


def test_other_files_are_not_taken_for_portraits(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(b"something else")
    with pytest.raises(MediaError, match="cannot read"):
        Portraits.load(wrong)
    with pytest.raises(MediaError, match="cannot read"):
        Portraits.load(tmp_path / "absent.safetensors")
    drawn = drawn_portraits()
    drawn.save(wrong)
    assert torch.equal(Portraits.load(wrong).images, drawn.images)


def test_ranges_are_checked() -> None:
    with pytest.raises(ConfigError, match="side"):
        PrepareConfig(side=8)
