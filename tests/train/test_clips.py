"""Prepared clips and folders: what is written is what is read, and nothing else is taken for it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lia_live.errors import MediaError, StorageError
from lia_live.train.clips import Clips, join, starts_of
from lia_live.train.prepared import FORMAT, Prepared
from tests.train.faces import drawn_portraits


def drawn_clips(*lengths: int, side: int = 32) -> Clips:
    """Clips of smooth colours, the landmarks of a drawn face moving a pixel a frame to the right."""
    count = sum(lengths)
    face = drawn_portraits((0.0,)).landmarks * (side / 160)
    moved = face.repeat(count, 1, 1)
    moved[:, :, 0] += torch.cat([torch.arange(length) for length in lengths])[:, None]
    ramp = torch.linspace(20, 220, side)
    picture = torch.stack(
        [ramp.expand(side, side), ramp[:, None].expand(side, side), ramp.expand(side, side)]
    )
    shade = torch.arange(count)[:, None, None, None] % 8
    return Clips(
        (picture[None] + shade).to(torch.uint8),
        moved,
        starts_of(lengths),
        torch.full((len(lengths),), 12.5),
        tuple(f"{number}.mp4" for number in range(len(lengths))),
        tuple("G" if number % 2 else "" for number in range(len(lengths))),
        torch.tensor([number == 0 for number in range(len(lengths))]),
    )


def same(one: Clips, other: Clips) -> bool:
    return all(
        torch.equal(getattr(one, name), getattr(other, name))
        for name in ("frames", "landmarks", "starts", "fps", "held_out")
    ) and (one.names, one.groups) == (other.names, other.groups)


def test_round_trip(tmp_path: Path) -> None:
    clips = drawn_clips(3, 5, 2)
    clips.save(tmp_path / "new" / "clips.safetensors")
    assert same(Clips.load(tmp_path / "new" / "clips.safetensors"), clips)


def test_jpeg_is_smaller_and_nearly_the_same(tmp_path: Path) -> None:
    clips = drawn_clips(6, 6, side=128)
    clips.save(tmp_path / "raw.safetensors")
    clips.save(tmp_path / "small.safetensors", store="jpeg")
    small, raw = (tmp_path / f"{name}.safetensors" for name in ("small", "raw"))
    assert small.stat().st_size < raw.stat().st_size / 3
    loaded = Clips.load(small)
    assert (loaded.frames.float() - clips.frames.float()).abs().mean() < 2
    assert same(replace(loaded, frames=clips.frames), clips)
    portraits = drawn_portraits()
    portraits.save(tmp_path / "portraits.safetensors", store="jpeg")
    again = Prepared.load(tmp_path / "portraits.safetensors").portraits
    assert again is not None
    assert again.names == portraits.names
    assert (again.images.float() - portraits.images.float()).abs().mean() < 3


def test_select_keeps_frames_with_their_clip() -> None:
    clips = drawn_clips(3, 5, 2)
    chosen = clips.select(torch.tensor([2, 0]))
    chosen.check()
    assert chosen.names == ("2.mp4", "0.mp4")
    assert chosen.lengths.tolist() == [2, 3]
    assert torch.equal(chosen.frames[:2], clips.frames[8:])
    assert torch.equal(chosen.landmarks[2:], clips.landmarks[:3])
    assert clips.select(~clips.held_out).names == ("1.mp4", "2.mp4")
    assert clips.select(clips.in_groups("G")).names == ("1.mp4",)
    assert len(clips.select(clips.in_groups("other"))) == 0
    assert same(join([clips.select(torch.tensor([i])) for i in range(3)]), clips)


def test_motion_is_measured_in_eye_distances() -> None:
    still = drawn_clips(9)
    still.landmarks[:] = still.landmarks[:1].clone()
    assert float(still.motion()) == pytest.approx(0, abs=1e-5)
    eyes = 0.34 * 32
    # positions 0..8 px have the standard deviation sqrt((9² - 1) / 12)
    assert float(drawn_clips(9).motion()) == pytest.approx((80 / 12) ** 0.5 / eyes, rel=1e-3)


@pytest.mark.parametrize(
    "damage",
    [
        {"starts": torch.tensor([0, 3, 7, 10])},
        {"starts": torch.tensor([0, 3, 3, 8])},
        {"starts": torch.tensor([1, 3, 5, 8])},
        {"fps": torch.tensor([12.5, 0.0, 12.5])},
        {"fps": torch.tensor([12.5, 12.5])},
        {"frames": torch.zeros(8, 3, 32, 16, dtype=torch.uint8)},
        {"frames": torch.zeros(8, 3, 32, 32)},
        {"landmarks": torch.full((8, 478, 3), float("nan"))},
        {"groups": ("",)},
        {"held_out": torch.zeros(2, dtype=torch.bool)},
    ],
)
def test_what_does_not_fit_together_is_refused(damage: dict, tmp_path: Path) -> None:
    clips = replace(drawn_clips(3, 2, 3), **damage)
    with pytest.raises(MediaError, match="do not fit"):
        clips.check()
    clips.save(tmp_path / "damaged.safetensors")
    with pytest.raises(MediaError, match="do not fit"):
        Prepared.load(tmp_path / "damaged.safetensors")


def test_sizes_are_not_mixed() -> None:
    with pytest.raises(MediaError, match=r"\[16, 32\]"):
        join([drawn_clips(2), drawn_clips(2, side=16)])


def prepared_folder(folder: Path, finished: bool = True) -> Path:
    """Two shards of clips and one of portraits."""
    folder.mkdir(exist_ok=True)
    drawn_portraits().save(folder / "portraits-00000.safetensors")
    drawn_clips(3, 5).save(folder / "clips-00000.safetensors")
    drawn_clips(4).save(folder / "clips-00001.safetensors")
    names = ("portraits-00000", "clips-00000", "clips-00001")
    shards = [{"file": f"{name}.safetensors"} for name in names]
    report = {"format": FORMAT, "finished": finished, "shards": shards}
    (folder / "report.json").write_text(json.dumps(report))
    return folder


def test_a_folder_is_read_whole(tmp_path: Path) -> None:
    prepared = Prepared.load(prepared_folder(tmp_path))
    assert prepared.portraits is not None and prepared.clips is not None
    assert len(prepared.portraits) == 3
    assert prepared.clips.lengths.tolist() == [3, 5, 4]
    only = Prepared.load(tmp_path / "clips-00001.safetensors")
    assert only.portraits is None and only.clips is not None and len(only.clips) == 1


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no prepared data") as caught:
        Prepared.load(tmp_path / "absent")
    assert "train prepare" in caught.value.hint
    with pytest.raises(MediaError, match="not written by"):
        Prepared.load(tmp_path)
    with pytest.raises(MediaError, match="not finished"):
        Prepared.load(prepared_folder(tmp_path, finished=False))
    prepared_folder(tmp_path)
    (tmp_path / "clips-00001.safetensors").unlink()
    with pytest.raises(MediaError, match=r"lacks clips-00001\.safetensors"):
        Prepared.load(tmp_path)
    for words in ("{", "[]", '{"format": "other"}', json.dumps({"format": FORMAT, "shards": [3]})):
        (tmp_path / "report.json").write_text(words)
        with pytest.raises(MediaError, match="cannot be used"):
            Prepared.load(tmp_path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(b"something else")
    with pytest.raises(MediaError, match="cannot read"):
        Prepared.load(wrong)
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, str(wrong))
    with pytest.raises(MediaError, match="neither"):
        Prepared.load(wrong)
    with pytest.raises(MediaError, match="not a file of lia-live clips"):
        Clips.load(wrong)


def test_damaged_jpeg_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clips.safetensors"
    drawn_clips(4).save(path, store="jpeg")
    whole = path.read_bytes()
    at = whole.find(b"\xff\xd8\xff")
    path.write_bytes(whole[:at] + bytes(64) + whole[at + 64 :])
    with pytest.raises(MediaError, match="cannot read"):
        Clips.load(path)


def test_no_place_to_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        drawn_clips(2).save(tmp_path / "file" / "clips.safetensors")


def test_loading_needs_no_face_finder(tmp_path: Path) -> None:
    """A bare GPU machine reads what was prepared elsewhere: JPEG asks for Pillow, raw for nothing more."""
    raw = prepared_folder(tmp_path / "raw")
    program = (
        "import sys\nfrom lia_live.train.prepared import Prepared\n"
        f"assert len(Prepared.load({str(raw)!r}).clips) == 3\n"
        "print(*sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout.split()) & {"mediapipe", "cv2", "av", "PIL"}
