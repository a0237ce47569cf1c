"""Fine-tuning: material split honestly, tuned weights kept only when they are better, killed runs go on."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from lightning_fabric import Fabric

from lia_live.avatar import Avatar
from lia_live.cli.assets import DEMO_DRIVER
from lia_live.errors import ConfigError, MediaError
from lia_live.evaluate import Figures, look_at, reconstruct
from lia_live.evaluate.figures import NAN
from lia_live.evaluate.movement import Movement
from lia_live.io import VideoReader
from lia_live.model import LIA, LIAConfig, load_model
from lia_live.model.config import Framing
from lia_live.puppet.lips import GAPS, moved_apart
from lia_live.train.clips import Clips
from lia_live.train.devices import open_fabric
from lia_live.train.finetune import FinetuneConfig, asked_for, finetune, verdict
from lia_live.train.finetune_report import write_report
from lia_live.train.growth import start
from lia_live.train.losses import LossWeights
from lia_live.train.material import Material, from_clip, from_pictures, moment_of
from lia_live.train.portraits import Portraits
from lia_live.train.prepare_clips import prepare_clip
from lia_live.train.prepare_config import ClipConfig, PrepareConfig
from lia_live.train.teacher import label_directions

SIZE = 64
QUICK = FinetuneConfig(
    minutes=0.1,
    batch=4,
    learning_rate=3e-3,
    checks=4,
    losses=LossWeights(flow=0.05, mask=0.1, motion=1.0, perceptual=1.0),
)


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


@pytest.fixture(scope="module")
def driver_frames() -> list[np.ndarray]:
    """Whole pictures of the shipped driver clip, ten a second: what a person would save as a portrait."""
    with VideoReader(DEMO_DRIVER) as reader:
        return [frame.pixels for frame in islice(reader, 0, 150, 3)]


@pytest.fixture(scope="module")
def of_clip(base: LIA, driver_frames: list[np.ndarray]) -> Avatar:
    """A portrait that is a picture of the clip's beginning, found and cut as the program does."""
    return Avatar.from_image(driver_frames[4], base)


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return open_fabric("cpu")


def with_lips_apart(clip: Clips, frame: int) -> torch.Tensor:
    """As an avatar of it is seen."""
    picture = clip.frames[frame].permute(1, 2, 0).numpy()
    ways = moved_apart(picture, clip.landmarks[frame].numpy(), Framing())
    return torch.stack([torch.tensor(lips.picture).permute(2, 0, 1) for lips in ways])


def test_nothing_held_out_is_trained_on(avatar: Avatar, clip: Clips) -> None:
    material = from_clip(avatar, clip)
    count = len(clip.frames)
    held, validation = len(material.held_out.real), len(material.validation.real)
    assert (held, validation) == (round(0.3 * count), round(0.1 * count))
    assert material.data.clips is not None
    trained = material.data.clips._frames
    looks = len(GAPS)
    assert len(trained) == count - held - validation + looks  # the source leads, in all its looks
    assert torch.equal(trained[looks:], clip.frames[: count - held - validation])
    last = clip.frames[-1].permute(1, 2, 0).numpy()
    assert np.array_equal(material.held_out.real[-1], last)
    # another person's portrait: no moment of the clip
    assert torch.equal(trained[:looks], with_lips_apart(clip, 0))


def test_a_portrait_from_the_clip_is_recognised_and_leads(
    base: LIA, clip: Clips, driver_frames: list[np.ndarray]
) -> None:
    for index in (4, 15, 24):
        taken = Avatar.from_image(driver_frames[index], base)
        found = moment_of(taken, clip)
        assert found is not None
        assert abs(found - index) <= 6  # that frame, or one that looks much the same
        material = from_clip(taken, clip)
        shown = clip.frames[found].permute(1, 2, 0).numpy()
        assert np.array_equal(material.held_out.source, shown)
        assert material.data.clips is not None
        leading = material.data.clips._frames[: len(GAPS)]
        assert torch.equal(leading, with_lips_apart(clip, found))


