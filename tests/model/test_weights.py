"""Weights files: round trips, official checkpoints, and every way a file can be wrong."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from importlib import resources

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lia_live.errors import ConfigError, DeviceError, StorageError, WeightsError
from lia_live.model import (
    LIA,
    LICENCE_NOTE,
    Direction,
    Framing,
    LIAConfig,
    checkpoint,
    convert_checkpoint,
    describe,
    load_model,
    save_weights,
    weights_file,
)
from tests.model.official import official_state

TINY = LIAConfig(size=32, width=0.0625, latent_dim=8, motion_dim=4, framing=Framing(eye_y=0.4))


@pytest.fixture
def network() -> LIA:
    torch.manual_seed(3)
    network = LIA(TINY).eval()
    network.name, network.licence = "tiny", "MIT"
    network.directions = tuple(
        Direction(f"way {i}", low=-1, high=2, neutral=0.5, scale=0.3) for i in range(4)
    )
    return network


@pytest.fixture
def file(network, tmp_path):
    return save_weights(network, tmp_path / "tiny.safetensors", metadata={"run": "7"})


def rewritten(file, *, tensors=None, metadata=None):
    """The file with other tensors or header entries; None removes."""
    from safetensors import safe_open

    with safe_open(file, framework="pt") as old:
        texts = dict(old.metadata())
    content = load_file(file)
    for target, changes in ((content, tensors or {}), (texts, metadata or {})):
        for key, value in changes.items():
            if value is None:
                del target[key]
            else:
                target[key] = value
    save_file(content, file, metadata=texts)
    return file


# Safetensors.


def test_float32_round_trip_is_exact(network, file):
    loaded = load_model(file, device="cpu")
    assert loaded.config == TINY
    assert not loaded.training
    assert (loaded.name, loaded.licence, loaded.directions) == ("tiny", "MIT", network.directions)
    assert loaded.fingerprint == network.fingerprint
    for key, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key


def test_float16_halves_the_file_and_loads_as_float32(network, tmp_path):
    whole = save_weights(network, tmp_path / "whole.safetensors")
    half = save_weights(network, tmp_path / "half.safetensors", dtype="float16", name="half")
    assert half.stat().st_size < 0.7 * whole.stat().st_size
    loaded = load_model(half, device="cpu")
    assert loaded.name == "half"
    for key, value in network.state_dict().items():
        assert loaded.state_dict()[key].dtype == torch.float32
        assert torch.equal(loaded.state_dict()[key], value.half().float()), key
    assert load_model(half, device="cpu").fingerprint == loaded.fingerprint != network.fingerprint


def test_loaded_weights_can_be_trained_and_do_not_hang_on_the_file(file):
    loaded = load_model(file, device="cpu")
    before = loaded.fingerprint
    file.write_bytes(b"\0" * file.stat().st_size)  # the same inode, other content
    assert loaded.fingerprint == before
    loaded(torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)).mean().backward()
    assert loaded.dec.direction.weight.grad is not None


def test_describe(network, file):
    facts = describe(file)
    assert facts["size"] == 32
    assert facts["framing"]["eye_y"] == 0.4
    assert facts["parameters"] == sum(p.numel() for p in network.parameters())
    assert facts["fingerprint"] == network.fingerprint
    assert facts["dtype"] == "float32"
    assert facts["directions"][1] == {
        "name": "way 1", "low": -1.0, "high": 2.0, "neutral": 0.5, "scale": 0.3,
    }  # fmt: skip
    assert facts["notes"] == {"run": "7"}
    json.dumps(facts)


def test_the_file_appears_whole_or_not_at_all(network, file, monkeypatch):
    before = file.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left") as failure:
        save_weights(network, file, name="other")
    assert "free" in failure.value.hint
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]


def test_folder_that_does_not_exist(network, tmp_path):
    (tmp_path / "file").touch()
    for folder in ("no", "file"):
        with pytest.raises(StorageError, match="cannot be written"):
            save_weights(network, tmp_path / folder / "such.safetensors")


@pytest.mark.parametrize(("value", "dtype"), [(float("nan"), "float32"), (1e6, "float16")])
def test_numbers_that_do_not_fit_are_not_saved(network, tmp_path, value, dtype):
    with torch.no_grad():
        network.dec.direction.weight[0, 0] = value
    with pytest.raises(WeightsError, match=r"dec\.direction\.weight"):
        save_weights(network, tmp_path / "x.safetensors", dtype=dtype)
    assert not any(tmp_path.iterdir())


KEY = "dec.conv1.activate.bias"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tensors": {KEY: None}}, "1 keys are missing"),
        ({"tensors": {"dec.extra": torch.zeros(2)}}, r"do not belong \(dec\.extra\)"),
        ({"tensors": {KEY: torch.zeros(1, 9, 1, 1)}}, "is 1×9×1×1, expected 1×32×1×1"),
        ({"tensors": {KEY: torch.zeros(1, 32, 1, 1).double()}}, "F64"),
        ({"tensors": {KEY: torch.full((1, 32, 1, 1), torch.nan)}}, "NaN or infinity"),
        ({"tensors": {KEY: torch.full((1, 32, 1, 1), torch.inf)}}, "NaN or infinity"),
        ({"tensors": {"dec.convs.0.conv.blur.kernel": torch.ones(4, 4)}}, "FIR"),
        ({"metadata": {"format": "lia-live/9"}}, "lia-live/9"),
        ({"metadata": {"format": None}}, "no lia-live header"),
        ({"metadata": {"licence": None}}, "licence"),
        ({"metadata": {"config": "{"}}, "not JSON"),
        ({"metadata": {"config": '{"size": 32}'}}, "exactly the entries"),
        ({"metadata": {"directions": "[]"}}, "0 directions are named"),
        ({"metadata": {"dtype": "int8"}}, "int8"),
    ],
)
def test_wrong_content_is_named(file, change, said):
    with pytest.raises(WeightsError, match=said) as failure:
        load_model(rewritten(file, **change), device="cpu")
    assert file.name in failure.value.message
    assert failure.value.hint


@pytest.mark.parametrize(
    ("entry", "value"),
    [("size", 64), ("width", 0.25), ("latent_dim", 16), ("motion_dim", 3), ("size", 33)],
)
def test_config_that_does_not_fit_the_tensors(file, entry, value):
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        texts = opened.metadata()
    config = json.loads(texts["config"]) | {entry: value}
    with pytest.raises(WeightsError):
        load_model(rewritten(file, metadata={"config": json.dumps(config)}), device="cpu")


def test_truncated(file):
    data = file.read_bytes()
    for kept in (0, 7, 200, len(data) // 2, len(data) - 1):
        file.write_bytes(data[:kept])
        with pytest.raises(WeightsError):
            load_model(file, device="cpu")


def test_what_is_no_weights_file(tmp_path):
    text = tmp_path / "notes.safetensors"
    text.write_text("these are not weights " * 100)
    other = tmp_path / "clip.mp4"
    other.write_bytes(b"x" * 100)
    huge = tmp_path / "huge.safetensors"
    with open(huge, "wb") as sparse:
        sparse.truncate(weights_file.MAX_BYTES + 1)
    for path, said in (
        (text, "not a whole safetensors file"),
        (other, r"ends in \.mp4"),
        (huge, "more than"),
        (tmp_path, "not a file"),
        (tmp_path / "missing.safetensors", "no weights file"),
    ):
        with pytest.raises(WeightsError, match=said):
            load_model(path, device="cpu")


def test_missing_default_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    with pytest.raises(WeightsError, match="no default weights"):
        load_model()


def test_devices(file):
    with pytest.raises(ConfigError, match="toaster"):
        load_model(file, device="toaster")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="CUDA"):
            load_model(file, device="cuda")
    assert load_model(file).config == TINY


# Official checkpoints.


@pytest.mark.parametrize(
    ("size", "stem", "kind"), [(256, "vox", "face"), (512, "my_taichi-512", "full")]
)
def test_official_checkpoint_key_by_key(size, stem, kind, tmp_path):
    state = official_state(size)
    pt = tmp_path / f"{stem}.pt"
    args = argparse.Namespace(size=size, lr=0.002, dataset="vox")
    optimizer = {"state": {0: {"step": 7, "exp_avg": torch.zeros(4)}}, "param_groups": [{"lr": 1}]}
    content = {"gen": state, "dis": {"convs.0": torch.ones(3)}, "g_optim": optimizer, "args": args}
    torch.save(content, pt)
    out = convert_checkpoint(pt, tmp_path / "out.safetensors")
    pt.unlink()
    loaded = load_model(out, device="cpu")
    out_facts = {"size": out.stat().st_size}
    out.unlink()
    assert loaded.config.size == size
    assert (loaded.config.width, loaded.config.latent_dim, loaded.config.motion_dim) == (1, 512, 20)
    assert loaded.config.framing.kind == kind
    assert (loaded.name, loaded.licence) == (stem, "CC BY-NC 4.0")
    assert loaded.state_dict().keys() == state.keys()
    for key, value in loaded.state_dict().items():
        assert torch.equal(value, state[key]), key
    assert out_facts["size"] > 180e6  # float32 kept


@pytest.fixture
def official(network, tmp_path):
    """A small .pt of the official layout, and what writes another content there."""
    pt = tmp_path / "vox.pt"

    def write(content):
        torch.save(content, pt)
        return pt

    return write


def test_bare_state_dict_loads_and_is_described(network, official):
    pt = official(network.state_dict())
    loaded = load_model(pt, device="cpu")
    assert loaded.config.framing.eye_distance == 0.30  # the vox square
    assert torch.equal(loaded.dec.direction.weight, network.dec.direction.weight)
    facts = describe(pt)
    assert facts["licence"] == "CC BY-NC 4.0"
    assert facts["parameters"] == sum(p.numel() for p in network.parameters())
    assert "non-commercial" in LICENCE_NOTE


class Malicious:
    """Unpickled the unsafe way, it creates the canary."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


