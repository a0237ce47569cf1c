"""Batches and avatar switches around CUDA graphs, on the cpu: a recorder that repeats what it was given."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from lia_live.render.cuda_graphs import BATCHES, RecordedEncoder, RecordedSynthesis, batches
from lia_live.render.torch_renderer import TorchRenderer
from tests.render.networks import CONFIGS, look_of, pictures, random_network


class Repeating:
    """Stands for a ``Recorder``: fixed memory in, fixed memory out, and it counts."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.recorded = 0

    def record(self, run: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
        self.recorded += 1
        found = run().clone()

        def again() -> torch.Tensor:
            return found.copy_(run())

        return again


def test_parts_cover_all_frames() -> None:
    assert list(batches(0)) == []
    assert list(batches(1)) == [(0, 1, 1)]
    assert list(batches(5)) == [(0, 5, 8)]
    most = BATCHES[-1]
    assert list(batches(2 * most + 3)) == [(0, most, most), (most, most, most), (2 * most, 3, 4)]


@torch.inference_mode()
def test_any_number_of_any_avatars_and_nothing_is_recorded_anew() -> None:
    network = random_network(CONFIGS["tiny"])
    renderer, recorder = TorchRenderer(network, threads=1), Repeating()
    encode = RecordedEncoder(renderer._encoder, recorder, 32, 4)
    render = RecordedSynthesis(renderer._synthesis.stacked, recorder, 4)
    crops = pictures(network.config, 7)
    wanted = renderer.encode_motion(crops)
    avatars = [renderer.load_avatar(look_of(network, crop)) for crop in crops[:3]]
    for count in (7, 1, 3, 7, 5):
        alpha = torch.empty(count, 4)
        encode(torch.from_numpy(crops[:count]), alpha)
        assert np.abs(alpha.numpy() - wanted[:count]).max() < 1e-5
        for shift in (0, 1):
            chosen = [avatars[(index + shift) % 3] for index in range(count)]
            found = torch.empty(count, 32, 32, 3, dtype=torch.uint8)
            render(chosen, alpha, found)
            assert np.array_equal(found.numpy(), renderer.render(chosen, alpha.numpy()))
    assert recorder.recorded == 2 * 3  # for 8, 1 and 4
