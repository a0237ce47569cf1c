"""What is found in an input folder, what it is taken for, and what is held out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lia_live.errors import ConfigError, MediaError
from lia_live.io.names import natural
from lia_live.train.prepare_config import PrepareConfig
from lia_live.train.prepare_inputs import Item, find_items, frames_of
from lia_live.train.prepare_split import held_out
from tests.train import moving

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(300)


def items(folder: Path, **settings) -> dict[str, Item]:
    return {item.name: item for item in find_items(folder, PrepareConfig(**settings))}


def picture(path: Path, seed: int = 0) -> Path:
    """Coarse noise: two of them have nothing in common."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), np.uint8)
    Image.fromarray(noise).resize((48, 48)).save(path)
    return path


def slow_video(folder: Path, count: int) -> Path:
    """Frames that change a little from one to the next, without a face: nobody looks for one here."""
    ramp = np.linspace(0, 200, 48).astype(np.uint8)
    return moving.write_frames(
        folder, [np.stack([np.tile(np.roll(ramp, n), (48, 1))] * 3, 2) for n in range(count)]
    )


def test_files_are_what_they_are_not_what_they_are_called(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "sub" / "b.jpg")
    picture(tmp_path / "c.png").rename(tmp_path / "no suffix")
    clip = moving.write(tmp_path / "d.mp4", [np.zeros((64, 64, 3), np.uint8)] * 2)
    (tmp_path / "e.bin").write_bytes(clip.read_bytes())
    (tmp_path / "phone").write_bytes(HEIC)
    for other in ("notes.txt", "SOURCES.md", ".hidden.jpg", "table.csv"):
        (tmp_path / other).write_text("words")
    picture(tmp_path / ".trash" / "f.png")
    found = items(tmp_path)
    assert {name: item.kind for name, item in found.items()} == {
        "a.png": "picture",
        "d.mp4": "video",
        "e.bin": "video",
        "no suffix": "picture",
        "phone": "picture",
        "sub/b.jpg": "picture",
    }


def test_a_single_file(tmp_path: Path) -> None:
    clip = moving.write(tmp_path / "d.mp4", [np.zeros((64, 64, 3), np.uint8)] * 2)
    assert list(items(clip)) == ["d.mp4"]


def test_the_layout_of_fomm(tmp_path: Path) -> None:
    for split, video in (("train", "id1#a"), ("train", "id2#b"), ("test", "id3#c")):
        slow_video(tmp_path / split / video, 12)
    slow_video(tmp_path / "test" / "id4#d", 1)  # so short: its neighbours say what it is
    moving.write(tmp_path / "train" / "e.mp4", [np.zeros((64, 64, 3), np.uint8)] * 2)
    found = items(tmp_path, held_out_every=1)
    assert {name: (item.kind, item.held_out) for name, item in found.items()} == {
        "train/id1#a": ("frames", False),
        "train/id2#b": ("frames", False),
        "train/e.mp4": ("video", False),
        "test/id3#c": ("frames", True),
        "test/id4#d": ("frames", True),
    }
    frames = frames_of(found["train/id1#a"].path)
    assert [path.name for path in frames[:2]] == ["0000000.png", "0000001.png"]
    assert items(tmp_path / "train" / "id1#a")["id1#a"].kind == "frames"


def test_numbered_portraits_are_no_video(tmp_path: Path) -> None:
    """As FFHQ has them: folders of numbered pictures of different people."""
    for number in range(12):
        picture(tmp_path / "00000" / f"{number:05}.png", number)
    found = items(tmp_path)
    assert len(found) == 12
    assert {item.kind for item in found.values()} == {"picture"}


def test_portraits_beside_a_video_stay_portraits(tmp_path: Path) -> None:
    for number in range(5):
        picture(tmp_path / "faces" / f"p{number:04}.png", number)
    slow_video(tmp_path / "me", 8)
    kinds = {name: item.kind for name, item in items(tmp_path).items()}
    assert kinds.pop("me") == "frames"
    assert set(kinds.values()) == {"picture"} and len(kinds) == 5


def test_of_many_folders_some_are_looked_at(tmp_path: Path) -> None:
    for number in range(20):
        slow_video(tmp_path / f"v{number}", 3)
    assert [item.kind for item in items(tmp_path).values()] == ["frames"] * 20


def test_frames_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = slow_video(tmp_path / "v", 12)
    for path in sorted(folder.iterdir()):
        path.rename(folder / f"frame{int(path.stem)}.png")
    frames = frames_of(items(tmp_path)["v"].path)
    assert [path.stem for path in frames[8:]] == ["frame8", "frame9", "frame10", "frame11"]


def test_the_pair_of_fomm_at_any_depth(tmp_path: Path) -> None:
    """What lies in its folder follows it; what lies elsewhere is counted."""
    for name in ("vox/train/a.mp4", "vox/test/b.mp4", "vox/test/sub/c.mp4", "vox/more.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"anything")
    for name in ("own/test/1.mp4", "own/test/2.mp4", "test.mp4"):  # no pair
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"anything")
    held = [name for name, item in items(tmp_path, held_out_every=3).items() if item.held_out]
    assert held == ["test.mp4", "vox/test/b.mp4", "vox/test/sub/c.mp4"]
    slow_video(tmp_path / "two" / "train", 8)  # one clip each
    slow_video(tmp_path / "two" / "test", 8)
    assert items(tmp_path / "two")["test"].held_out
    assert items(tmp_path, held_out_every=0)["two/test"].held_out


