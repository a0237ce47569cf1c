"""Weights and checkpoints that cannot be used."""

from __future__ import annotations

import argparse
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file


def damaged_weights(kind: str, good: Path, path: Path) -> Path:
    with safe_open(good, framework="pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    key = sorted(tensors)[0]
    if kind == "truncated":
        path.write_bytes(good.read_bytes()[:-500])
        return path
    if kind == "text":
        path.write_text("no weights " * 100)
        return path
    if kind == "empty":
        path.touch()
        return path
    if kind == "missing":
        return path
    if kind == "missing key":
        del tensors[key]
    elif kind == "extra key":
        tensors["extra"] = torch.zeros(1)
    elif kind == "wrong shape":
        tensors[key] = torch.zeros(3, 3)
    elif kind == "nan":
        tensors[key] = torch.full_like(tensors[key], torch.nan)
    elif kind == "no header":
        metadata = None
    save_file(tensors, path, metadata=metadata)
    return path


@pytest.mark.parametrize(
    "kind",
    (
        "missing",
        "empty",
        "text",
        "truncated",
        "missing key",
        "extra key",
        "wrong shape",
        "nan",
        "no header",
    ),
)
def test_weights(kind, files, live, refused, tmp_path):
    path = damaged_weights(kind, files / "tiny.safetensors", tmp_path / "bad.safetensors")
    live(3, weights=path)
    what, _ = refused(3, "weights", "info", path)
    assert "bad.safetensors" in what


class Evil:
    """Unpickled carelessly, it makes a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.canary}",)


def bad_checkpoint(kind: str, path: Path, canary: Path) -> Path:
    if kind == "malicious":
        torch.save({"gen": Evil(canary)}, path)
    elif kind == "malicious, old format":
        path.write_bytes(pickle.dumps({"gen": Evil(canary)}))
    elif kind == "malicious beside good":
        torch.save({"gen": {"w": torch.zeros(1)}, "args": Evil(canary)}, path)
    elif kind == "truncated":
        torch.save({"gen": {"w": torch.zeros(1000)}}, path)
        path.write_bytes(path.read_bytes()[:-1000])
    elif kind == "another network":
        torch.save({"gen": {"w": torch.zeros(1)}, "args": argparse.Namespace(size=256)}, path)
    elif kind == "nan":
        torch.save({"gen": {"dec.direction.weight": torch.full((512, 20), torch.nan)}}, path)
    elif kind == "text":
        path.write_text("no checkpoint")
    return path


@pytest.mark.parametrize(
    "kind",
    (
        "malicious", "malicious, old format", "malicious beside good", "truncated", "another network",
        "nan", "text", "missing",
    ),
)  # fmt: skip
def test_checkpoint(kind, refused, live, tmp_path):
    canary, out = tmp_path / "canary", tmp_path / "out.safetensors"
    path = bad_checkpoint(kind, tmp_path / "vox.pt", canary)
    refused(3, "weights", "convert", path, "--out", out)
    assert not out.exists()
    if kind == "malicious":
        live(3, weights=path)
    assert not canary.exists()


def test_the_canary_would_have_sung(tmp_path):
    """The test above can fail: careless unpickling does make the file."""
    path = bad_checkpoint("malicious, old format", tmp_path / "vox.pt", tmp_path / "canary")
    pickle.loads(path.read_bytes())
    assert (tmp_path / "canary").exists()
