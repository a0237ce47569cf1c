"""Fine-tuning: material split honestly, tuned weights kept only when they are better, killed runs go on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch

from lia_live.avatar import Avatar
from lia_live.cli.assets import DEMO_DRIVER
from lia_live.errors import ConfigError, MediaError
from lia_live.evaluate import Figures, reconstruct
from lia_live.model import LIA, LIAConfig
from lia_live.train.clips import Clips
from lia_live.train.finetune import FinetuneConfig, finetune, verdict
from lia_live.train.finetune_report import write_report
from lia_live.train.growth import start
from lia_live.train.material import Material, from_clip, from_pictures
from lia_live.train.prepare_clips import prepare_clip
from lia_live.train.prepare_config import ClipConfig, PrepareConfig
from lia_live.train.teacher import label_directions

SIZE = 64
QUICK = FinetuneConfig(minutes=0.1, batch=4, learning_rate=3e-3, checks=4)


@pytest.fixture(scope="module")
def base() -> LIA:
    """An untrained network that passes the picture's colours: it copies its source."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = start(LIA(LIAConfig(size=SIZE, width=0.0625, latent_dim=32))).eval()
    model.name, model.directions = "tiny", label_directions(20)
    return model


@pytest.fixture(scope="module")
def clip() -> Clips:
    """The shipped driver clip, four seconds of it."""
    config = PrepareConfig(side=SIZE, clips=ClipConfig(side=64, fps=10, max_s=5, max_video_s=5))
    return prepare_clip(DEMO_DRIVER, config)


@pytest.fixture(scope="module")
def avatar(base: LIA) -> Avatar:
    return Avatar.from_image(skimage.data.astronaut(), base)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def first_frame_as_avatar(avatar: Avatar, clip: Clips) -> Avatar:
    crop = np.ascontiguousarray(clip.frames[0].permute(1, 2, 0).numpy())
    return replace(avatar, crop=crop, face_landmarks=clip.landmarks[0].numpy())


def test_nothing_held_out_is_trained_on(avatar: Avatar, clip: Clips) -> None:
    material = from_clip(avatar, clip)
    count = len(clip.frames)
    held, validation = len(material.held_out.real), len(material.validation.real)
    assert held == count - round(0.7 * count)
    assert validation == round(0.7 * count) - round(0.6 * count)
    assert material.data.clips is not None
    trained = material.data.clips._frames
    assert len(trained) == count - held - validation
    assert torch.equal(trained, clip.frames[: len(trained)])
    last = clip.frames[-1].permute(1, 2, 0).numpy()
    assert np.array_equal(material.held_out.real[-1], last)


def test_a_portrait_that_is_a_moment_of_the_clip_is_its_source(avatar: Avatar, clip: Clips) -> None:
    of_clip = first_frame_as_avatar(avatar, clip)
    material = from_clip(of_clip, clip)
    assert np.array_equal(material.held_out.source, of_clip.crop)
    other = from_clip(avatar, clip)  # another person's portrait: the clip's own first frame
    assert not np.array_equal(other.held_out.source, avatar.crop)
    assert material.data.clips is not None
    assert other.data.clips is not None
    assert len(material.data.clips._frames) == len(other.data.clips._frames) + 1


def test_a_clip_that_is_too_short_says_so(avatar: Avatar, clip: Clips) -> None:
    short = clip.select(torch.tensor([0]))
    short = replace(
        short, frames=short.frames[:9], landmarks=short.landmarks[:9], starts=torch.tensor([0, 9])
    )
    with pytest.raises(MediaError, match="9 usable frames are too few"):
        from_clip(avatar, short)


def test_it_gets_better_on_held_out_frames_and_says_by_how_much(
    base: LIA, avatar: Avatar, clip: Clips, tmp_path: Path
) -> None:
    material = from_clip(first_frame_as_avatar(avatar, clip), clip)
    lines: list[str] = []
    outcome = finetune(material, base, tmp_path, QUICK, device="cpu", line=lines.append)
    assert outcome is not None
    assert outcome.network is not None, outcome.reason
    assert outcome.after.l1 < 0.95 * outcome.before.l1
    assert "lower L1" in outcome.reason
    # what is reported is what the network does
    held = material.held_out
    again = reconstruct(outcome.network, held.source, held.real[:2])
    assert all(map(np.array_equal, again, outcome.pictures[1][:2]))
    for value in outcome.network.state_dict().values():
        assert torch.equal(value, value.half().float())
    assert any("validation L1" in text for text in lines)

    page = write_report(tmp_path, outcome, material, "lia-live finetune").read_text()
    assert page.count("data:image/jpeg") >= 4 * 6
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["kept"] == "tuned"
    assert report["after"]["l1"] == pytest.approx(outcome.after.l1)


def test_what_is_not_better_is_not_kept(
    base: LIA, avatar: Avatar, clip: Clips, tmp_path: Path
) -> None:
    material = from_clip(avatar, clip)
    wild = replace(QUICK, learning_rate=0.9, checks=1)
    outcome = finetune(material, base, tmp_path, wild, device="cpu", line=lambda _: None)
    assert outcome is not None
    assert outcome.network is None
    assert "not better" in outcome.reason


def figures_with(l1: float, akd: float, face_found: float = 1.0) -> Figures:
    return Figures(
        frames=9, face_found=face_found, movements={}, shape_distance=0.0,
        driver_shape_distance=0.0, sharpness=1.0, l1=l1, akd=akd,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("after", "kept"),
    [
        (figures_with(0.04, 2.0), True),
        (figures_with(0.05, 1.0), False),
        (figures_with(0.04, 2.2), False),
        (figures_with(0.04, 2.0, face_found=0.9), False),
        (figures_with(float("nan"), float("nan")), False),
    ],
)
def test_the_guard(after: Figures, kept: bool) -> None:
    assert verdict(figures_with(0.05, 2.0), after)[0] is kept


def test_a_stopped_fine_tuning_goes_on_and_ends_the_same(
    base: LIA, avatar: Avatar, clip: Clips, tmp_path: Path
) -> None:
    material = from_clip(avatar, clip)
    folder = tmp_path / "run"
    steps = iter(range(10**6))
    ended = finetune(
        material, base, folder, QUICK, device="cpu", line=lambda _: None,
        stop=lambda: next(steps) >= 7,
    )  # fmt: skip
    assert ended is None
    lines: list[str] = []
    assert finetune(material, base, folder, QUICK, device="cpu", line=lines.append) is not None
    assert any(text.startswith("going on from step") for text in lines)
    with pytest.raises(ConfigError, match="something else or with other settings"):
        finetune(material, base, folder, replace(QUICK, batch=2), device="cpu", line=lambda _: None)


def test_one_photograph_is_enough(base: LIA, avatar: Avatar, tmp_path: Path) -> None:
    material: Material = from_pictures(avatar, ())
    assert material.data.clips is None
    assert "one photograph" in material.kind
    first, second = material.validation.real[10], material.held_out.real[10]
    assert not np.array_equal(first, second)  # other performances of the same picture
    outcome = finetune(material, base, tmp_path, QUICK, device="cpu", line=lambda _: None)
    assert outcome is not None
    assert outcome.after.l1 < outcome.before.l1, outcome.reason