@pytest.mark.parametrize("place", ["beside", "inside", "alone"])
def test_malicious_pickle_never_runs(network, official, tmp_path, place):
    canary = tmp_path / "canary"
    evil = Malicious(canary)
    state = network.state_dict()
    pt = official(
        {"beside": {"gen": state, "args": evil}, "inside": {"gen": {**state, "x": evil}}, "alone": evil}[
            place
        ]
    )  # fmt: skip
    torch.load(pt, weights_only=False)
    assert canary.exists()  # the pickle is live
    canary.rmdir()
    out = tmp_path / "out.safetensors"
    for attempt in (lambda: load_model(pt), lambda: convert_checkpoint(pt, out)):
        with pytest.raises(WeightsError, match="malicious"):
            attempt()
    assert not canary.exists()
    assert not out.exists()


def damaged_states(network):
    """What is wrong -> a generator with that fault, and the words for it."""
    state = dict(network.state_dict())
    without = {key: value for key, value in state.items() if key != KEY}
    return {
        "missing": (without, f"1 keys are missing ({KEY})"),
        "extra": ({**state, "dec.more": torch.zeros(1)}, "do not belong (dec.more)"),
        "shape": ({**state, KEY: torch.zeros(1, 5, 1, 1)}, "expected 1×32×1×1"),
        "nan": ({**state, KEY: torch.full((1, 32, 1, 1), torch.nan)}, "NaN"),
        "integers": ({**state, KEY: torch.zeros(1, 32, 1, 1, dtype=torch.long)}, "plain tensor"),
        "sparse": ({**state, KEY: torch.zeros(4, 4).to_sparse()}, "plain tensor"),
        "claims": ({**state, KEY: torch.zeros(1).expand(1 << 33)}, "more numbers"),
        "another": ({"layer.weight": torch.zeros(3, 3)}, "not those of a LIA generator"),
    }


