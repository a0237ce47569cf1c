"""Feature losses: VGG19 against numpy, the fixed filters against what they are for, files against every flaw."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from lia_live.errors import WeightsError
from lia_live.train import perceptual
from lia_live.train.perceptual import (
    FixedFeatures,
    Perceptual,
    Pyramid,
    gaussian,
    load_perceptual,
    vgg_layers,
    vgg_shapes,
)


@pytest.fixture(scope="module")
def vgg_state() -> dict[str, torch.Tensor]:
    """Weights of VGG19's shapes that keep features of a natural size."""
    random = torch.Generator().manual_seed(11)
    state = {}
    for key, shape in vgg_shapes().items():
        fan_in = math.prod(shape[1:]) if key.endswith("weight") else 100
        state[key] = torch.randn(shape, generator=random) * math.sqrt(2 / fan_in)
    return state


@pytest.fixture(scope="module")
def vgg(vgg_state) -> Perceptual:
    layers = vgg_layers()
    layers.load_state_dict({key.removeprefix("features."): v for key, v in vgg_state.items()})
    return Perceptual(layers)


def pictures(batch: int, size: int, seed: int = 0) -> torch.Tensor:
    """Random ones that also leave [-1, 1]."""
    random = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, size, size, generator=random) * 2.4 - 1.2


