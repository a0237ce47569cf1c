"""Networks of others: real ONNX files of some bytes (tests/data/onnx/make.py), run and checked by hand."""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.linalg

from lia_live.errors import ConfigError, WeightsError
from lia_live.evaluate import compare
from lia_live.evaluate.fid import Gallery, frechet_distance
from lia_live.evaluate.landmarks import landmarks_of
from lia_live.evaluate.nets import FeatureNet, IdentityNet, Nets, PerceptualNet
from lia_live.evaluate.onnx_file import read_onnx
from tests.evaluate.crops import astronaut, hopper, moved

DATA = Path(__file__).parent.parent / "data" / "onnx"
IDENTITY, DISTANCE, FEATURES = (DATA / f"{n}.onnx" for n in ("identity", "distance", "features"))


def pictures(count: int, side: int = 48) -> list[np.ndarray]:
    random = np.random.default_rng(5)
    return list(random.integers(0, 256, (count, side, side, 3)).astype(np.uint8))


def test_inputs_are_read_from_the_file():
    _, (face,) = read_onnx(IDENTITY)
    assert (face.name, face.shape) == ("face", (1, 3, 112, 112))
    _, inputs = read_onnx(DISTANCE)
    assert [(one.name, one.shape) for one in inputs] == [
        ("a", (1, 3, None, None)),
        ("b", (1, 3, None, None)),
    ]


def test_the_distance_is_what_the_network_computes():
    a, b = pictures(2)
    expected = ((a / 127.5 - b / 127.5) ** 2).mean()
    assert PerceptualNet(DISTANCE).distance(a, b) == pytest.approx(expected, rel=1e-5)


def test_features_are_of_the_scaled_picture():
    plain = np.full((64, 64, 3), (255, 0, 51), np.uint8)
    assert FeatureNet(FEATURES).features(plain) == pytest.approx([1, -1, -0.6], abs=1e-3)


def test_a_face_is_aligned_before_it_is_embedded():
    net = IdentityNet(IDENTITY)
    here = net.embed(astronaut(), landmarks_of(astronaut()))
    assert np.linalg.norm(here) == pytest.approx(1)
    small = cv2.warpAffine(
        astronaut(), cv2.getRotationMatrix2D((128, 128), 15, 0.8), (256, 256), borderMode=1
    )
    there = net.embed(small, landmarks_of(small))
    other = net.embed(hopper(), landmarks_of(hopper()))
    assert np.linalg.norm(here - there) < 0.2, "turned, smaller, elsewhere: the same face"
    assert np.linalg.norm(here - other) > 0.5


def test_compare_takes_the_networks():
    nets = Nets.open(IDENTITY, DISTANCE, FEATURES)
    assert nets.missing() == {}
    real = [moved(astronaut(), x) for x in (0.0, 4.0, 8.0)]
    figures = compare(astronaut(), [hopper()] * 3, real, nets)
    assert figures.driver_identity > 0.95 > figures.identity
    assert figures.aed > 2 * figures.static_aed
    own = [((hopper() / 127.5 - picture / 127.5) ** 2).mean() for picture in real]
    assert figures.lpips == pytest.approx(np.mean(own), rel=1e-4)
    static = [((astronaut() / 127.5 - picture / 127.5) ** 2).mean() for picture in real]
    assert figures.static_lpips == pytest.approx(np.mean(static), rel=1e-4)


def test_frechet_distance_against_the_square_root_of_a_matrix():
    random = np.random.default_rng(0)
    a = random.normal(0, 1, (200, 6))
    b = random.normal(0.5, 2, (150, 6)) @ random.normal(0, 1, (6, 6))
    ca, cb = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(ca @ cb).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + 3) == pytest.approx(9 * 6)


def test_fid_of_a_gallery():
    gallery = Gallery(FeatureNet(FEATURES))
    assert all(np.isnan(gallery.figures()))
    source = pictures(1)[0]
    copied = gallery.source(source)
    for picture in pictures(6):
        gallery.add(picture, picture, copied)
    made, static = gallery.figures()
    assert made == pytest.approx(0, abs=1e-9)
    features = np.array([picture.mean((0, 1)) / 127.5 - 1 for picture in pictures(6)])
    away = ((features.mean(0) - features[0]) ** 2).sum()
    # scaling to 299 pixels hardly changes a mean
    assert static == pytest.approx(away + np.trace(np.cov(features.T)), rel=0.05)


def test_without_a_network_a_gallery_holds_nothing():
    gallery = Gallery(None)
    gallery.add(pictures(1)[0], pictures(1)[0], gallery.source(pictures(1)[0]))
    assert np.isnan(gallery.figures()[0])
    with pytest.raises(ConfigError, match="at least two"):
        frechet_distance(np.zeros((1, 3)), np.zeros((5, 3)))


def test_what_is_missing_says_how_to_get_it():
    missing = Nets.open(None, DISTANCE, None).missing()
    assert set(missing) == {"identity", "fid"}
    assert "--identity-net" in missing["identity"] and "AED" in missing["identity"]
    assert "docs/evaluation.md" in missing["fid"]


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("none", "there is no file"),
        ("text", "is not an ONNX file"),
        ("empty", "is not an ONNX file"),
        ("cut", "is not an ONNX file|cannot run"),
        ("folder", "is no file"),
        ("distance", "it must take 1 picture"),
    ],
)
def test_files_that_are_no_such_network(kind, says, tmp_path):
    path = tmp_path / "net.onnx"
    if kind == "text":
        path.write_text("no network at all, but a letter of some length to somebody")
    elif kind == "empty":
        path.touch()
    elif kind == "cut":
        path.write_bytes(IDENTITY.read_bytes()[:-40])
    elif kind == "folder":
        path.mkdir()
    elif kind == "distance":
        path = DISTANCE
    with pytest.raises(WeightsError, match=says) as caught:
        IdentityNet(path)
    assert "docs/evaluation.md" in caught.value.hint


def test_networks_of_the_wrong_kind():
    with pytest.raises(WeightsError, match="must take 2 picture"):
        PerceptualNet(FEATURES)
    with pytest.raises(WeightsError, match="must take 1 picture"):
        FeatureNet(DISTANCE)


def test_damaged_files_never_do_anything_else(tmp_path):
    """Any byte may be wrong: the answer is a network or one error, never a crash or another exception."""
    good = IDENTITY.read_bytes()
    random = np.random.default_rng(0)
    path = tmp_path / "net.onnx"
    for _ in range(10):
        damaged = bytearray(good)
        for place in random.integers(0, len(good), 3):
            damaged[place] = random.integers(0, 256)
        path.write_bytes(damaged)
        with contextlib.suppress(WeightsError):
            IdentityNet(path)
