"""``avatar build|info`` and ``weights info``: what is made, and what is said about it."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from lia_live.cli import main
from tests.track.faces import hopper


@pytest.fixture
def bundle(files, tmp_path):
    path = tmp_path / "me.avatar"
    words = [
        "--weights",
        str(files / "tiny.safetensors"),
        "--device",
        "cpu",
        "--consent",
        "permission",
    ]
    assert main(["avatar", "build", str(files / "me.png"), "--out", str(path), *words]) == 0
    return path


def test_a_mouth_has_other_looks_unless_it_is_to_be_kept(tmp_path):
    picture = tmp_path / "grace.png"
    Image.fromarray(hopper()).save(picture)
    made = []
    for words in ([], ["--keep-mouth"]):
        path = tmp_path / f"{len(made)}.avatar"
        words = [*words, "--consent", "permission", "--device", "cpu"]
        assert main(["avatar", "build", str(picture), "--out", str(path), *words]) == 0
        made.append(load_file(path))
    moved, kept = made
    others = set(moved) - set(kept)
    assert {"mouths.by", "mouths.0.latent", "mouths.3.latent"} < others
    assert all(key.startswith("mouths.") for key in others)
    for key in ("crop", "thumbnail", "landmarks", "look.motion"):
        assert torch.equal(moved[key], kept[key])


def test_bundle_says_what_it_is(bundle, capsys):
    capsys.readouterr()
    assert main(["avatar", "info", str(bundle), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["name"] == "me"
    assert about["consent"] == "permission"
    assert len(about["fingerprint"]) == 16


def test_bundle_carries_its_consent_into_a_run(bundle, files, monkeypatch, tmp_path):
    """On another machine, in effect: the state folder knows nothing of it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    words = ["--camera", str(files / "clip.mp4"), "--weights", str(files / "tiny.safetensors")]
    with (tmp_path / "nobody").open("w+") as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        code = main(["--avatar", str(bundle), *words, "--output", "none", "--duration", "0.3"])
    assert code == 0


def test_names_that_make_no_sense(files, capsys, tmp_path):
    picture = str(files / "me.png")
    assert main(["avatar", "build", picture, "--out", str(tmp_path / "me.png")]) == 2
    assert main(["avatar", "build", str(tmp_path / "me.avatar")]) == 2
    assert main(["weights", "convert", "vox.pt", "--out", "vox.bin"]) == 2


def test_weights_info(files, capsys):
    weights = str(files / "tiny.safetensors")
    assert main(["weights", "info", weights, "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["size"] == 64
    assert about["name"] == "tiny 0"
    assert main(["weights", "info", weights]) == 0
    assert about["fingerprint"] in capsys.readouterr().out


def test_conversion_does_not_overwrite(files, capsys, tmp_path):
    assert main(["weights", "convert", "vox.pt", "--out", str(files / "tiny.safetensors")]) == 2
    assert "--force" in capsys.readouterr().err


def test_conversion_into_no_folder_is_said_before_anything_is_read(capsys, tmp_path):
    (tmp_path / "file").touch()
    for folder in ("no", "file"):
        out = tmp_path / folder / "vox.safetensors"
        assert main(["weights", "convert", "vox.pt", "--out", str(out)]) == 4
        assert "there is no folder" in capsys.readouterr().err
