"""The fast network against the plain one, and what the loop relies on."""

from __future__ import annotations

import threading

import numpy as np
import psutil
import pytest
import torch

from lia_live.errors import ConfigError
from lia_live.model import Look, load_model, to_pixels, to_tensor
from lia_live.render import kernels as kernels_module
from lia_live.render import open_renderer
from lia_live.render import torch_renderer as module
from lia_live.render.agreement import probe
from lia_live.render.choice import computes_bf16
from lia_live.render.fast_synthesis import LEVELS_OF_GREY, FastAvatar
from lia_live.render.kernels import onednn_works
from lia_live.render.sampling import Sampler, double, doubling_matrix, to_table
from lia_live.render.torch_renderer import TorchRenderer
from tests.model.official import fixture, parity_look, parity_network
from tests.render.networks import CONFIGS, expected, look_of, pictures, random_network


def unrounded(renderer: TorchRenderer, look: Look, alpha: np.ndarray) -> torch.Tensor:
    """The renderer's picture before clamping and rounding, (1, 3, S, S) in about [-1, 1]."""
    avatar = renderer.load_avatar(look)
    with torch.inference_mode():
        planes = renderer._synthesis.planes(avatar, torch.from_numpy(alpha)[0])
    return planes[None, 3:] / LEVELS_OF_GREY - 1


@pytest.fixture(params=["fused", "plain"])
def kernels(request, monkeypatch):
    """Both ways to convolve: oneDNN's fused operators, and torch calls that run anywhere."""
    if request.param == "plain":
        monkeypatch.setattr(module, "onednn_works", lambda device, dtype: False)
    elif not onednn_works(torch.device("cpu")):
        pytest.skip("this torch has no oneDNN")


@pytest.mark.parametrize("name", list(CONFIGS))
def test_agrees_with_the_model(name, kernels):
    network = random_network(CONFIGS[name])
    renderer = TorchRenderer(network, threads=1)
    source, driver = pictures(network.config, 2)
    look = look_of(network, source)
    with torch.no_grad():
        alpha = network.encode_motion(to_tensor(driver)).numpy()
    assert np.abs(renderer.encode_motion(driver[None]) - alpha).max() < 1e-4
    plain = expected(network, look, alpha)
    assert (unrounded(renderer, look, alpha) - plain).abs().max() < 1e-3
    found = renderer.render([renderer.load_avatar(look)], alpha)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - to_pixels(plain)).max() <= 1


def test_agrees_with_the_reference_on_the_parity_weights():
    look, renderer = parity_look(), TorchRenderer(parity_network(), threads=1)
    for name in ("drv0", "drv1"):
        found = renderer.encode_motion(fixture()[f"{name}_u8"][None])
        assert np.abs(found[0] - fixture()[f"a_{name}"]).max() < 1e-4
    found = unrounded(renderer, look, fixture()["a_drv1"][None])[0].numpy()
    error = np.abs(found - fixture()["out_abs"])
    assert error.max() < 1e-3
    assert error.mean() < 5e-6


def test_far_flows_sample_zeros_like_the_model():
    network = random_network(CONFIGS["small"])
    for flow in network.dec.to_flows:
        flow.conv.weight.mul_(40)  # most of the picture is pulled from outside
    look = look_of(network, pictures(network.config, 1)[0])
    alpha = np.random.default_rng(2).normal(size=(1, 20)).astype(np.float32)
    found = unrounded(TorchRenderer(network, threads=1), look, alpha)
    error = (found - expected(network, look, alpha)).abs()
    assert error.mean() < 1e-4  # steep flows amplify rounding at single pixels


def test_batch_and_single_are_alike():
    network = random_network(CONFIGS["small"])
    renderer = TorchRenderer(network, threads=1)
    crops = pictures(network.config, 3)
    avatars = [renderer.load_avatar(look_of(network, crop)) for crop in crops]
    alpha = renderer.encode_motion(crops)
    assert alpha.shape == (3, 20)
    for index in range(3):
        single = renderer.encode_motion(crops[index : index + 1])
        assert np.abs(single[0] - alpha[index]).max() < 1e-5
    order = [2, 0, 2, 1]
    together = renderer.render([avatars[i] for i in order], alpha[[0, 1, 2, 0]])
    for row, (i, j) in enumerate(zip(order, [0, 1, 2, 0], strict=True)):
        assert np.array_equal(together[row], renderer.render([avatars[i]], alpha[j : j + 1])[0])
    assert renderer.render([], np.zeros((0, 20), np.float32)).shape == (0, 64, 64, 3)


def test_avatar_switch_leaves_no_trace():
    network = random_network(CONFIGS["small"])
    renderer = TorchRenderer(network, threads=1)
    first, second = (renderer.load_avatar(look_of(network, p)) for p in pictures(network.config, 2))
    alpha = np.random.default_rng(0).normal(size=(1, 20)).astype(np.float32)
    before = renderer.render([first], alpha)
    other = renderer.render([second], alpha)
    assert not np.array_equal(before, other)
    assert np.array_equal(renderer.render([first], alpha), before)
    assert before.flags.owndata or before.base is not other.base  # newly made, not a reused buffer


