"""Bundles: what is saved comes back; anything else is refused in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lia_live.avatar import Avatar, describe, read_label
from lia_live.errors import AvatarError, LiaLiveError, StorageError
from lia_live.model import LIA, Direction
from tests.avatar.pictures import tiny
from tests.track.faces import hopper, room

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    return Avatar.from_image(hopper(), tiny(), name="Grace").with_consent("not-a-person")


@pytest.fixture
def bundle(avatar: Avatar, tmp_path: Path) -> Path:
    path = tmp_path / "grace.avatar"
    avatar.save(path)
    return path


def test_what_is_saved_comes_back(avatar: Avatar, bundle: Path) -> None:
    again = Avatar.load(bundle, tiny())
    assert again.name == "Grace"
    assert again.consent == "not-a-person"
    assert again.fingerprint == avatar.fingerprint
    assert torch.equal(again.look.latent, avatar.look.latent)
    assert torch.equal(again.look.motion, avatar.look.motion)
    for one, other in zip(again.look.features, avatar.look.features, strict=True):
        assert torch.equal(one, other)
    assert (again.crop == avatar.crop).all()
    assert (again.thumbnail == avatar.thumbnail).all()
    assert again.face_landmarks is not None and avatar.face_landmarks is not None
    assert (again.face_landmarks == avatar.face_landmarks).all()
    assert [path.name for path in bundle.parent.iterdir()] == ["grace.avatar"]
    again.save(bundle)  # over itself
    assert Avatar.load(bundle, tiny()).name == "Grace"


def with_mouths() -> Avatar:
    model = LIA(tiny().config).eval()
    model.load_state_dict(tiny().state_dict())
    model.directions = (Direction("mouth open"), *model.directions[1:])
    return Avatar.from_image(hopper(), model)


def test_looks_of_its_mouth_come_back(tmp_path: Path) -> None:
    avatar = with_mouths()
    assert len(avatar.mouths) == 4
    path = tmp_path / "grace.avatar"
    avatar.save(path)
    assert describe(path)["version"] == 3
    again = Avatar.load(path, tiny())
    assert [mouth.by for mouth in again.mouths] == pytest.approx([m.by for m in avatar.mouths])
    for one, other in zip(again.mouths, avatar.mouths, strict=True):
        assert torch.equal(one.look.latent, other.look.latent)
        assert torch.equal(one.look.motion, other.look.motion)
        for found, kept in zip(one.look.features, other.look.features, strict=True):
            assert torch.equal(found, kept)


@pytest.mark.parametrize(
    "change, word",
    [
        (lambda t: t.pop("mouths.2.motion"), "mouths.2.motion"),
        (lambda t: t.pop("mouths.by"), "mouths.by"),
        (lambda t: t["mouths.by"].fill_(float("nan")), "not finite"),
        (lambda t: t.update({"mouths.by": torch.zeros(3)}), "shape"),
        (lambda t: t.update({"mouths.4.latent": torch.zeros(1, 32)}), "mouths.4.latent"),
    ],
)
def test_spoiled_mouths(tmp_path: Path, change: Callable[[dict], object], word: str) -> None:
    path = tmp_path / "grace.avatar"
    with_mouths().save(path)
    other_tensors(change)(path)
    refused(path, word)


def test_a_full_frame_avatar_without_consent(tmp_path: Path) -> None:
    model = tiny(kind="full")
    Avatar.from_image(room(200, 200), model).save(tmp_path / "a.avatar")
    again = Avatar.load(tmp_path / "a.avatar", model)
    assert again.face_landmarks is None
    assert again.consent is None


def test_what_it_says_about_itself(bundle: Path) -> None:
    label = read_label(bundle)
    assert (label.name, label.model, label.consent) == ("Grace", "tiny 0", "not-a-person")
    assert json.loads(label.config) == asdict(tiny().config)
    assert label.created_by.startswith("lia-live")
    about = describe(bundle)
    assert about["size"] == about["config"]["size"] == 64
    assert about["fingerprint"] == tiny().fingerprint
    json.dumps(about)


def test_another_models_bundle_names_both(bundle: Path) -> None:
    with pytest.raises(AvatarError) as caught:
        Avatar.load(bundle, tiny(seed=1))
    for words in ("'tiny 0'", "'tiny 1'", tiny().fingerprint, tiny(seed=1).fingerprint):
        assert words in caught.value.message
    assert "--weights" in caught.value.hint


def refused(path: Path, *words: str) -> None:
    with pytest.raises(AvatarError) as caught:
        Avatar.load(path, tiny())
    said = caught.value.message
    assert "\n" not in said + caught.value.hint
    assert str(path) in said
    assert caught.value.hint
    assert all(word in said for word in words), said


@pytest.mark.parametrize("kept", [0.0, 0.00005, 0.001, 0.01, 0.5, 0.9999])
def test_cut_short(bundle: Path, kept: float) -> None:
    content = bundle.read_bytes()
    bundle.write_bytes(content[: int(kept * len(content))])
    refused(bundle)
    with pytest.raises(AvatarError):
        describe(bundle)


def test_with_something_behind(bundle: Path) -> None:
    bundle.write_bytes(bundle.read_bytes() + b"more")
    refused(bundle, "damaged")


@pytest.mark.parametrize(
    "content",
    [
        b"text, not an avatar " * 50,
        bytes(5000),
        b"\xff" * 5000,
        b"\x02\0\0\0\0\0\0\0{}",
        b"\x04\0\0\0\0\0\0\0null",
    ],
)
def test_no_bundle_at_all(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.avatar"
    path.write_bytes(content)
    refused(path, "not an avatar bundle")


def test_missing_and_folder(tmp_path: Path) -> None:
    refused(tmp_path / "nobody.avatar", "no such avatar")
    refused(tmp_path, "folder")


def other_tensors(change: Callable[[dict], None]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        label = read_metadata(path)
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, label)

    return apply


def read_metadata(path: Path) -> dict[str, str]:
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return header["__metadata__"]


def other_label(**changes: str | None) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        label = read_metadata(path)
        label.update({key: value for key, value in changes.items() if value is not None})
        for key in [key for key, value in changes.items() if value is None]:
            del label[key]
        save_file(load_file(path), path, label)

    return apply


def not_finite(tensors: dict) -> None:
    tensors["look.features.2"][0, 0, 0, 0] = float("nan")


SPOILED = {
    "missing part": (other_tensors(lambda t: t.pop("look.motion")), "look.motion"),
    "extra part": (other_tensors(lambda t: t.update(evil=torch.zeros(3))), "evil"),
    "no landmarks": (other_tensors(lambda t: t.pop("landmarks")), "landmarks"),
    "wrong shape": (other_tensors(lambda t: t.update(crop=torch.zeros(32, 64, 3).byte())), "shape"),
    "wrong dtype": (
        other_tensors(lambda t: t.update({"look.latent": t["look.latent"].half()})),
        "float16",
    ),
    "not finite": (other_tensors(not_finite), "not finite"),
    "infinite": (other_tensors(lambda t: t["landmarks"].fill_(float("inf"))), "not finite"),
    "too large": (other_tensors(lambda t: t.update(evil=torch.zeros(2**21))), "more than"),
    "newer": (other_label(version="5"), "version 5"),
    "version of other parts": (other_label(version="3"), "mouths.0.features.0"),
    "version of letters": (other_label(version="new\nline" * 50), "version"),
    "another format": (other_label(format="weights"), "not an avatar"),
    "no name": (other_label(name=None), "labels"),
    "extra label": (other_label(more="x"), "labels"),
    "strange consent": (other_label(consent="whatever"), "consent"),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_spoiled(bundle: Path, kind: str) -> None:
    spoil, word = SPOILED[kind]
    spoil(bundle)
    refused(bundle, word)


def test_names_cannot_play_tricks_with_a_terminal(bundle: Path) -> None:
    other_label(name="\x1b[2J\nme\u202e  there" + "x" * 999)(bundle)
    name = Avatar.load(bundle, tiny()).name
    assert name.startswith("[2J me there")
    assert name.isprintable()
    assert len(name) <= 120


def test_every_flipped_byte_of_the_header_is_survived(bundle: Path) -> None:
    content = bundle.read_bytes()
    length = int.from_bytes(content[:8], "little")
    positions = np.random.default_rng(0).integers(0, 8 + length, 150)
    for position in positions:
        damaged = bytearray(content)
        damaged[position] ^= 0x15
        bundle.write_bytes(damaged)
        try:
            Avatar.load(bundle, tiny())
        except LiaLiveError as error:
            assert "\n" not in error.message


def test_a_place_that_cannot_be_written(avatar: Avatar, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "no" / "folder.avatar", tmp_path / "file" / "x.avatar", tmp_path):
        with pytest.raises(StorageError, match="cannot be written") as caught:
            avatar.save(path)
        assert caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files by setrlimit")
def test_a_full_disk_leaves_the_old_bundle_and_nothing_else(bundle: Path) -> None:
    """For real: in a child that may write no file over 20 kB."""
    before = bundle.read_bytes()
    program = f"""
import resource
from lia_live.avatar import Avatar
from lia_live.errors import StorageError
from tests.avatar.pictures import tiny
avatar = Avatar.load({str(bundle)!r}, tiny())
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    avatar.save({str(bundle)!r})
except StorageError as error:
    print(error.message, "|", error.hint)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "cannot be written" in done.stdout
    assert "free some space" in done.stdout
    assert bundle.read_bytes() == before
    assert [path.name for path in bundle.parent.iterdir()] == ["grace.avatar"]