def test_a_portrait_from_the_end_has_the_beginning_held_out(
    base: LIA, clip: Clips, driver_frames: list[np.ndarray]
) -> None:
    material = from_clip(Avatar.from_image(driver_frames[46], base), clip)
    first = clip.frames[0].permute(1, 2, 0).numpy()
    assert np.array_equal(material.held_out.real[0], first)
    assert material.data.clips is not None
    count, held = len(clip.frames), len(material.held_out.real) + len(material.validation.real)
    assert torch.equal(material.data.clips._frames[len(GAPS) :], clip.frames[held:count])


def test_strangers_are_no_moment_of_a_clip(avatar: Avatar, clip: Clips) -> None:
    assert moment_of(avatar, clip) is None


def test_further_pieces_of_a_video_are_trained_on(avatar: Avatar, clip: Clips) -> None:
    half = len(clip.frames) // 2
    pieces = replace(
        clip,
        starts=torch.tensor([0, half - 5, len(clip.frames)]),
        fps=clip.fps.repeat(2),
        names=("a#1", "a#2"),
        groups=("", ""),
        held_out=torch.zeros(2, dtype=torch.bool),
    )
    material = from_clip(avatar, pieces)
    assert material.data.clips is not None
    assert len(material.data.clips) == 2
    last = clip.frames[-1].permute(1, 2, 0).numpy()
    assert np.array_equal(material.held_out.real[-1], last)  # of the longer piece


def test_a_clip_that_is_too_short_says_so(avatar: Avatar, clip: Clips) -> None:
    short = clip.select(torch.tensor([0]))
    short = replace(
        short, frames=short.frames[:9], landmarks=short.landmarks[:9], starts=torch.tensor([0, 9])
    )
    with pytest.raises(MediaError, match="9 usable frames are too few"):
        from_clip(avatar, short)


def test_it_gets_better_on_held_out_frames_and_says_by_how_much(
    base: LIA, of_clip: Avatar, clip: Clips, fabric: Fabric, tmp_path: Path
) -> None:
    material = from_clip(of_clip, clip)
    lines: list[str] = []
    planned(tmp_path, material, base, steps=100)
    outcome = finetune(material, base, tmp_path, QUICK, fabric=fabric, line=lines.append)
    assert outcome is not None
    assert outcome.network is not None, outcome.reason
    assert outcome.after.l1 < 0.95 * outcome.before.l1
    assert "lower L1" in outcome.reason
    # what is reported is what the network does
    held = material.held_out
    again = reconstruct(
        outcome.network, look_at(outcome.network, held.source), held.real
    )  # batches of the same size
    assert all(map(np.array_equal, again, outcome.pictures[1]))
    for value in outcome.network.state_dict().values():
        assert torch.equal(value, value.half().float())
    assert any("validation L1" in text for text in lines)

    page = write_report(tmp_path, outcome, material, "lia-live finetune", base).read_text()
    assert base.fingerprint in page
    assert page.count("data:image/jpeg") >= 4 * 6
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["kept"] == "tuned"
    assert report["after"]["l1"] == pytest.approx(outcome.after.l1)


def test_what_is_not_better_is_not_kept(
    base: LIA, avatar: Avatar, clip: Clips, fabric: Fabric, tmp_path: Path
) -> None:
    material = from_clip(avatar, clip)
    wild = replace(QUICK, learning_rate=0.9, checks=1)
    outcome = finetune(material, base, tmp_path, wild, fabric=fabric, line=lambda _: None)
    assert outcome is not None
    assert outcome.network is None
    assert "not better" in outcome.reason


