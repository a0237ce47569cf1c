"""Every loss is a mean over samples: batches can be split."""

import torch

from lia_live.train.losses import flow_distance, motion_distance, pyramid_l1

HALVES = (slice(0, 2), slice(2, 4))


def test_half_batches_average_to_the_whole() -> None:
    torch.manual_seed(0)
    raw, flow = torch.randn(2, 4, 2, 16, 16)
    weight = torch.rand(4, 1, 16, 16) * torch.tensor([0.1, 1.0, 3.0, 0.0]).view(4, 1, 1, 1)
    halves = [flow_distance(raw[h], flow[h], weight[h]) for h in HALVES]
    assert torch.allclose(flow_distance(raw, flow, weight), sum(halves) / 2)

    image, target = torch.randn(2, 4, 3, 16, 16)
    whole = torch.stack(pyramid_l1(image, target, weight))
    parts = [torch.stack(pyramid_l1(image[h], target[h], weight[h])) for h in HALVES]
    assert torch.allclose(whole, sum(parts) / 2)


def test_a_sample_that_knows_no_flow_counts_zero() -> None:
    raw, flow = torch.randn(2, 2, 2, 8, 8)
    weight = torch.stack((torch.ones(1, 8, 8), torch.zeros(1, 8, 8)))
    assert torch.allclose(
        flow_distance(raw, flow, weight), flow_distance(raw[:1], flow[:1], weight[:1]) / 2
    )


def test_without_labels_there_is_no_motion_to_miss() -> None:
    assert motion_distance(torch.randn(2, 20), torch.zeros(2, 0), 2.0) == 0
