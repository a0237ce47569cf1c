"""On a CUDA card: graphs, batches of any avatars, every precision against the plain network, memory and its end.

Skipped aloud where there is none: ``pytest -m gpu tests/render``.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import pytest
import torch

from lia_live.evaluate.recipe import fill_by_recipe
from lia_live.model import LIA, LIAConfig, Look, to_pixels, to_tensor
from lia_live.render import open_renderer
from lia_live.render.agreement import probe, psnr_db
from lia_live.render.cuda_graphs import BATCHES
from lia_live.render.safeguard import SafeguardedRenderer
from lia_live.render.torch_renderer import TorchRenderer
from tests.render.networks import CONFIGS, expected, look_of, pictures, random_network

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]
PRECISIONS = ("fp32", "fp16", "bf16")


@pytest.fixture(params=["triton", "plain"])
def kernels(request, monkeypatch):
    """Both ways to run on a GPU: with kernels of our own between the convolutions, and torch calls alone."""
    if request.param == "plain":
        monkeypatch.setattr("lia_live.render.torch_renderer.fused_works", lambda device: False)


def on_gpu(network: LIA, precision: str) -> TorchRenderer:
    return TorchRenderer(network, precision=precision, device=torch.device("cuda"))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_batch_and_single_agree_with_the_model_after_a_switch_too(precision, kernels):
    network = random_network(CONFIGS["small"])
    renderer = on_gpu(network, precision)
    crops = pictures(network.config, 5)
    looks = [look_of(network, crop) for crop in crops[:3]]
    avatars = [renderer.load_avatar(look) for look in looks]
    with torch.no_grad():
        alpha = network.encode_motion(to_tensor(crops)).numpy()
    near = 5e-4 if precision == "fp32" else 0.02 * np.abs(alpha).max()
    assert np.abs(renderer.encode_motion(crops) - alpha).max() < near  # 4 and 1, or 8
    for crop, row in zip(crops, alpha, strict=True):
        assert np.abs(renderer.encode_motion(crop[None])[0] - row).max() < near
    order = [2, 0, 2, 1, 0]
    together = renderer.render([avatars[i] for i in order], alpha)
    again = renderer.render([avatars[i] for i in order], alpha)
    least = {"fp32": 50, "fp16": 42, "bf16": 33}[precision]  # untrained, noise: harsher than faces
    assert psnr_db(again, together) > least  # cuDNN may add in any order
    for picture, i, row in zip(together, order, alpha, strict=True):
        plain = to_pixels(expected(network, looks[i], row[None]))[0]
        alone = renderer.render([avatars[i]], row[None])[0]
        assert psnr_db(picture, plain) > least
        assert psnr_db(alone, plain) > least
        if precision == "fp32":
            assert np.abs(picture.astype(int) - plain).max() <= 2
    assert renderer.render([], np.zeros((0, 20), np.float32)).shape == (0, 64, 64, 3)
    assert renderer.encode_motion(crops[:0]).shape == (0, 20)


def test_more_frames_than_the_largest_graph():
    network = random_network(CONFIGS["tiny"])
    renderer = on_gpu(network, "fp32")
    count = BATCHES[-1] + 3
    crops = pictures(network.config, count)
    alpha = renderer.encode_motion(crops)
    loaded = [renderer.load_avatar(look_of(network, crop)) for crop in crops]
    together = renderer.render(loaded, alpha)
    for index in (0, BATCHES[-1] - 1, BATCHES[-1], count - 1):
        alone = renderer.render([loaded[index]], alpha[index : index + 1])[0]
        assert np.abs(together[index].astype(int) - alone).max() <= 1


@pytest.fixture(scope="module")
def official() -> tuple[LIA, Look, np.ndarray, np.ndarray, np.ndarray]:
    """The official layout drawn by recipe, a look, crops, their codes and pictures in fp32."""
    network = fill_by_recipe(LIA(LIAConfig())).cuda()
    crops = np.stack([probe(256), *pictures(network.config, 3)])
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        look = network.encode_appearance(to_tensor(crops[0], "cuda"))
        alpha = network.encode_motion(to_tensor(crops, "cuda"))
        many = Look(
            look.latent.expand(4, -1), look.motion, tuple(f.expand(4, -1, -1, -1) for f in look.features)
        )  # fmt: skip
        plain = to_pixels(network.render(many, alpha))
    return network, look, crops, alpha.cpu().numpy(), plain


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_official_layout_is_near_fp32_and_quick(precision, official, record_property):
    network, look, crops, alpha, plain = official
    renderer = on_gpu(network, precision)
    avatar = renderer.load_avatar(look)
    error = float(np.abs(renderer.encode_motion(crops) - alpha).mean() / alpha.std(axis=0).mean())
    db = psnr_db(renderer.render([avatar] * 4, alpha), plain)
    single = psnr_db(renderer.render([avatar], alpha[:1]), plain[:1])
    seconds: list[float] = []
    for _ in range(100):
        began = time.perf_counter()
        renderer.render([avatar], renderer.encode_motion(crops[:1]))
        seconds.append(time.perf_counter() - began)
    ms = 1e3 * statistics.median(seconds[20:])
    print(f"\n{precision}: {db:.1f} dB, alone {single:.1f}; |Δα| {100 * error:.2f} %; {ms:.2f} ms")
    assert db > (60 if precision == "fp32" else 32 if precision == "bf16" else 38)
    assert ms < 20  # a bound on accidents; the bench measures


def test_an_avatar_switch_records_nothing_and_is_quick(official):
    network, look, _, alpha, _ = official
    renderer = on_gpu(network, "fp16")
    one, two = renderer.load_avatar(look), renderer.load_avatar(look)
    renderer.render([one], alpha[:1])
    stages = renderer._graphs[1]._stages
    before = dict(stages)
    switches: list[float] = []
    loads: list[float] = []
    for number in range(20):
        began = time.perf_counter()
        renderer.render([(two, one)[number % 2]], alpha[:1])
        switches.append(time.perf_counter() - began)
        began = time.perf_counter()
        renderer.load_avatar(look)
        loads.append(time.perf_counter() - began)
    print(
        f"\nswitch {1e3 * max(switches):.2f} ms at most, load {1e3 * statistics.median(loads):.2f}"
    )
    assert stages == before
    assert max(switches) < 0.05


def test_memory_is_flat_for_10_000_frames():
    network = random_network(CONFIGS["tiny"])
    renderer = on_gpu(network, "fp16")
    crops = pictures(network.config, 2)
    avatars = [renderer.load_avatar(look_of(network, crop)) for crop in crops]

    def frames(count: int) -> int:
        for number in range(count):
            renderer.render([avatars[number % 2]], renderer.encode_motion(crops[:1]))
        return torch.cuda.memory_reserved()

    settled = frames(100)
    assert frames(10_000) == settled


def test_the_model_stays_on_the_cpu():
    network = random_network(CONFIGS["tiny"])
    renderer = open_renderer(network, precision="fp16", device="cuda")
    assert renderer.device.startswith("cuda") and renderer.precision == "fp16"
    assert next(network.parameters()).device.type == "cpu"
    picture = probe(network.config.size)[None]
    wanted = TorchRenderer(network, threads=1).encode_motion(picture)
    np.testing.assert_allclose(renderer.encode_motion(picture), wanted, atol=0.02)


def test_out_of_memory_gives_way_to_the_cpu_and_comes_back():
    network = random_network(CONFIGS["small"])
    said: list[str] = []
    clock = [0.0]
    gpu = on_gpu(network, "fp16")
    renderer = SafeguardedRenderer(
        gpu, lambda: TorchRenderer(network, threads=1), said.append, lambda: clock[0]
    )
    crop = pictures(network.config, 1)
    avatar = renderer.load_avatar(look_of(network, crop[0]))
    free, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        torch.cuda.empty_cache()
        alpha = renderer.encode_motion(crop)  # recording needs memory that it does not get
        there = renderer.render([avatar], alpha)
        assert renderer.device == "cpu" and len(said) == 1
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    clock[0] = 60.0
    again = renderer.render([avatar], renderer.encode_motion(crop))
    assert renderer.device.startswith("cuda") and "works again" in said[1]
    assert psnr_db(again, there) > 40
    assert free <= total
