"""Bundles that carry a network of their own, on the command line: shown by it, with no other weights loaded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lia_live.avatar import Avatar
from lia_live.cli import main
from lia_live.model import LIA, LIAConfig
from tests.cli.material import frames_in


def personal(seed: int, size: int = 64) -> LIA:
    torch.manual_seed(seed)
    model = LIA(LIAConfig(size=size, width=0.0625, latent_dim=32)).eval()
    model.name, model.licence = f"own {seed}", "mine"
    return model


@pytest.fixture(scope="module")
def bundles(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """mine.avatar and large.avatar (128 px) with networks of their own, plain.avatar without."""
    from lia_live.model import load_model

    folder = tmp_path_factory.mktemp("bundles")
    made = {
        "large": Avatar.from_image(files / "me.png", personal(2, size=128), carry=True),
        "mine": Avatar.from_image(files / "me.png", personal(1), carry=True),
        "plain": Avatar.from_image(files / "me.png", load_model(files / "tiny.safetensors")),
    }
    for name, avatar in made.items():
        avatar.with_consent("me").save(folder / f"{name}.avatar")
    return folder


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading any would end the command with a traceback."""

    def refuse(*spec: object) -> None:
        raise AssertionError(f"nobody needs the weights {spec}")

    monkeypatch.setattr("lia_live.model.load_model", refuse)


def run(files: Path, *words: object) -> int:
    more = ["--camera", files / "clip.mp4", "--device", "cpu", "--output", "none"]
    return main([str(word) for word in (*words, *more)])


def test_info_says_that_it_carries_one(bundles: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["avatar", "info", str(bundles / "mine.avatar"), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert set(about) == {
        "name", "model", "fingerprint", "size", "config", "consent", "created_by", "version",
        "bytes", "network",
    }  # fmt: skip
    assert about["version"] == 2
    assert (about["network"]["name"], about["network"]["licence"]) == ("own 1", "mine")
    assert about["network"]["parameters"] > 10_000
    assert main(["avatar", "info", str(bundles / "mine.avatar")]) == 0
    said = capsys.readouterr().out
    assert "network:     its own, own 1, " in said
    assert "million parameters" in said
    assert "licence:     mine" in said
    assert main(["avatar", "info", str(bundles / "plain.avatar"), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["version"], about["network"]) == (1, None)
    assert main(["avatar", "info", str(bundles / "plain.avatar")]) == 0
    assert "network:" not in capsys.readouterr().out


def test_live_needs_no_other_weights(
    bundles: Path, files: Path, no_weights: None, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--avatar", bundles / "mine.avatar", "--avatar", bundles / "large.avatar"]
    assert run(files, *words, "--duration", "0.5") == 0
    said = capsys.readouterr()
    assert said.out.count("cpu, ") == 1  # which engine, as for any network
    assert "note:" not in said.err


def test_live_with_a_folder_of_all_kinds(
    bundles: Path, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A large one first, a small one, one of the weights that were named: which are not for the others."""
    stats = tmp_path / "stats.json"
    weights = ["--weights", files / "tiny.safetensors", "--stats-json", stats]
    assert run(files, "--avatar", bundles, *weights, "--duration", "0.7") == 0
    said = capsys.readouterr()
    assert said.err.count("carries its own network, --weights is not for it") == 2
    assert "plain" not in said.err
    assert said.out.count("cpu, ") == 1
    counted = json.loads(stats.read_text())
    assert counted["faults"] == {}
    assert counted["avatar"] == "me"
    assert counted["frames_out"] > 0


def test_animate_shows_it_by_its_own_network(
    bundles: Path, files: Path, tmp_path: Path, no_weights: None
) -> None:
    out = tmp_path / "out.mp4"
    words = ["--avatar", str(bundles / "mine.avatar"), "--driving", str(files / "clip.mp4")]
    code = main(
        ["animate", *words, "--out", str(out), "--side", "64", "--duration", "0.2", "--no-badge"]
    )
    assert code == 0
    avatar = Avatar.load(bundles / "mine.avatar")
    assert avatar.network is not None
    with torch.no_grad():
        calm = avatar.network.render(avatar.look, avatar.look.motion)[0]
    expected = ((calm.clamp(-1, 1) + 1) * 127.5).permute(1, 2, 0).numpy()
    assert np.abs(frames_in(out)[0] - expected).mean() < 12  # compressed; near its resting picture


@pytest.mark.parametrize("part", ["nan", "missing", "cut"])
def test_a_damaged_network_is_two_lines_and_exit_3(
    bundles: Path, files: Path, tmp_path: Path, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.avatar"
    content = (bundles / "mine.avatar").read_bytes()
    path.write_bytes(content)
    key = "network.dec.direction.weight"
    tensors = load_file(path)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    if part == "nan":
        tensors[key][0, 0] = float("nan")
    elif part == "missing":
        del tensors[key]
    save_file(tensors, path, header["__metadata__"])
    if part == "cut":
        path.write_bytes(content[:-100])
    capsys.readouterr()
    assert run(files, "--avatar", path, "--duration", "0.2") == 3
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 2
    assert "bad.avatar" in lines[0]
