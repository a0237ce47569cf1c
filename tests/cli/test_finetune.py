"""``lia-live finetune`` from the command line to a bundle that the live commands take as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lia_live.avatar import read_network
from lia_live.cli import main
from lia_live.cli.assets import DEMO_DRIVER
from lia_live.model import LIA, LIAConfig, save_weights
from lia_live.train.growth import start
from lia_live.train.teacher import label_directions


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = start(LIA(LIAConfig(size=64, width=0.0625, latent_dim=32)))
    model.directions = label_directions(20)
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    return save_weights(model, path, name="tiny", licence="none")


@pytest.mark.parametrize("with_video", [True, False], ids=["video", "one photograph"])
def test_a_bundle_with_its_own_network_that_animates(
    base: Path, files: Path, tmp_path: Path, capsys, with_video: bool
) -> None:
    out = tmp_path / "me.avatar"
    words = [
        "finetune", "--avatar", str(files / "me.png"), "--out", str(out), "--base", str(base),
        "--minutes", "0.15", "--device", "cpu", "--threads", "1", "--consent", "me",
    ]  # fmt: skip
    if with_video:
        words += ["--video", str(DEMO_DRIVER)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "before and after" in said
    network = read_network(out)
    assert isinstance(network, LIA)
    assert network.config.size == 64
    folder = tmp_path / "me.finetune"
    report = json.loads((folder / "report.json").read_text())
    assert report["kept"] in ("tuned", "base")
    assert (folder / "report.html").stat().st_size > 10_000
    assert report["kept"] in said.replace("base kept", "base")

    # the live commands take it as it is
    clip = tmp_path / "out.mp4"
    animate = ["animate", "--avatar", str(out), "--driving", str(files / "clip.mp4")]
    assert main([*animate, "--device", "cpu", "--out", str(clip)]) == 0
    assert clip.stat().st_size > 1000
