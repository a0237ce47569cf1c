"""The discriminator against the spec's numbers, and its losses against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from lia_live.errors import ConfigError
from lia_live.model import LIA, LIAConfig
from lia_live.train.discriminator import (
    Discriminator,
    discriminator_loss,
    generator_loss,
    r1_penalty,
    spread,
)

TINY = LIAConfig(size=32, width=0.0625, latent_dim=8, motion_dim=4)


@pytest.fixture
def judge() -> Discriminator:
    torch.manual_seed(2)
    return Discriminator(TINY)


def pictures(batch: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


# The network.


def test_official_size_has_the_official_number_of_parameters():
    with torch.device("meta"):
        official = Discriminator(LIAConfig())
    assert sum(p.numel() for p in official.parameters()) == 24_001_089


def test_keys_are_the_encoders_and_the_named_ends():
    with torch.device("meta"):
        official, encoder = Discriminator(LIAConfig()), LIA(LIAConfig()).enc.net_app
    found = {key: tuple(value.shape) for key, value in official.state_dict().items()}
    shared = {
        key: tuple(value.shape)
        for key, value in encoder.state_dict().items()
        if not key.startswith("convs.7.")
    }
    assert found == shared | {
        "final_conv.0.weight": (512, 513, 3, 3),
        "final_conv.1.bias": (1, 512, 1, 1),
        "final_linear.0.weight": (512, 8192),
        "final_linear.0.bias": (512,),
        "final_linear.1.weight": (1, 512),
        "final_linear.1.bias": (1,),
    }


def test_width_and_size_are_the_configs():
    judge = Discriminator(LIAConfig(size=64, width=0.25))
    assert judge.final_linear[0].weight.shape == (128, 16 * 128)
    assert judge(torch.zeros(2, 3, 64, 64)).shape == (2, 1)


def test_ends_are_what_the_spec_says(judge):
    """Everything behind the 4x4 map, written out in numpy."""
    map4 = torch.randn(1, 32, 4, 4, generator=torch.Generator().manual_seed(5))
    judge.convs = nn.ModuleList([nn.Identity()])
    judge.config = LIAConfig(size=32)
    with torch.no_grad():
        for parameter in judge.parameters():
            parameter.copy_(
                torch.randn(parameter.shape, generator=torch.Generator().manual_seed(6))
            )
        seen = {}
        judge.convs[0].register_forward_hook(lambda module, given, out: map4)
        judge.final_linear.register_forward_hook(lambda module, given, out: seen.update(out=out))
        judge(torch.zeros(1, 3, 32, 32))

    def lrelu(x):
        return math.sqrt(2) * np.where(x > 0, x, 0.2 * x)

    state = {key: value.detach().double().numpy() for key, value in judge.state_dict().items()}
    x = np.concatenate([map4[0].double().numpy(), np.full((1, 4, 4), 1e-4)])
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    windows = np.array([[padded[:, i : i + 3, j : j + 3] for j in range(4)] for i in range(4)])
    x = np.einsum("hwikl,oikl->ohw", windows, state["final_conv.0.weight"]) / math.sqrt(33 * 9)
    x = lrelu(x + state["final_conv.1.bias"][0]).reshape(-1)
    x = lrelu(state["final_linear.0.weight"] @ x / math.sqrt(x.size) + state["final_linear.0.bias"])
    x = state["final_linear.1.weight"] @ x / math.sqrt(x.size) + state["final_linear.1.bias"]
    assert seen["out"].item() == pytest.approx(x.item(), rel=1e-4)


def test_spread_against_numpy():
    x = torch.randn(8, 5, 4, 4, generator=torch.Generator().manual_seed(1))
    found = spread(x)
    assert found.shape == (8, 1, 4, 4)
    groups = x.double().numpy().reshape(4, 2, 5, 4, 4)
    expected = np.sqrt(groups.var(axis=0) + 1e-8).mean(axis=(1, 2, 3))
    for picture in range(8):
        assert torch.allclose(found[picture], torch.tensor(expected[picture % 2]).float())


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 8])
def test_batches_that_can_be_judged(judge, batch):
    logits = judge(pictures(batch))
    assert logits.shape == (batch, 1)
    logits.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in judge.parameters())


def test_batches_and_pictures_that_cannot(judge):
    with pytest.raises(ConfigError, match="batch of 6 cannot be judged in groups of 4") as failure:
        judge(pictures(6))
    assert "multiple of 4" in failure.value.hint
    with pytest.raises(ConfigError, match=r"\(B, 3, 32, 32\)"):
        judge(torch.zeros(1, 3, 64, 64))


def test_a_batch_of_copies_gives_itself_away(judge):
    """The statistic sees that four pictures are one; each alone looks the same."""
    x = torch.randn(4, 3, 4, 4)
    assert spread(x[:1].expand(4, -1, -1, -1)).max() < 2e-4 < spread(x).min()


def test_bf16_autocast_stays_close(judge):
    with torch.no_grad():
        exact = judge(pictures(4))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = judge(pictures(4))
    assert (rough.float() - exact).abs().max() < 0.05


# The losses.


def test_losses_in_closed_form():
    real, fake = torch.tensor([[2.0], [-1.0]]), torch.tensor([[0.5], [-3.0]])
    softplus = lambda x: math.log1p(math.exp(x))  # noqa: E731
    expected = (softplus(-2) + softplus(1)) / 2 + (softplus(0.5) + softplus(-3)) / 2
    assert discriminator_loss(real, fake).item() == pytest.approx(expected, rel=1e-6)
    expected = (softplus(-0.5) + softplus(3)) / 2
    assert generator_loss(fake).item() == pytest.approx(expected, rel=1e-6)
    draw = torch.zeros(4, 1)
    assert discriminator_loss(draw, draw).item() == pytest.approx(2 * math.log(2))


def test_losses_do_not_overflow_and_generator_never_saturates():
    far = torch.tensor([[-1e4]], requires_grad=True)
    loss = generator_loss(far)
    loss.backward()
    assert loss.item() == 1e4
    assert far.grad.item() == -1.0
    assert generator_loss(torch.zeros(1, 1, dtype=torch.bfloat16)).dtype == torch.float32


class Linear(nn.Module):
    """D(x) = <w, x> + half ‖x‖²·c: its gradient is w + c·x."""

    def __init__(self, curvature: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(4)))
        self.curvature = curvature

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value = x * self.weight + self.curvature / 2 * x.square()
        return value.sum((1, 2, 3))[:, None]


@pytest.mark.parametrize("curvature", [0.0, 0.7])
def test_r1_in_closed_form(curvature):
    model, x = Linear(curvature), torch.rand(3, 3, 8, 8)
    penalty = r1_penalty(model, x)
    slope = model.weight + curvature * x
    assert torch.allclose(penalty, slope.square().sum((1, 2, 3)).mean())
    penalty.backward()
    assert torch.allclose(model.weight.grad, 2 * slope.mean(0), atol=1e-5)


def test_r1_of_the_network_by_finite_differences(judge):
    """Parameters moved a little along their gradient change the penalty as much as it says."""
    real = pictures(2)
    penalty = r1_penalty(judge, real)
    assert not real.requires_grad
    penalty.backward()
    moving = [p for p in judge.parameters() if p.grad is not None]  # not the last bias
    steepness = sum(float(p.grad.square().sum()) for p in moving)
    step = 1e-4 * penalty.item() / steepness  # small: every kink passed is a jump of the slope
    with torch.no_grad():
        for parameter in moving:
            parameter.add_(parameter.grad, alpha=step)
    moved = r1_penalty(judge, real).item() - penalty.item()
    assert moved == pytest.approx(step * steepness, rel=0.1)


def test_r1_is_float32_under_autocast(judge):
    exact = r1_penalty(judge, pictures(4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = r1_penalty(judge, pictures(4))
    assert inside.dtype == torch.float32
    assert torch.equal(inside, exact)