def held(names: list[str], every: int = 15) -> list[str]:
    return sorted(held_out(names, PrepareConfig(held_out_every=every)), key=natural)


def test_every_so_many_are_held_out_by_number(tmp_path: Path) -> None:
    for seed, name in enumerate(("p0014.png", "p0015.png", "p0030.png")):
        picture(tmp_path / name, seed)
    assert [n for n, i in items(tmp_path).items() if i.held_out] == ["p0015.png", "p0030.png"]
    assert not any(item.held_out for item in items(tmp_path, held_out_every=0).values())
    whole = held([f"p{number:04}.jpg" for number in range(1, 1501)])
    assert whole == [f"p{number:04}.jpg" for number in range(15, 1501, 15)]
    assert held([f"{n // 10:02}000/{n:05}.png" for n in range(1, 40)]) == [
        "01000/00015.png",
        "03000/00030.png",
    ], "in all of the input"
    mixed = [f"faces/p{number}.jpg" for number in range(7, 40)] + ["me.mp4", "you.mp4"]
    assert held(mixed) == ["faces/p15.jpg", "faces/p30.jpg"], "in a folder"


@pytest.mark.parametrize(
    "name",
    ["2025-03-{day:02} 12.00.jpg", "IMG_20241105_{day}0000.jpg", "2025/{day}/1.jpg", "v1_{day}/"],
)
def test_numbers_that_are_no_counters_do_not_count(name: str) -> None:
    """Dates, times, one counter a folder: by place, 2 before 10."""
    names = [name.format(day=day) for day in range(1, 31)]
    assert held(names) == [names[14], names[29]]
    assert held(list(reversed(names))) == [names[14], names[29]]


def test_the_first_of_several_numbers_does_not_count() -> None:
    names = [f"{15 * number}_{number}.jpg" for number in range(1, 31)]
    assert held(names) == [names[14], names[29]]


def test_names_without_numbers_are_counted_by_place() -> None:
    assert held(["a.jpg", "b10.jpg", "b2.jpg", "c.jpg", "d.jpg"], 3) == ["b10.jpg"]
    assert held(["clip15.mp4"]) == [], "one file is no series"


def test_everything_comes_in_natural_order(tmp_path: Path) -> None:
    for folder in ("v10", "v9", "v1"):
        slow_video(tmp_path / folder, 4)
        picture(tmp_path / f"{folder}.png")
        picture(tmp_path / f"s{folder}" / "one.png")
    whole = ["v1", "v9", "v10", "v1.png", "v9.png", "v10.png"]
    assert list(items(tmp_path)) == [*whole, "sv1/one.png", "sv9/one.png", "sv10/one.png"]


@pytest.mark.parametrize(
    "wanted", ["sub/d01_a.mp4", "sub/d01_a", "d01_a.mp4", "d01_a", "d01_*", "sub/*1*"]
)
def test_a_list_of_names_is_held_out(wanted: str, tmp_path: Path) -> None:
    for name in ("d01_a.mp4", "d02_b.mp4"):
        (tmp_path / "sub").mkdir(exist_ok=True)
        (tmp_path / "sub" / name).write_bytes(b"anything")
    found = items(tmp_path, held_out=(wanted,), held_out_every=0)
    assert [name for name, item in found.items() if item.held_out] == ["sub/d01_a.mp4"]


def test_a_name_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """It would be trained on."""
    picture(tmp_path / "a.png")
    with pytest.raises(ConfigError, match=r"b\.png"):
        items(tmp_path, held_out=("b.png",))


def test_groups_come_from_the_table(tmp_path: Path) -> None:
    for name in ("p/a.png", "p/b.png", "p/c.png", "q/d.png"):
        picture(tmp_path / name)
    (tmp_path / "p" / "index.csv").write_text("file,repo\na.png,x/y\nother.png,u/v\nb.png,u/v\n")
    (tmp_path / "index.csv").write_text("file,group\nq/d.png,OWN\n")
    found = items(tmp_path, group="REST")
    assert [item.group for item in found.values()] == ["P1", "P2", "REST", "OWN"]
    assert items(tmp_path / "p")["b.png"].group == "P2", "the table in the folder itself"
    (tmp_path / "p" / "index.csv").write_bytes(b"file,group\n\xff\xfe,x\n")
    with pytest.raises(MediaError, match=r"index\.csv cannot be read"):
        items(tmp_path)


def test_nothing_to_do_is_said(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no pictures and no videos") as caught:
        items(tmp_path)
    assert "folder" in caught.value.hint
    with pytest.raises(MediaError, match="no folder"):
        items(tmp_path / "absent")
    (tmp_path / "notes.txt").write_text("words")
    with pytest.raises(MediaError, match="no pictures and no videos"):
        items(tmp_path / "notes.txt")


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "one.png")
    os.symlink(tmp_path, tmp_path / "a" / "up")
    assert list(items(tmp_path)) == ["a/one.png"]