def test_avatars_load_while_another_thread_renders():
    network = random_network(CONFIGS["tiny"])
    renderer = TorchRenderer(network, threads=1)
    looks = [look_of(network, p) for p in pictures(network.config, 4)]
    alone = [renderer.load_avatar(look) for look in looks]
    alpha = np.ones((1, 4), np.float32)
    wanted = [renderer.render([avatar], alpha) for avatar in alone]
    loaded = []
    thread = threading.Thread(target=lambda: loaded.extend(map(renderer.load_avatar, looks * 5)))
    thread.start()
    while thread.is_alive():
        assert np.array_equal(renderer.render([alone[0]], alpha), wanted[0])
    thread.join()
    assert len(loaded) == 20
    for index, avatar in enumerate(loaded):
        assert np.array_equal(renderer.render([avatar], alpha), wanted[index % 4])


def test_results_do_not_depend_on_threads():
    network = random_network(CONFIGS["small"])
    renderer = TorchRenderer(network, threads=1)
    crop = pictures(network.config, 1)
    avatar = renderer.load_avatar(look_of(network, crop[0]))
    alpha = renderer.encode_motion(crop)
    picture = renderer.render([avatar], alpha)
    before = torch.get_num_threads()
    try:
        renderer.threads = 2
        assert np.abs(renderer.encode_motion(crop) - alpha).max() < 1e-4
        found = renderer.render([avatar], alpha)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert np.abs(found.astype(int) - picture).max() <= 1
    assert renderer.description == "cpu, 2 threads, torch fp32"


def test_memory_is_flat_for_10_000_frames():
    network = random_network(CONFIGS["tiny"])
    renderer = open_renderer(network, threads=1)
    crop = pictures(network.config, 1)
    avatar = renderer.load_avatar(look_of(network, crop[0]))

    def frames(count):
        """Bytes held now: the peak would hide a leak behind what an earlier test once needed."""
        for _ in range(count):
            renderer.render([avatar], renderer.encode_motion(crop))
        return psutil.Process().memory_info().rss

    held = [frames(count) for count in (200, *[2500] * 4)]
    # One picture kept a frame would be 7.5 MB in every quarter; what else grows in this process does so once.
    assert min(np.diff(held)) < 0.75e6


def test_wrong_input_is_told():
    network = random_network(CONFIGS["tiny"])
    renderer, other = TorchRenderer(network, threads=1), TorchRenderer(network, threads=1)
    look = look_of(network, pictures(network.config, 1)[0])
    avatar = renderer.load_avatar(look)
    alpha = np.zeros((1, 4), np.float32)
    with pytest.raises(ConfigError, match="another renderer"):
        other.render([avatar], alpha)
    with pytest.raises(ConfigError, match=r"\(1, 4\)"):
        renderer.render([avatar], np.zeros((1, 20), np.float32))
    with pytest.raises(ConfigError, match="uint8"):
        renderer.encode_motion(np.zeros((1, 32, 32, 3), np.float32))
    with pytest.raises(ConfigError, match="32"):
        renderer.encode_motion(np.zeros((1, 64, 64, 3), np.uint8))
    two = Look(look.latent.repeat(2, 1), look.motion, look.features)
    with pytest.raises(ConfigError, match="does not fit"):
        renderer.load_avatar(two)


def test_no_crops_and_crops_that_may_not_be_written_to():
    network = random_network(CONFIGS["tiny"])
    renderer = TorchRenderer(network, threads=1)
    crops = pictures(network.config, 2)
    assert renderer.encode_motion(crops[:0]).shape == (0, 4)
    alpha = renderer.encode_motion(crops)
    crops.flags.writeable = False
    assert np.array_equal(
        renderer.encode_motion(crops), alpha
    )  # and no warning, which is an error here
    alpha.flags.writeable = False
    avatar = renderer.load_avatar(look_of(network, crops[0].copy()))
    assert renderer.render([avatar], alpha[:1]).shape == (1, 32, 32, 3)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("arithmetic", ["as it is", "none"])
def test_a_precision_that_the_processor_lacks_is_slow_and_works(precision, arithmetic, monkeypatch):
    if arithmetic == "none":
        monkeypatch.setattr(kernels_module, "_says_yes", lambda name: False)
    network = random_network(CONFIGS["tiny"])
    renderer = open_renderer(network, "torch", threads=1, precision=precision)
    source, driver = pictures(network.config, 2)
    look = look_of(network, source)
    with torch.no_grad():
        alpha = network.encode_motion(to_tensor(driver)).numpy()
    assert np.abs(renderer.encode_motion(driver[None]) - alpha).max() < 0.03 * np.abs(alpha).max()
    found = renderer.render([renderer.load_avatar(look)], alpha).astype(float)
    assert np.abs(found - to_pixels(expected(network, look, alpha))).mean() < 8