def face(size: int = 128) -> torch.Tensor:
    """(1, 3, size, size) in [-1, 1] of the public-domain test face."""
    data = pytest.importorskip("skimage.data")
    pixels = torch.tensor(data.astronaut()[0:256, 100:356].copy())
    return F.avg_pool2d(pixels.permute(2, 0, 1)[None] / 127.5 - 1, 256 // size)


# The pyramid.


def test_pyramid_against_numpy():
    """Sigma (1/s - 1)/2, 2·round(4·sigma) + 1 taps, zeros outside, strided: written out for each pixel."""
    image = pictures(1, 64)
    levels = Pyramid(least=8)(image)
    assert [level.shape[-1] for level in levels] == [64, 32, 16, 8]
    assert torch.equal(levels[0], image)
    x = image[0].double().numpy()
    for level, k, length in zip(levels[1:], (2, 4, 8), (5, 13, 29), strict=True):
        sigma, reach = (k - 1) / 2, length // 2
        line = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
        window = np.outer(line, line) / np.outer(line, line).sum()
        padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach)))
        for row, column in ((0, 0), (1, 3), (64 // k - 1, 2)):
            seen = padded[:, k * row : k * row + length, k * column : k * column + length]
            expected = (seen * window).sum((1, 2))
            assert np.allclose(level[0, :, row, column].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("shrunk", "length"), [(2, 5), (4, 13), (8, 29)])
def test_pyramid_filters_have_the_specs_lengths(shrunk, length):
    assert gaussian(shrunk).shape == (length,)
    assert gaussian(shrunk).sum().item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("size", "vgg_scales", "fixed_scales"), [(32, 1, 2), (64, 2, 3), (128, 3, 4), (256, 4, 4)]
)
def test_small_pictures_have_fewer_scales(size, vgg_scales, fixed_scales):
    image = torch.zeros(1, 3, size, size)
    assert len(Pyramid(perceptual.VGG_LEAST)(image)) == vgg_scales
    assert len(Pyramid(perceptual.FIXED_LEAST)(image)) == fixed_scales


# VGG19.


def numpy_maps(state: dict[str, torch.Tensor], picture: np.ndarray) -> list[np.ndarray]:
    """relu1_1 to relu5_1 of one (3, r, r) picture in [-1, 1], float64, convolutions as matrix products."""
    x = (
        np.clip(picture, -1, 1) / 2 + 0.5 - np.array([[[0.485]], [[0.456]], [[0.406]]])
    ) / np.array([[[0.229]], [[0.224]], [[0.225]]])
    found = []
    for index in (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28):
        if index in (5, 10, 19, 28):
            c, r, _ = x.shape
            x = x.reshape(c, r // 2, 2, r // 2, 2).max((2, 4))
        weight = state[f"features.{index}.weight"].double().numpy()
        bias = state[f"features.{index}.bias"].double().numpy()
        c, r, _ = x.shape
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
        columns = [
            padded[:, i : i + r, j : j + r].reshape(c, -1) for i in range(3) for j in range(3)
        ]
        table = np.stack(columns, axis=1).reshape(c * 9, -1)
        x = weight.reshape(weight.shape[0], -1) @ table + bias[:, None]
        x = np.maximum(x, 0).reshape(-1, r, r)
        if index in (0, 5, 10, 19, 28):
            found.append(x)
    return found


def test_vgg_maps_and_loss_against_numpy(vgg, vgg_state):
    image, target = pictures(1, 64, seed=1), pictures(1, 64, seed=2)
    expected = 0.0
    for level, goal in zip(vgg.pyramid(image), vgg.pyramid(target), strict=True):
        a = numpy_maps(vgg_state, level[0].double().numpy())
        b = numpy_maps(vgg_state, goal[0].double().numpy())
        for ours, theirs in zip(vgg.maps(level), a, strict=True):
            assert np.allclose(ours[0].numpy(), theirs, atol=1e-3 * theirs.max())
        expected += sum(10 * np.abs(one - two).mean() for one, two in zip(a, b, strict=True))
    assert vgg(image, target).item() == pytest.approx(expected, rel=1e-4)


def test_vgg_shapes_are_the_known_ones():
    shapes = vgg_shapes()
    assert len(shapes) == 26
    assert shapes["features.0.weight"] == (64, 3, 3, 3)
    assert shapes["features.28.weight"] == (512, 512, 3, 3)
    assert sum(math.prod(shape) for shape in shapes.values()) == 12_944_960


def test_vgg_is_frozen_and_the_target_detached(vgg):
    image, target = pictures(1, 32), pictures(1, 32, seed=1)
    image.requires_grad_()
    target.requires_grad_()
    vgg(image, target).backward()
    assert image.grad.abs().sum() > 0
    assert (image.grad[image.abs() > 1] == 0).all()  # clamped
    assert target.grad is None
    assert all(not p.requires_grad for p in vgg.parameters())


def test_vgg_under_bf16_autocast(vgg):
    image, target = pictures(1, 32), pictures(1, 32, seed=1)
    exact = vgg(image, target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = vgg(image, target)
    assert rough.dtype == torch.float32
    assert rough.item() == pytest.approx(exact.item(), rel=0.01)


# Both.


@pytest.fixture(params=["vgg", "fixed"])
def loss(request, vgg):
    return vgg if request.param == "vgg" else FixedFeatures()


def test_equal_pictures_are_at_no_distance(loss):
    image = face(64).requires_grad_()
    value = loss(image, image.detach())
    value.backward()
    assert value.item() == 0
    assert torch.isfinite(image.grad).all()


def test_two_half_batches_average_to_the_whole(loss):
    image, target = pictures(4, 32), pictures(4, 32, seed=1)
    region = torch.rand(4, 1, 32, 32) + 0.5
    whole = loss(image, target, region)
    halves = [loss(image[i : i + 2], target[i : i + 2], region[i : i + 2]) for i in (0, 2)]
    assert whole.item() == pytest.approx(sum(half.item() for half in halves) / 2, rel=1e-5)


def test_region_says_where_it_matters(loss):
    """All of the weight on the left half: a flaw on the far right costs little, for deep maps see far."""
    target = face(64)
    flawed = target.clone()
    flawed[..., 56:] += 0.5 * torch.randn(64, 8, generator=torch.Generator().manual_seed(3))
    left = torch.zeros(1, 1, 64, 64)
    left[..., :32] = 2
    everywhere = loss(flawed, target, torch.ones(1, 1, 64, 64))
    assert everywhere.item() == pytest.approx(loss(flawed, target).item(), rel=1e-5)
    assert loss(flawed, target, left) < 0.3 * everywhere
    assert loss(flawed, target, 2 - left) > 1.5 * everywhere


# The fixed filters.


def shifted(dx: int, dy: int) -> torch.Tensor:
    """112 pixels of the face, moved by whole pixels."""
    return face()[..., 8 + dy : 120 + dy, 8 + dx : 120 + dx]


def blurred(sigma: float) -> torch.Tensor:
    """The same place, blurred."""
    at = torch.arange(-6.0, 7.0)
    taps = torch.exp(-at.square() / (2 * sigma**2))
    window = torch.outer(taps, taps) / taps.sum() ** 2
    return F.conv2d(face(), window.expand(3, 1, 13, 13), padding=6, groups=3)[..., 8:120, 8:120]


def test_a_shift_costs_less_than_a_blur_and_l1_thinks_the_opposite():
    """One pixel aside against sigma 1: the fixed filters say 0.18 and 0.32, L1 0.078 and 0.050."""
    fixed, target = FixedFeatures(), shifted(0, 0)
    aside, soft = shifted(1, 0), blurred(1.0)
    assert F.l1_loss(aside, target) > 1.5 * F.l1_loss(soft, target)
    assert 1.5 * fixed(aside, target) < fixed(soft, target)


def test_where_the_place_is_uncertain_sharp_wins_and_l1_prefers_the_mean():
    """What a network faces that cannot know the last pixel: nine equally likely targets, one answer."""
    fixed = FixedFeatures()
    targets = [shifted(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
    sharp, mean = shifted(0, 0), torch.stack(targets).mean(0)

    def expected(loss, answer):
        return sum(loss(answer, target).item() for target in targets) / len(targets)

    assert expected(F.l1_loss, mean) < expected(F.l1_loss, sharp)
    assert 1.4 * expected(fixed, sharp) < expected(fixed, mean)


def test_descending_it_brings_texture_back():
    """From the mean of the nine: with L1 alone the finest contrast stays lost, with the filters it returns."""
    fixed = FixedFeatures()
    targets = [shifted(dx, dy)[..., 40:72, 40:72] for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
    batch = torch.cat(targets)

    def contrast(picture):
        return fixed.energy(picture, 1).mean().item() - 0.01  # of flat grey

    reached = {}
    for weight in (0.0, 0.3):
        picture = batch.mean(0, keepdim=True).clone().requires_grad_()
        optimiser = torch.optim.Adam([picture], lr=0.02)
        for _ in range(60):
            same = picture.expand(9, -1, -1, -1)
            loss = F.l1_loss(same, batch) + weight * fixed(same, batch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        reached[weight] = contrast(picture.detach()) / contrast(targets[4])
    assert reached[0.0] < 0.75
    assert 0.85 < reached[0.3] < 1.15


def test_energy_knows_amplitude_and_not_phase():
    """A grating at the filters' wavelength: the energy of the matching orientation is proportional, to 5 %."""
    fixed, at = FixedFeatures(), torch.arange(48.0)
    answers = []
    for amplitude, phase in ((0.2, 0.0), (0.2, 1.0), (0.2, 2.5), (0.4, 0.7)):
        wave = amplitude * torch.sin(2 * math.pi * at / perceptual.WAVELENGTH_PX + phase)
        picture = wave.expand(1, 3, 48, 48)
        answers.append(fixed.energy(picture, 1)[0, 0, 0].mean().item() / amplitude)
    assert max(answers) / min(answers) < 1.05
    assert answers[0] * 4 / 255 == pytest.approx(perceptual.CONTRAST_FLOOR, rel=0.15)
    grey = fixed.energy(torch.full((1, 3, 48, 48), 0.7), 3)
    assert torch.allclose(grey, torch.full_like(grey, 0.01), atol=1e-4)


def test_colour_alone_is_seen():
    """Two pictures of equal luminance: one flat, one with a green and red pattern."""
    flat = torch.zeros(1, 3, 64, 64)
    pattern = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    pattern = F.interpolate(pattern, size=(64, 64), mode="bilinear") * 0.2
    coloured = torch.cat((pattern / 0.299, -pattern / 0.587, 0 * pattern), 1)
    assert FixedFeatures()(coloured, flat) > 1


def test_fixed_filters_are_float32_under_autocast_and_hold_no_state():
    fixed = FixedFeatures()
    image, target = pictures(2, 32), pictures(2, 32, seed=1)
    exact = fixed(image, target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = fixed(image, target)
    assert torch.equal(inside, exact)
    assert fixed.state_dict() == {}
    assert not list(fixed.parameters())


# Files.


@pytest.fixture
def file(vgg_state, tmp_path):
    path = tmp_path / "vgg.safetensors"
    save_file({key: value.half() for key, value in vgg_state.items()}, path)
    return path


def test_file_round_trip(vgg, file):
    loaded = load_perceptual(file)
    assert not loaded.training
    assert all(not p.requires_grad and p.dtype == torch.float32 for p in loaded.parameters())
    image, target = pictures(1, 32), pictures(1, 32, seed=1)
    assert loaded(image, target).item() == pytest.approx(vgg(image, target).item(), rel=1e-3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"features.28.bias": None}, "1 keys are missing"),
        ({"classifier.0.weight": torch.zeros(2)}, r"do not belong \(classifier\.0\.weight\)"),
        ({"features.0.weight": torch.zeros(64, 3, 5, 5)}, "is 64×3×5×5, expected 64×3×3×3"),
        ({"features.0.bias": torch.full((64,), torch.inf)}, r"features\.0\.bias holds NaN"),
    ],
)
def test_wrong_content_is_named(file, change, said):
    content = load_file(file)
    for key, value in change.items():
        if value is None:
            del content[key]
        else:
            content[key] = value
    save_file(content, file)
    with pytest.raises(WeightsError, match=said) as failure:
        load_perceptual(file)
    assert file.name in failure.value.message
    assert "fetch-vgg" in failure.value.hint


def test_files_that_are_none(file, tmp_path):
    with pytest.raises(WeightsError, match="no weights file"):
        load_perceptual(tmp_path / "missing.safetensors")
    data = file.read_bytes()
    for kept in (0, 100, len(data) - 1):
        file.write_bytes(data[:kept])
        with pytest.raises(WeightsError) as failure:
            load_perceptual(file)
        assert "fetch-vgg" in failure.value.hint
