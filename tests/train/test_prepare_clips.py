"""Videos to prepared clips: one square for each, cut where the picture cuts, refused with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lia_live.errors import MediaError
from lia_live.train.clips import Clips
from lia_live.train.prepare import (
    ClipConfig,
    LandmarkFinder,
    PrepareConfig,
    prepare_clip,
    prepare_pieces,
)
from lia_live.train.prepare_clips import Shots, prepare_shots
from lia_live.train.prepare_frames import ListedFrames, thinned
from tests.train import moving

DRIVER = Path(__file__).resolve().parents[2] / "lia_live" / "weights" / "demo" / "driver.mp4"
SMALL = PrepareConfig(clips=ClipConfig(side=128))
BLACK = np.zeros((moving.SIDE, moving.SIDE, 3), np.uint8)


@pytest.fixture(scope="module")
def finder() -> Iterator[LandmarkFinder]:
    with LandmarkFinder() as one:
        yield one


@pytest.fixture(scope="module")
def swaying() -> list[np.ndarray]:
    return moving.swaying(moving.astronaut(), 24)


def shots(frames: list, finder: LandmarkFinder, **limits: float) -> Shots:
    config = replace(SMALL, clips=replace(SMALL.clips, **limits))
    return prepare_shots(ListedFrames(frames, 12.5), "me.mp4", config, finder)


@pytest.fixture(scope="module")
def driver(finder: LandmarkFinder) -> Clips:
    limits = ClipConfig(side=128, max_s=6, max_video_s=6)
    return prepare_clip(DRIVER, PrepareConfig(clips=limits), finder)


def test_the_shipped_clip(driver: Clips) -> None:
    driver.check()
    assert driver.names == ("driver.mp4",)
    assert driver.frames.shape == (75, 3, 128, 128)
    assert driver.fps.tolist() == [12.5]
    eyes = driver.landmarks[:, [33, 263]]
    distance = (eyes[:, 1] - eyes[:, 0]).norm(dim=1)
    assert float(distance.median()) == pytest.approx(0.34 * 128, rel=0.03)
    middle = eyes.mean(1).median(0).values
    assert middle[:2].tolist() == pytest.approx([0.5 * 128, 0.47 * 128], abs=1.5)
    assert float(eyes.mean(1)[:, 0].max() - eyes.mean(1)[:, 0].min()) > 5, "the head moves inside"
    assert float(driver.motion()) > 0.06


def test_landmarks_lie_on_the_frames(driver: Clips, finder: LandmarkFinder) -> None:
    """Found again by the finder for stills, in the crops themselves."""
    for number in (0, 20, 74):
        crop = driver.frames[number].permute(1, 2, 0).numpy()
        again = finder.find(np.ascontiguousarray(crop))
        assert again is not None
        apart = np.linalg.norm(again[:468, :2] - driver.landmarks[number, :468, :2].numpy(), axis=1)
        assert np.median(apart) < 1.5


def test_the_square_stands_still(swaying: list, finder: LandmarkFinder) -> None:
    """The background of a swaying face sways with it; a corner painted into the picture does not move."""
    frames = [frame.copy() for frame in swaying]
    for frame in frames:
        frame[24:50, 90:116] = (0, 255, 0)
    clip = prepare_clip(frames, SMALL, finder, fps=12.5)
    green = (clip.frames[:, 1].int() - clip.frames[:, 0].int() > 128).float()
    assert float(green[0].sum()) > 50
    assert float((green - green[0]).abs().mean()) < 0.002


def test_frames_are_thinned_to_the_wanted_rate(swaying: list) -> None:
    source = thinned(swaying, 50.0, ClipConfig(fps=12.5))
    assert source.fps == 12.5
    assert [id(one) for one in source.read()] == [id(one) for one in swaying[::4]]
    slow = thinned(swaying, 10.0, ClipConfig(fps=12.5))
    assert (slow.fps, len(list(slow.read()))) == (10.0, 24)
    with pytest.raises(MediaError, match="no rate"):
        thinned(swaying, 0, ClipConfig())


def test_a_folder_of_frames_is_a_clip(
    swaying: list, finder: LandmarkFinder, tmp_path: Path
) -> None:
    folder = moving.write_frames(tmp_path / "id1#abc", swaying)
    clip = prepare_clip(folder, SMALL, finder)
    assert clip.names == ("id1#abc",)
    assert (len(clip.frames), clip.fps.tolist()) == (12, [12.5])
    own = PrepareConfig(keep_framing=True, clips=ClipConfig(side=moving.SIDE))
    kept = prepare_clip(folder, own, finder)
    assert np.array_equal(kept.frames[3].permute(1, 2, 0).numpy(), swaying[6])


def test_frames_of_a_folder_come_in_natural_order(
    swaying: list, finder: LandmarkFinder, tmp_path: Path
) -> None:
    """2 before 10, in any format that portraits may have; what the Finder leaves behind is no frame."""
    folder = moving.write_frames(tmp_path / "me", swaying)
    for path in sorted(folder.iterdir()):
        path.rename(folder / f"frame {int(path.stem)}.png")
    with Image.open(folder / "frame 23.png") as last:
        last.save(folder / "frame 24.ppm")
    (folder / "._frame 0.png").write_bytes(b"resources")
    own = PrepareConfig(keep_framing=True, clips=ClipConfig(side=moving.SIDE))
    clip = prepare_clip(folder, own, finder, fps=12.5)
    expected = [*swaying, swaying[-1]]
    assert len(clip.frames) == len(expected)
    for frame, source in zip(clip.frames, expected, strict=True):
        assert np.array_equal(frame.permute(1, 2, 0).numpy(), source)


def test_a_cut_ends_a_clip(swaying: list, finder: LandmarkFinder) -> None:
    """Two people in turn, and the camera that jumps: three clips, none with a cut in it."""
    near = moving.swaying(
        moving.astronaut()[20:260, 30:270].repeat(2, 0).repeat(2, 1)[80:400, 80:400], 12
    )
    other = moving.swaying(moving.hopper(), 12)
    found = shots([*swaying[:12], *other, *near], finder, max_border=1.0)
    assert found.dropped == {}
    assert [clip.names[0] for clip in found.clips] == ["me.mp4#1", "me.mp4#2", "me.mp4#3"]
    assert [len(clip.frames) for clip in found.clips] == [12, 12, 12]
    for clip in found.clips:
        steps = (clip.landmarks[1:, 4, :2] - clip.landmarks[:-1, 4, :2]).norm(dim=1)
        assert float(steps.max()) < 0.34 * 128


def test_every_usable_piece_and_why_the_rest_is_none(
    swaying: list, finder: LandmarkFinder, tmp_path: Path
) -> None:
    """Two good pieces of unequal length, one too short between them."""
    gap = [BLACK] * 4
    frames = [*swaying[:10], *gap, *swaying[:3], *gap, *swaying[:14], BLACK]
    pieces, remarks = prepare_pieces(frames, SMALL, finder, "me.mp4", fps=12.5)
    pieces.check()
    assert pieces.names == ("me.mp4#1", "me.mp4#3")
    assert pieces.lengths.tolist() == [10, 14]
    assert remarks == ["me.mp4#2: too short: 0.24 s with a face"]
    longest = prepare_clip(frames, SMALL, finder, "me.mp4", fps=12.5)
    assert longest.names == ("me.mp4#3",)
    assert torch.equal(longest.frames, pieces.frames[10:])
    with pytest.raises(MediaError, match="no face"):
        prepare_pieces([BLACK] * 8, SMALL, finder, fps=12.5)


@pytest.mark.parametrize("asked", [0, 5, 30])
def test_a_clip_is_given_up_between_frames(
    asked: int, swaying: list, finder: LandmarkFinder
) -> None:
    """At once, while faces are looked for, and while the second pass cuts them out."""
    answers = iter([False] * asked + [True])
    with pytest.raises(KeyboardInterrupt):
        prepare_pieces(swaying, SMALL, finder, fps=12.5, stop=lambda: next(answers))
    assert next(answers, None) is None, "it was asked no more"
    whole, remarks = prepare_pieces(swaying, SMALL, finder, fps=12.5, stop=lambda: False)
    assert (whole.lengths.tolist(), remarks) == ([24], [])


def test_a_lost_face_ends_a_clip(swaying: list, finder: LandmarkFinder) -> None:
    found = shots([BLACK, *swaying[:10], BLACK, BLACK, BLACK, BLACK, *swaying[12:], BLACK], finder)
    assert [len(clip.frames) for clip in found.clips] == [10, 12]
    assert found.dropped == {}


def test_a_short_gap_is_bridged(swaying: list, finder: LandmarkFinder) -> None:
    """One damaged frame: its landmarks lie between those of its neighbours."""
    found = shots([*swaying[:12], None, *swaying[13:]], finder)
    assert [len(clip.frames) for clip in found.clips] == [24]
    points = found.clips[0].landmarks
    assert torch.allclose(points[12], (points[11] + points[13]) / 2, atol=0.01)
    assert torch.equal(found.clips[0].frames[12], found.clips[0].frames[11])
    gaps = [frame if number % 3 else None for number, frame in enumerate(swaying, 1)]
    assert "lost too often" in shots(gaps, finder).dropped["me.mp4"]


def test_long_shots_are_cut_into_equal_parts(swaying: list, finder: LandmarkFinder) -> None:
    found = shots(swaying, finder, max_s=0.8)
    assert [len(clip.frames) for clip in found.clips] == [8, 8, 8]
    whole = prepare_clip(swaying, SMALL, finder, fps=12.5)
    assert len(whole.frames) == 24


def test_a_face_that_walks_is_followed_in_parts(finder: LandmarkFinder) -> None:
    """Through a wide picture: no one square holds it."""
    face = moving.astronaut()
    frames = []
    for number in range(64):
        wide = np.full((moving.SIDE, 640, 3), 120, np.uint8)
        wide[:, 5 * number : 5 * number + moving.SIDE] = face
        frames.append(wide)
    found = shots(frames, finder)
    assert len(found.clips) > 1
    assert sum(len(clip.frames) for clip in found.clips) >= 50
    for clip in found.clips:
        points = clip.landmarks[:, :468, :2]
        assert float(((points < 0) | (points > 128)).any(2).float().mean()) < 0.05


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"min_eye_px": 200}, "too small: eyes"),
        ({"max_border": 0.0}, "too close to the edge"),
        ({"min_s": 5}, "too short: 1.92 s"),
    ],
)
def test_unfit_clips_say_why(
    limits: dict, reason: str, swaying: list, finder: LandmarkFinder
) -> None:
    face = moving.swaying(np.roll(moving.astronaut(), -100, axis=1), 24)
    found = shots(face, finder, **limits)
    assert found.clips == []
    assert reason in found.dropped["me.mp4"]


def test_what_is_no_clip(swaying: list, finder: LandmarkFinder, tmp_path: Path) -> None:
    for frames, reason in (
        ([], "no picture"),
        (swaying[:1], "one picture"),
        ([BLACK] * 8, "no face"),
        ([moving.astronaut()] * 12, "nothing moves"),
    ):
        with pytest.raises(MediaError, match=reason):
            prepare_clip(frames, SMALL, finder, fps=12.5)
    still = moving.write(tmp_path / "still.mp4", [moving.astronaut()] * 40)
    with pytest.raises(MediaError, match="nothing moves"):
        prepare_clip(still, SMALL, finder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MediaError, match="no frames") as caught:
        prepare_clip(tmp_path / "empty", SMALL, finder)
    assert caught.value.hint


def test_the_rest_of_a_long_video_is_reported(finder: LandmarkFinder, tmp_path: Path) -> None:
    from lia_live.train.prepare_frames import VideoFrames

    path = moving.write(tmp_path / "long.mp4", moving.swaying(moving.astronaut(), 75))
    config = PrepareConfig(clips=ClipConfig(side=64, max_s=1, max_video_s=2))
    found = prepare_shots(VideoFrames(path, config.clips), "long.mp4", config, finder)
    assert sum(len(clip.frames) for clip in found.clips) == 25
    assert "first 2 s" in found.dropped["long.mp4#rest"]


def test_nobody_is_carried_from_one_clip_into_the_next(
    swaying: list, finder: LandmarkFinder
) -> None:
    """The finder follows faces: a clip that comes after another is as if it came alone."""
    alone = prepare_clip(swaying, SMALL, LandmarkFinder(), fps=12.5)
    prepare_clip(
        moving.swaying(np.roll(moving.hopper(), 60, axis=1), 24), PrepareConfig(), finder, fps=12.5
    )
    after = prepare_clip(swaying, SMALL, finder, fps=12.5)
    apart = (alone.landmarks - after.landmarks)[..., :2].norm(dim=2)  # (24, 478)
    assert float(apart.median(1).values.max()) < 0.6
