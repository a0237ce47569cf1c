"""The exported files in ONNX Runtime against the model, and what goes wrong on the way."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from lia_live.errors import ConfigError, StorageError
from lia_live.model import LIA, load_model, to_tensor
from lia_live.render.onnx_export import export_onnx
from tests.model.official import parity_network
from tests.render.networks import CONFIGS, pictures, random_network


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def network_of(name: str) -> LIA:
    if name == "shipped":
        return load_model("default", device="cpu").requires_grad_(False)
    return parity_network() if name == "parity" else random_network(CONFIGS[name])


@pytest.mark.parametrize("name", ["tiny", "small", "shipped", "parity"])
def test_both_halves_are_the_model(name, tmp_path):
    network = network_of(name)
    encoder, renderer = map(session, export_onnx(network, tmp_path / "onnx"))
    source, *drivers = to_tensor(pictures(network.config, 3)).split(1)
    with torch.no_grad():
        look = network.encode_appearance(source)
        alpha = network.encode_motion(torch.cat(drivers))
    names = [output.name for output in encoder.get_outputs()]
    found = dict(zip(names, encoder.run(None, {"picture": source.numpy()}), strict=True))
    maps = {
        f"features_{r}": feature.numpy()
        for r, feature in zip(network.config.resolutions(), look.features, strict=True)
    }
    wanted = {"motion": look.motion.numpy(), "latent": look.latent.numpy(), **maps}
    assert set(found) == set(wanted)
    for key, value in wanted.items():
        assert np.abs(found[key] - value).max() < 1e-3, key
    both = {"picture": torch.cat(drivers).numpy()}
    assert np.abs(encoder.run(["motion"], both)[0] - alpha.numpy()).max() < 1e-3
    avatar = {key: value for key, value in wanted.items() if key != "motion"}
    for row in alpha.split(1):
        picture = renderer.run(None, {**avatar, "motion": row.numpy()})[0]
        with torch.no_grad():
            assert np.abs(picture - network.render(look, row).numpy()).max() < 1e-3


def test_two_avatars_in_one_batch(tmp_path):
    network = random_network(CONFIGS["small"])
    renderer = session(export_onnx(network, tmp_path)[1])
    with torch.no_grad():
        look = network.encode_appearance(to_tensor(pictures(network.config, 2)))
        alpha = torch.randn(2, 20, generator=torch.Generator().manual_seed(0))
        plain = network.render(look, alpha)
    given = {"latent": look.latent.numpy(), "motion": alpha.numpy()}
    for r, feature in zip(network.config.resolutions(), look.features, strict=True):
        given[f"features_{r}"] = feature.numpy()
    assert np.abs(renderer.run(None, given)[0] - plain.numpy()).max() < 1e-3


def test_the_files_say_what_they_are(tmp_path):
    network = random_network(CONFIGS["tiny"])
    network.name, network.licence = "mine", "CC0"
    for path in export_onnx(network, tmp_path):
        notes = {prop.key: prop.value for prop in onnx.load(path).metadata_props}
        assert (notes["name"], notes["licence"]) == ("mine", "CC0")
        assert notes["fingerprint"] == network.fingerprint
        assert '"framing"' in notes["config"]


def test_a_missing_package_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConfigError, match="not installed") as caught:
        export_onnx(random_network(CONFIGS["tiny"]), tmp_path)
    assert "lia-live[onnx]" in caught.value.hint


def test_a_place_that_cannot_be(tmp_path):
    with pytest.raises(StorageError, match="cannot be made"):
        export_onnx(random_network(CONFIGS["tiny"]), tmp_path / "no" / "such")
