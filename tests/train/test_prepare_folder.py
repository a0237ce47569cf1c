"""A folder of everything to a prepared folder: kept, dropped and why, gone on with, and never another's."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from lia_live.errors import ConfigError, MediaError, StorageError
from lia_live.train.portraits import Portraits
from lia_live.train.prepare import ClipConfig, PrepareConfig, PrepareReport, prepare_folder
from lia_live.train.prepare_page import write_page
from lia_live.train.prepare_report import Entry
from lia_live.train.prepared import Prepared
from tests.train import moving

CONFIG = PrepareConfig(
    side=96,
    max_border=0.35,
    max_bad=0.5,
    held_out=("p0015",),
    held_out_every=0,
    clips=ClipConfig(side=64),
)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> Path:
    """Good and bad pictures and videos of every kind; every file says in its name what it is."""
    folder = tmp_path_factory.mktemp("mixed")
    face = Image.fromarray(skimage.data.astronaut())
    face.save(folder / "p0015.png")
    face.resize((480, 480)).save(folder / "p0016_again.jpg", quality=80)
    face.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "p0017_mirrored.png")
    Image.new("RGB", (64, 64), "red").save(folder / "no_face.png")
    Image.new("RGB", (1, 1)).save(folder / "one_pixel.png")
    face.resize((64, 64)).save(folder / "tiny.png")
    face.resize((128, 128)).save(
        folder / "animated.gif", save_all=True, append_images=[face.rotate(20).resize((128, 128))]
    )
    (folder / "text.jpg").write_text("no picture")
    data = (folder / "p0015.png").read_bytes()
    (folder / "cut_off.png").write_bytes(data[: len(data) // 2])
    (folder / "empty.webp").touch()
    frames = moving.swaying(moving.astronaut(), 40)
    clip = moving.write(folder / "v1.mp4", frames)
    shutil.copy(clip, folder / "v2_again.mp4")
    shutil.copy(clip, folder / "a_video.jpg")
    shutil.copy(folder / "p0015.png", folder / "a_picture.mp4")
    (folder / "text.mp4").write_text("no video")
    moving.write(folder / "still.mp4", [moving.astronaut()] * 24)
    moving.write(folder / "one_frame.mp4", frames[:1])
    moving.write_frames(folder / "frames" / "id1#x", moving.swaying(moving.hopper(), 24))
    (folder / "index.csv").write_text("file,repo\np0001.jpg,a/b\np0015.png,c/d\n")
    return folder


@pytest.fixture(scope="module")
def prepared(mixed: Path, tmp_path_factory) -> tuple[Path, PrepareReport]:
    out = tmp_path_factory.mktemp("out") / "new" / "folder"
    return out, prepare_folder(mixed, out, CONFIG)


def test_what_is_kept(prepared: tuple[Path, PrepareReport]) -> None:
    out, report = prepared
    assert sorted(report.kept) == ["frames/id1#x", "p0015.png", "p0017_mirrored.png", "v1.mp4"]
    loaded = Prepared.load(out)
    assert loaded.portraits is not None and loaded.clips is not None
    assert loaded.portraits.names == ("p0015.png", "p0017_mirrored.png")
    assert loaded.portraits.groups == ("P2", "")
    assert loaded.portraits.held_out.tolist() == [True, False]
    assert loaded.portraits.side == 96
    assert sorted(loaded.clips.names) == ["frames/id1#x", "v1.mp4"]
    assert (loaded.clips.side, loaded.clips.fps.tolist()) == (64, [12.5, 12.5])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("p0016_again.jpg", "same picture twice: p0015.png"),
        ("v2_again.mp4", "same clip twice: v1.mp4"),
        ("no_face.png", "no face found"),
        ("one_pixel.png", "no face found"),
        ("tiny.png", "face too small: eyes"),
        ("animated.gif", "an animation"),
        ("text.jpg", "not readable: is text, not a picture"),
        ("cut_off.png", "not readable: is damaged or cut short"),
        ("empty.webp", "not readable: is empty"),
        ("a_video.jpg", "not readable: is a video, not a picture"),
        ("a_picture.mp4", "not readable: a picture with the name of a video"),
        ("text.mp4", "not readable: is not a video"),
        ("still.mp4", "nothing moves"),
        ("one_frame.mp4", "one picture, not a video"),
    ],
)
def test_what_is_not_and_why(name: str, reason: str, prepared: tuple[Path, PrepareReport]) -> None:
    assert prepared[1].dropped[name].startswith(reason)


def test_every_file_is_accounted_for(mixed: Path, prepared: tuple[Path, PrepareReport]) -> None:
    report = prepared[1]
    files = {path.name for path in mixed.iterdir()} - {"index.csv", "frames"} | {"frames/id1#x"}
    assert {*report.kept, *report.dropped} == files
    assert report.bad == 6
    assert "kept 2 of 11 portraits, 1 of them held out" in report.summary()
    assert "6  not readable" in report.summary()


def test_the_report_is_kept_as_data_and_as_a_page(prepared: tuple[Path, PrepareReport]) -> None:
    out, report = prepared
    again = PrepareReport.load(out)
    assert again == report
    assert again.finished and again.settings["clips"]["side"] == 64
    page = (out / "report.html").read_text()
    for words in ("text.mp4", "nothing moves", "p0015.png", "held out", "data:image/"):
        assert words in page
    assert {path.name for path in out.iterdir()} == {
        "clips-00000.safetensors",
        "portraits-00000.safetensors",
        "report.html",
        "report.json",
    }


@pytest.mark.parametrize(
    ("held", "words"),
    [(0, "warning: nothing is held out"), (1, ""), (3, ""), (4, "warning: 40% is held out")],
)
def test_an_unlikely_share_held_out_is_warned_of(held: int, words: str, tmp_path: Path) -> None:
    entries = [Entry(f"{n}", f"{n}", "portrait", "kept", held_out=n < held) for n in range(10)]
    entries += [Entry("x", "x", "portrait", "dropped", "no face", held_out=True)] * 5
    report = PrepareReport("in", {"held_out_every": 15}, entries)
    last = report.summary().splitlines()[-1]
    assert last.startswith(words) if words else "warning" not in last
    write_page(report, tmp_path, tmp_path)
    assert (words.partition(" ")[2] in (tmp_path / "report.html").read_text()) and (
        ("Warning" in (tmp_path / "report.html").read_text()) == bool(words)
    )
    off = PrepareReport("in", {"held_out_every": 0, "held_out": []}, entries)
    assert "nothing is held out" not in off.summary(), "it was asked for"


def portraits_only(folder: Path, count: int) -> Path:
    """Portraits that are no duplicates: one face under ``count`` different patterns of light."""
    folder.mkdir()
    face = skimage.data.astronaut()[:400, 30:430].astype(np.float32)
    for number in range(count):
        light = np.random.default_rng(number).uniform(0.05, 1.7, (9, 9)).astype(np.float32)
        wide = np.asarray(Image.fromarray(light).resize((400, 400), Image.Resampling.BICUBIC))
        lit = np.clip(face * wide[..., None], 0, 255).astype(np.uint8)
        Image.fromarray(lit).save(folder / f"p{number:04}.png", compress_level=1)
    return folder


SHARDED = PrepareConfig(side=256, max_border=1.0, shard_mb=1, held_out_every=4)
"""Five portraits of 256 pixels are a mebibyte."""


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    return portraits_only(tmp_path_factory.mktemp("faces") / "in", 9)


def test_shards_stay_small(faces: Path, tmp_path: Path) -> None:
    report = prepare_folder(faces, tmp_path, SHARDED)
    assert report.dropped == {}
    assert [shard.items for shard in report.shards] == [5, 4]
    assert all(shard.bytes < 1.1 * 2**20 for shard in report.shards)
    loaded = Prepared.load(tmp_path).portraits
    assert loaded is not None
    assert loaded.names == tuple(f"p{number:04}.png" for number in range(9))
    assert loaded.held_out.nonzero().flatten().tolist() == [0, 4, 8]


def test_a_stopped_run_is_gone_on_with(faces: Path, tmp_path: Path) -> None:
    """Stopped twice, it ends with what one run makes; what was done is not done again."""
    prepare_folder(faces, tmp_path / "whole", SHARDED)
    out = tmp_path / "parts"
    told: list[int] = []
    for most in (3, 7):
        told.clear()

        def enough(most: int = most) -> bool:
            return told[-1] >= most

        stopped = prepare_folder(
            faces,
            out,
            SHARDED,
            progress=lambda done, of: told.append(done),
            stop=enough,
        )
        assert not stopped.finished and len(stopped.kept) == most
        with pytest.raises(MediaError, match="not finished") as caught:
            Prepared.load(out)
        assert "again" in caught.value.hint
    assert told[0] == 3
    report = prepare_folder(faces, out, SHARDED)
    assert report.finished
    one, other = Prepared.load(tmp_path / "whole").portraits, Prepared.load(out).portraits
    assert one is not None and other is not None
    assert one.names == other.names
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.held_out, other.held_out)


def test_duplicates_are_found_across_a_stop(faces: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    shutil.copytree(faces, folder)
    shutil.copy(folder / "p0000.png", folder / "p0099.png")
    asked = iter([False] * 2 + [True])
    prepare_folder(folder, tmp_path / "out", SHARDED, stop=lambda: next(asked))
    report = prepare_folder(folder, tmp_path / "out", SHARDED)
    assert report.dropped == {"p0099.png": "same picture twice: p0000.png"}


def test_a_moved_input_is_gone_on_with(faces: Path, tmp_path: Path) -> None:
    first, second, out = tmp_path / "a" / "in", tmp_path / "b" / "in", tmp_path / "out"
    shutil.copytree(faces, first)
    asked = iter([False] * 6 + [True])
    prepare_folder(first, out, SHARDED, stop=lambda: next(asked))
    second.parent.mkdir()
    first.rename(second)
    told: list[int] = []
    report = prepare_folder(second, out, SHARDED, progress=lambda done, of: told.append(done))
    assert told[0] == 6
    assert len(report.kept) == 9 and report.finished


def test_other_files_start_anew(faces: Path, tmp_path: Path) -> None:
    """Who is held out may be somebody else then."""
    folder, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(faces, folder)
    asked = iter([False] * 6 + [True])
    prepare_folder(folder, out, SHARDED, stop=lambda: next(asked))
    (folder / "p0000.png").rename(folder / "somebody.png")
    told: list[int] = []
    report = prepare_folder(folder, out, SHARDED, progress=lambda done, of: told.append(done))
    assert told[0] == 0
    assert len(report.kept) == 9 and "somebody.png" in report.kept


def test_nothing_says_where_the_input_lay(
    mixed: Path, prepared: tuple[Path, PrepareReport], tmp_path: Path
) -> None:
    """Neither in what is finished nor in what was given up for its damage."""
    folder = portraits_only(tmp_path / "in", 2)
    (folder / "p0001.png").write_text("broken")
    with pytest.raises(MediaError, match="1 of 2 files in in"):
        prepare_folder(folder, tmp_path / "out", SHARDED)
    for source, out in ((mixed, prepared[0]), (folder, tmp_path / "out")):
        assert json.loads((out / "report.json").read_text())["input"] == source.name
        for file in ("report.json", "report.html"):
            assert str(source.parent) not in (out / file).read_text()


def test_other_settings_start_anew(faces: Path, tmp_path: Path) -> None:
    asked = iter([False] * 3 + [True])
    prepare_folder(faces, tmp_path, SHARDED, stop=lambda: next(asked))
    (tmp_path / "notes.txt").write_text("mine")
    report = prepare_folder(faces, tmp_path, PrepareConfig(side=64, max_border=1.0, store="jpeg"))
    loaded = Prepared.load(tmp_path).portraits
    assert loaded is not None and (len(loaded), loaded.side) == (9, 64)
    assert [shard.file for shard in report.shards] == ["portraits-00000.safetensors"]
    assert (tmp_path / "notes.txt").read_text() == "mine", "what is not ours is left alone"


def test_a_killed_run_is_gone_on_with(faces: Path, tmp_path: Path) -> None:
    """No time to say goodbye: what had been written counts, the lock is nobody's."""
    program = (
        "import os, signal\n"
        "from lia_live.train.prepare import *\n"
        "def progress(done, of):\n"
        "    if done == 7: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"prepare_folder({str(faces)!r}, {str(tmp_path)!r}, "
        "PrepareConfig(side=256, max_border=1.0, shard_mb=1, held_out_every=4), progress=progress)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with pytest.raises(MediaError, match="not finished"):
        Prepared.load(tmp_path)
    (tmp_path / ".portraits-00001.safetensors.ab12.part").write_bytes(b"half")
    told: list[int] = []
    report = prepare_folder(faces, tmp_path, SHARDED, progress=lambda d, of: told.append(d))
    assert told[0] == 5, "one shard had been written"
    assert len(report.kept) == 9
    loaded = Prepared.load(tmp_path).portraits
    assert loaded is not None and len(loaded) == 9
    assert not list(tmp_path.glob(".*"))


def test_two_runs_in_one_folder(faces: Path, tmp_path: Path) -> None:
    program = (
        "import time\n"
        "from lia_live.train.prepare import *\n"
        "def progress(done, of):\n"
        "    print('running', flush=True)\n"
        "    time.sleep(60)\n"
        f"prepare_folder({str(faces)!r}, {str(tmp_path)!r}, progress=progress)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout.readline()
            with pytest.raises(ConfigError, match="another `train prepare`"):
                prepare_folder(faces, tmp_path, SHARDED)
        finally:
            other.kill()


def test_folders_of_others_are_left_alone(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="other files") as caught:
        prepare_folder(faces, tmp_path, SHARDED)
    assert "empty folder" in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(ConfigError, match="read and written at once"):
        prepare_folder(faces, faces, SHARDED)
    with pytest.raises(StorageError, match="cannot be written"):
        prepare_folder(faces, tmp_path / "thesis.txt" / "out", SHARDED)


def test_a_finished_folder_is_not_overwritten(
    mixed: Path, prepared: tuple[Path, PrepareReport]
) -> None:
    out = prepared[0]
    before = (out / "report.json").read_bytes()
    with pytest.raises(ConfigError, match="prepared already"):
        prepare_folder(mixed, out, CONFIG)
    assert (out / "report.json").read_bytes() == before
    Prepared.load(out)


def test_too_many_damaged_files_stop_it(tmp_path: Path) -> None:
    """Early, since no number of good files that follow can mend it; listed all the same."""
    folder = portraits_only(tmp_path / "in", 4)
    for number in range(2):
        (folder / f"a{number}.jpg").write_bytes(b"\xff\xd8\xff broken")
    out = tmp_path / "out"
    with pytest.raises(MediaError, match="2 of 6 files") as caught:
        prepare_folder(folder, out, SHARDED)
    assert "report.html" in caught.value.hint
    with pytest.raises(MediaError, match="not finished"):
        Prepared.load(out)
    report = json.loads((out / "report.json").read_text())
    assert [entry["name"] for entry in report["entries"]] == ["a0.jpg", "a1.jpg"]
    assert "2 of 6" in (out / "report.html").read_text()
    for file in folder.glob("a*.jpg"):
        file.unlink()
    assert len(prepare_folder(folder, out, SHARDED).kept) == 4, "mended, it is prepared"


def test_heic_is_no_damage(tmp_path: Path) -> None:
    """As many as there are: the files are sound. Whatever its name, what can be decoded is used."""
    folder = portraits_only(tmp_path / "in", 2)
    (folder / "p0001.png").rename(folder / "misnamed.heic")
    for name in ("IMG_1.HEIC", "IMG_2.heic", "IMG_3.jpg"):
        (folder / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(300))
    report = prepare_folder(folder, tmp_path / "out", SHARDED)
    assert report.kept == ["misnamed.heic", "p0000.png"]
    assert report.bad == 0
    assert report.reasons() == {"HEIC pictures are not decoded, convert them to JPEG": 3}
    assert "convert them to JPEG" in report.summary()


def test_one_damaged_file_of_five_is_passed_over(tmp_path: Path) -> None:
    folder = portraits_only(tmp_path / "in", 4)
    (folder / "a.jpg").write_text("broken")
    report = prepare_folder(folder, tmp_path / "out", SHARDED)
    assert (len(report.kept), report.bad) == (4, 1)


def test_nothing_usable_is_said(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(MediaError, match="no pictures and no videos"):
        prepare_folder(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (90, 90), "green").save(tmp_path / "in" / name)
    with pytest.raises(MediaError, match=r"no usable .* no face found \(2\)") as caught:
        prepare_folder(tmp_path / "in", tmp_path / "out")
    assert "room around the head" in caught.value.hint
    with pytest.raises(MediaError, match="not finished"):
        Prepared.load(tmp_path / "out")


def test_a_mended_file_is_read_again(tmp_path: Path) -> None:
    folder = portraits_only(tmp_path / "in", 2)
    good = (folder / "p0001.png").read_bytes()
    (folder / "p0001.png").write_bytes(good[:200])
    with pytest.raises(MediaError, match="1 of 2"):
        prepare_folder(folder, tmp_path / "out", SHARDED)
    (folder / "p0001.png").write_bytes(good)
    assert prepare_folder(folder, tmp_path / "out", SHARDED).kept == ["p0000.png", "p0001.png"]


def test_preparing_is_quick(faces: Path, tmp_path: Path) -> None:
    """A picture takes well under 0.1 s on one core: 1,500 of them less than two minutes."""
    began = time.process_time()
    prepare_folder(faces, tmp_path, SHARDED)
    assert time.process_time() - began < 6


def test_portraits_of_two_sides_are_not_joined(tmp_path: Path, faces: Path) -> None:
    prepare_folder(faces, tmp_path / "a", SHARDED)
    one = Portraits.load(tmp_path / "a" / "portraits-00001.safetensors")
    from dataclasses import replace

    from lia_live.train.portraits import join

    with pytest.raises(MediaError, match=r"\[128, 256\]"):
        join([one, replace(one, images=one.images[:, :, ::2, ::2])])