def test_networks_that_take_turns_keep_their_thread_counts():
    """Two renderers on one thread: the number that the other one set does not stay."""
    before = torch.get_num_threads()
    networks = [random_network(CONFIGS["tiny"], seed) for seed in (0, 1)]
    one, two = (
        TorchRenderer(network, threads=count)
        for network, count in zip(networks, (2, 1), strict=True)
    )
    picture = np.zeros((1, one.config.size, one.config.size, 3), np.uint8)
    try:
        for renderer in (one, two, one, two, two, one):
            renderer.encode_motion(picture)
            assert torch.get_num_threads() == renderer.threads
    finally:
        torch.set_num_threads(before)


def test_a_renderer_may_be_elsewhere_than_its_model():
    network = random_network(CONFIGS["tiny"])
    renderer = open_renderer(network, threads=1, device="cpu")
    assert renderer.device == "cpu"
    assert next(network.parameters()).device.type == "cpu"


def test_maps_are_sampled_like_rows():
    """What runs on a GPU, on the cpu: features as plain maps through grid_sample."""
    network = random_network(CONFIGS["small"])
    rows, maps = (TorchRenderer(network, threads=1) for _ in range(2))
    for level in maps._synthesis._levels:
        level.rows = False
    look = look_of(network, pictures(network.config, 1)[0])
    alpha = np.random.default_rng(0).normal(size=(1, 20)).astype(np.float32)
    assert (unrounded(rows, look, alpha) - unrounded(maps, look, alpha)).abs().max() < 1e-3
    kept = maps.load_avatar(look)
    assert isinstance(kept, FastAvatar)
    stacked = [torch.stack([tensor] * 2) for tensor in kept.tensors]
    both = maps._synthesis.stacked(stacked, torch.from_numpy(np.repeat(alpha, 2, axis=0)))
    assert np.array_equal(both[1], maps.render([kept], alpha)[0])


def test_bf16_is_close_where_the_processor_has_it():
    if not computes_bf16():
        pytest.skip("no bf16 arithmetic here")
    network = random_network(CONFIGS["small"])
    renderer = open_renderer(network, threads=1, precision="bf16")
    assert renderer.precision == "bf16"
    source, driver = pictures(network.config, 2)
    look = look_of(network, source)
    with torch.no_grad():
        alpha = network.encode_motion(to_tensor(driver)).numpy()
    assert np.abs(renderer.encode_motion(driver[None]) - alpha).max() < 0.02 * np.abs(alpha).max()
    plain = to_pixels(expected(network, look, alpha)).astype(float)
    error = np.square(renderer.render([renderer.load_avatar(look)], alpha) - plain).mean()
    assert (
        10 * np.log10(255**2 / error) > 34
    )  # untrained weights and noise: harsher than a portrait


def test_a_still_driver_trembles_no_more_in_bf16():
    """The shipped weights on one picture with a camera's noise: the noise sways a code by about a hundredth
    of what people do, and bf16 adds little to it. (On a picture without noise both give the same code each time.)
    """
    if not onednn_works(torch.device("cpu")):
        pytest.skip("this torch has no oneDNN")
    network = load_model("default", device="cpu")
    scale = np.array([direction.scale for direction in network.directions])
    noise = np.random.default_rng(0).normal(0, 4, (24, *(network.config.size,) * 2, 3))
    frames = np.clip(probe(network.config.size) + noise, 0, 255).astype(np.uint8)
    sway = {}
    for precision in ("fp32", "bf16"):
        renderer = TorchRenderer(network, precision=precision, threads=1)
        codes = np.concatenate([renderer.encode_motion(frame[None]) for frame in frames])
        sway[precision] = codes.std(axis=0) / scale
    assert sway["bf16"].max() < 0.05
    assert sway["bf16"].mean() < 1.3 * sway["fp32"].mean() + 0.001


# The pieces


def test_doubling_is_the_fir():
    from lia_live.model.layers import fir_kernel, fir_upsample

    x = torch.randn(1, 6, 8, 8)
    found = double(x[0], doubling_matrix(8, torch.device("cpu")))
    assert (found - fir_upsample(x, fir_kernel(4.0))[0]).abs().max() < 1e-5


def test_sampling_is_the_warp():
    from lia_live.model.synthesis import warp

    features = torch.randn(1, 5, 16, 16)
    raw = torch.randn(1, 3, 16, 16) * 2
    flow, mask = torch.tanh(raw[:, :2]), torch.sigmoid(raw[:, 2:])
    squashed = torch.cat(((flow + 1) / 2, mask), dim=1)[0]
    found = Sampler(16, torch.device("cpu"))(to_table(features), squashed)
    plain = (warp(features, flow) * mask)[0].flatten(1).T
    assert (found - plain).abs().max() < 1e-4
