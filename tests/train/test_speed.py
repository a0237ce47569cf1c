"""The fast formulation is the plain one: same numbers, same gradients, and bf16 keeps their direction."""

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lia_live.model import LIA, LIAConfig
from lia_live.model.halving import halve
from lia_live.model.layers import fir, fir_kernel, mix
from lia_live.train.plain import PlainTeacher
from lia_live.train.teacher import Teacher

CONFIG = LIAConfig(size=64, width=0.125, latent_dim=32)
LABELS, BATCH = 16, 3


def teachers(dtype: torch.dtype) -> tuple[Teacher, PlainTeacher]:
    """Two with the same parameters, every one of which matters."""
    torch.manual_seed(0)
    fast = Teacher(LIA(CONFIG), LABELS).to(dtype)
    with torch.no_grad():
        for name, parameter in fast.named_parameters():
            if "bias" in name:
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
            if "to_flows" in name:
                parameter.mul_(0.2)  # short flows: samples stay inside the picture
    plain = PlainTeacher(copy.deepcopy(fast.model), LABELS).to(dtype)
    plain.load_state_dict(fast.state_dict())
    return fast, plain


def gradients(teacher: Teacher, dtype: torch.dtype, low: bool = False) -> dict[str, Tensor]:
    """Of a smooth function of everything that ``Rendered`` has."""
    torch.manual_seed(1)
    source, driver, target = (2 * torch.rand(3, BATCH, 3, 64, 64) - 1).to(dtype)
    theta = torch.randn(2, BATCH, LABELS).to(dtype)
    oracle = torch.tensor([True, False, False])
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
        out = teacher(source, driver, theta[0], theta[1], oracle)
    loss = (out.image - target).square().mean() + out.alpha_source.square().mean()
    loss = loss + out.alpha_driver.cos().mean()
    for raw in out.raws:
        loss = loss + torch.tanh(raw).square().mean()
    loss.backward()
    found = {n: p.grad for n, p in teacher.named_parameters() if p.grad is not None}
    return {"loss": loss.detach(), **found}


def test_gradients_are_those_of_the_plain_formulation() -> None:
    fast, plain = teachers(torch.float64)
    found, expected = gradients(fast, torch.float64), gradients(plain, torch.float64)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        # the sampling grid itself is float32
        assert (found[name] - value).norm() <= 1e-6 * value.norm() + 1e-12, name


def test_bf16_keeps_the_direction_of_the_gradient() -> None:
    fast, plain = teachers(torch.float32)
    exact, rounded = gradients(plain, torch.float32), gradients(fast, torch.float32, low=True)
    assert all(value.dtype == torch.float32 for value in rounded.values())
    expected, found = (torch.cat([v.flatten() for v in g.values()]) for g in (exact, rounded))
    assert F.cosine_similarity(expected, found, dim=0) > 0.999


def test_flow_and_picture_stay_exact_under_autocast() -> None:
    fast, _ = teachers(torch.float32)
    pictures = 2 * torch.rand(2, 1, 3, 64, 64) - 1
    theta = torch.zeros(1, LABELS)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        out = fast(*pictures, theta, theta, torch.tensor([False]))
    found = (out.image, *out.raws, out.alpha_source, out.alpha_driver)
    assert all(value.dtype == torch.float32 for value in found)
    # more digits than bf16 has: nothing rounded the sum on its way up
    assert not torch.equal(out.raws[-1], out.raws[-1].bfloat16().float())


@pytest.mark.parametrize("shared", [True, False])
def test_mix_is_a_1x1_convolution(shared: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 5, 4, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(1 if shared else 2, 3, 5, dtype=torch.float64, requires_grad=True)
    each = weight.expand(2, -1, -1)
    expected = torch.stack([F.conv2d(x[i], each[i, :, :, None, None]) for i in range(2)])
    assert torch.allclose(mix(x, weight), expected)
    assert torch.autograd.gradcheck(mix, (x, weight))


def test_halving_is_every_second_sample_of_the_filter() -> None:
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    kernel = fir_kernel().double() * torch.rand(4, 4, dtype=torch.float64)  # not symmetric
    assert torch.allclose(halve(x, kernel), fir(x, kernel, 1)[:, :, ::2, ::2])
    assert torch.autograd.gradcheck(lambda y: halve(y, kernel), x)
    assert torch.autograd.gradgradcheck(lambda y: halve(y, kernel), x)
