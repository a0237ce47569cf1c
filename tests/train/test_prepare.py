"""Pictures to prepared portraits, with the public-domain faces that packages carry."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch

from lia_live.errors import ConfigError, MediaError
from lia_live.model.config import Framing
from lia_live.train.performer import Performer
from lia_live.train.portraits import Portraits
from lia_live.train.prepare import ClipConfig, LandmarkFinder, PrepareConfig, prepare_portrait
from lia_live.train.settings import plain

ROOMY = PrepareConfig(side=192, max_border=0.3)


@pytest.fixture(scope="module")
def finder() -> Iterator[LandmarkFinder]:
    with LandmarkFinder() as one:
        yield one


@pytest.fixture(scope="module")
def astronaut(finder: LandmarkFinder) -> Portraits:
    return prepare_portrait(skimage.data.astronaut(), ROOMY, finder)


def test_the_eyes_lie_where_the_framing_says(astronaut: Portraits) -> None:
    assert astronaut.images.shape == (1, 3, 192, 192)
    left, right = astronaut.landmarks[0, 33], astronaut.landmarks[0, 263]
    assert float((right - left).norm()) == pytest.approx(0.34 * 192, abs=0.5)
    middle = (left + right) / 2
    assert float(middle[0]) == pytest.approx(0.5 * 192, abs=0.5)
    assert float(middle[1]) == pytest.approx(0.47 * 192, abs=0.5)


def test_landmarks_lie_on_the_cropped_picture(astronaut: Portraits) -> None:
    """Found again in the crop, by a finder of its own, they are where they were said to be."""
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


def test_a_small_face_in_a_large_picture_is_found(finder: LandmarkFinder) -> None:
    """A twelfth of the width: the mesh's own detector passes over it."""
    wide = np.full((1600, 2400, 3), 90, np.uint8)
    wide[700:1212, 1300:1812] = skimage.data.astronaut()
    found = finder.find(wide)
    direct = finder.find(skimage.data.astronaut())
    assert found is not None and direct is not None
    shifted = direct[:, :2] + [1300, 700]
    assert np.median(np.linalg.norm(found[:, :2] - shifted, axis=1)) < 3


def test_kept_framing_only_changes_the_size(finder: LandmarkFinder) -> None:
    photo = skimage.data.astronaut()
    kept = prepare_portrait(photo, PrepareConfig(side=128, keep_framing=True), finder)
    quarter = photo.reshape(128, 4, 128, 4, 3).mean((1, 3))
    assert np.abs(kept.images[0].permute(1, 2, 0).numpy() - quarter).mean() < 2
    whole = finder.find(photo)
    assert whole is not None
    assert np.abs(kept.landmarks[0].numpy() - whole / 4).max() < 0.01


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (PrepareConfig(framing=Framing(eye_distance=0.1)), "edge"),
        (PrepareConfig(max_border=1.0, min_eye_px=500), "small"),
        (PrepareConfig(max_border=1.0, max_yaw_deg=0.01), "turned"),
    ],
)
def test_unfit_portraits_say_why(
    config: PrepareConfig, reason: str, finder: LandmarkFinder
) -> None:
    with pytest.raises(MediaError, match=reason):
        prepare_portrait(skimage.data.astronaut(), config, finder)


@pytest.mark.parametrize("size", [(120, 120), (1, 1), (3, 2000)])
def test_no_face_is_said(size: tuple[int, int], finder: LandmarkFinder) -> None:
    with pytest.raises(MediaError, match="no face") as caught:
        prepare_portrait(np.zeros((*size, 3), np.uint8), None, finder)
    assert caught.value.hint


@pytest.mark.parametrize(
    "wrong",
    [
        {"side": 8},
        {"max_border": 2},
        {"max_yaw_deg": 0},
        {"min_eye_px": 0},
        {"held_out_every": -1},
        {"max_bad": float("nan")},
        {"store": "zip"},
        {"shard_mb": 0},
        {"framing": Framing(kind="full")},
    ],
)
def test_ranges_are_checked(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=f"prepare.{next(iter(wrong))}"):
        PrepareConfig(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"side": 2000},
        {"fps": 0},
        {"frames_fps": 0.1},
        {"min_s": 0},
        {"max_s": 0.2},
        {"max_video_s": 1},
        {"min_eye_px": 0},
        {"max_border": -0.1},
        {"max_lost": 0.9},
    ],
)
def test_ranges_of_clips_are_checked(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=rf"prepare\.clips\.{next(iter(wrong))}"):
        ClipConfig(**wrong)


def test_the_settings_in_the_documentation_are_the_defaults() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "training-data.md").read_text("utf-8")
    block = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert block is not None
    written = tomllib.loads(block.group(1))
    config = plain(PrepareConfig())
    del config["framing"]["kind"]  # there is no choice
    assert written == config