def figures_with(
    l1: float = 0.04,
    akd: float = 2.0,
    face_found: float = 1.0,
    sharpness: float = 1.0,
    mouth: float = 0.7,
) -> Figures:
    return Figures(
        frames=9, face_found=face_found, movements={"mouth": Movement(mouth, 1.0, 1.0, True)}, shape_distance=0.0,
        driver_shape_distance=0.0, sharpness=sharpness, l1=l1, akd=akd,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("after", "kept"),
    [
        (figures_with(), True),
        (figures_with(l1=0.05), False),
        (figures_with(l1=0.0495), False),  # a gain of 1 % is none
        (figures_with(akd=2.1), False),
        (figures_with(akd=NAN), False),
        (figures_with(face_found=0.9), False),
        (figures_with(sharpness=0.8), False),
        (figures_with(mouth=0.5), False),
        (figures_with(mouth=NAN), True),
        (figures_with(l1=NAN, akd=NAN), False),
    ],
)
def test_the_guard(after: Figures, kept: bool) -> None:
    assert verdict(figures_with(l1=0.05, akd=2.0), after)[0] is kept


def planned(folder: Path, material: Material, base: LIA, steps: int) -> None:
    """Fix the number of steps, which a busy machine would make fewer."""
    plan = {"asked": asked_for(QUICK, material, base), "steps": steps}
    (folder / "plan.json").write_text(json.dumps(plan))


def test_a_stopped_fine_tuning_goes_on_and_ends_the_same(
    base: LIA, avatar: Avatar, clip: Clips, fabric: Fabric, tmp_path: Path
) -> None:
    material = from_clip(avatar, clip)
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    for folder in (whole, parted):
        folder.mkdir()
        planned(folder, material, base, steps=24)
    assert finetune(material, base, whole, QUICK, fabric=fabric, line=lambda _: None) is not None
    steps = iter(range(10**6))
    ended = finetune(
        material, base, parted, QUICK, fabric=fabric, line=lambda _: None,
        stop=lambda: next(steps) >= 7,
    )  # fmt: skip
    assert ended is None
    lines: list[str] = []
    assert finetune(material, base, parted, QUICK, fabric=fabric, line=lines.append) is not None
    assert any(text.startswith("going on from step") for text in lines)
    first, second = (load_model(folder / "best.safetensors", "cpu") for folder in (whole, parted))
    assert first.fingerprint == second.fingerprint
    with pytest.raises(ConfigError, match="something else or with other settings"):
        other = replace(QUICK, batch=2)
        finetune(material, base, parted, other, fabric=fabric, line=lambda _: None)


def test_one_photograph_is_enough(
    base: LIA, avatar: Avatar, fabric: Fabric, tmp_path: Path
) -> None:
    material = from_pictures(avatar, ())
    assert material.data.clips is None
    assert "one photograph" in material.kind
    assert "nothing real was held out" in material.tested_on
    first, second = material.validation.real[10], material.held_out.real[10]
    assert not np.array_equal(first, second)  # other performances of the same picture
    planned(tmp_path, material, base, steps=40)
    outcome = finetune(material, base, tmp_path, QUICK, fabric=fabric, line=lambda _: None)
    assert outcome is not None
    assert outcome.after.l1 < outcome.before.l1, outcome.reason


def test_photographs_are_told_apart_and_held_out(base: LIA, of_clip: Avatar, clip: Clips) -> None:
    """The avatar's own photograph is dropped; of four others two are tested on, one for each purpose."""
    own = portrait_of(of_clip.crop, of_clip.face_landmarks)
    frames = clip.frames.permute(0, 2, 3, 1).numpy()
    others = [portrait_of(frames[i], clip.landmarks[i].numpy()) for i in (12, 20, 28, 36)]
    material = from_pictures(of_clip, [own, *others])
    assert material.data.performer is not None
    assert len(material.data.performer) == 3  # the avatar and the first two
    assert "5 photographs" in material.kind
    assert not np.array_equal(material.validation.source, material.held_out.source)


def portrait_of(pixels: np.ndarray, landmarks: np.ndarray | None) -> Portraits:
    picture = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].contiguous()
    points = torch.as_tensor(landmarks)[None]
    return Portraits(picture, points, ("x.png",), ("",), torch.zeros(1, dtype=torch.bool))