@pytest.mark.parametrize(
    "fault", ["missing", "extra", "shape", "nan", "integers", "sparse", "claims", "another"]
)
def test_damaged_checkpoint_is_named(network, official, fault):
    state, said = damaged_states(network)[fault]
    with pytest.raises(WeightsError) as failure:
        load_model(official({"gen": state}))
    assert said in failure.value.message
    assert "vox.pt" in failure.value.message


def test_truncated_and_foreign_checkpoints(network, official, tmp_path):
    pt = official({"gen": network.state_dict()})
    data = pt.read_bytes()
    for content in (data[: len(data) // 2], b"not a pickle at all", b""):
        pt.write_bytes(content)
        with pytest.raises(WeightsError):
            load_model(pt)
    with open(pt, "wb") as sparse:
        sparse.truncate((2 << 30) + 1)
    with pytest.raises(WeightsError, match="more than"):
        load_model(pt)


def test_archive_that_claims_too_much(network, official, monkeypatch):
    pt = official({"gen": network.state_dict()})
    monkeypatch.setattr(checkpoint, "MAX_UNPACKED", 1000)
    with pytest.raises(checkpoint.Refused, match="unpack"):
        checkpoint.check_archive(pt)


def test_child_gets_nothing_of_the_environment(network, official, monkeypatch):
    pt = official({"gen": network.state_dict()})
    monkeypatch.setenv("A_SECRET", "1")
    seen = {}
    run = subprocess.run

    def watched(command, **options):
        seen.update(options, command=command)
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", watched)
    load_model(pt, device="cpu")
    assert "A_SECRET" not in seen["env"]
    assert "-I" in seen["command"]
    assert seen["cwd"] != os.getcwd()
    assert not os.path.exists(seen["cwd"])
    assert seen["timeout"] > 0


def test_child_that_hangs_is_stopped(network, official, monkeypatch):
    from lia_live.model import conversion

    monkeypatch.setattr(conversion, "TIMEOUT_S", 0.05)
    with pytest.raises(WeightsError, match="was stopped"):
        load_model(official({"gen": network.state_dict()}))


def test_output_name_and_place(network, official, tmp_path):
    pt = official({"gen": network.state_dict()})
    with pytest.raises(ConfigError, match=r"\.safetensors"):
        convert_checkpoint(pt, tmp_path / "out.pt")
    with pytest.raises(StorageError):
        convert_checkpoint(pt, tmp_path / "no" / "out.safetensors")


def test_arrays_are_not_tensors(official):
    with pytest.raises(WeightsError):
        load_model(official({"gen": {"a": np.zeros(3)}}))
