"""What a joint step minimises: each term a mean over samples, what nobody knows left out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lia_live.puppet.maps import resized
from lia_live.train import losses
from lia_live.train.clip_pairs import MEASURED, ClipPairs
from lia_live.train.lifting import lent, lifted
from lia_live.train.losses import LossWeights
from lia_live.train.motion import MotionConfig
from lia_live.train.objective import joint_terms, weighted
from lia_live.train.pairs import Pairs
from lia_live.train.perceptual import FixedFeatures
from lia_live.train.performer import Performer, PerformerConfig
from lia_live.train.steps import split
from lia_live.train.teacher import ALPHA_GAIN, Rendered
from tests.train import runs
from tests.train.faces import drawn_portraits
from tests.train.mouths import raw_of, wide_open

ALL = replace(runs.STAGE, losses=LossWeights(perceptual=0.5, coarser=2.0, teeth=1.0, tongue=1.0))


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    """Five performed, three of a clip, mixed."""
    generator = torch.Generator().manual_seed(0)
    open_mouths = PerformerConfig(motion=MotionConfig(open_share=1.0))
    performer = Performer(drawn_portraits(), config=open_mouths)
    parts = (
        Pairs.of_performance(performer.pairs(torch.arange(5) % 3, generator, 32)),
        ClipPairs(runs.performed_clips()).pairs(torch.tensor([0, 1, 0]), generator, 32),
    )
    return Pairs.join(parts).pick(torch.randperm(8, generator=generator))


def rendered(count: int = 8, seed: int = 1) -> Rendered:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(count, *shape, generator=generator, requires_grad=True)

    raws = [draw(3, r, r) for r in (8, 16, 32)]
    return Rendered(draw(3, 32, 32), draw(3, 16, 16), raws, draw(20), draw(20))


def rows(out: Rendered, part: slice) -> Rendered:
    raws = [raw[part] for raw in out.raws]
    assert out.coarser is not None
    alphas = out.alpha_source[part], out.alpha_driver[part]
    return Rendered(out.image[part], out.coarser[part], raws, *alphas)


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_every_term_is_a_mean_over_samples(pairs: Pairs, parts: int) -> None:
    out = rendered()
    whole = joint_terms(out, pairs, ALL, 16, FixedFeatures())
    slices = [slice(first, None, parts) for first in range(parts)]
    pieces = [
        joint_terms(rows(out, part), pairs.pick(part), ALL, 16, FixedFeatures()) for part in slices
    ]
    expected = {
        "pixels", "gradients", "flow", "mask", "teeth", "tongue", "coarser", "motion", "free", "perceptual",
    }  # fmt: skip
    assert whole.keys() == expected
    for name, value in whole.items():
        mean = torch.stack([piece[name] for piece in pieces]).mean().item()
        assert mean == pytest.approx(value.item(), rel=2e-6), name
        assert value > 0


def test_the_gradient_of_the_parts_is_the_gradient_of_the_whole(pairs: Pairs) -> None:
    out = rendered()
    weighted(joint_terms(out, pairs, ALL, 16, None), ALL.losses).backward()
    whole = [t.grad.clone() for t in (out.image, *out.raws, out.alpha_source, out.alpha_driver)]
    out = rendered()
    for first in range(4):
        part = slice(first, None, 4)
        terms = joint_terms(rows(out, part), pairs.pick(part), ALL, 16, None)
        (weighted(terms, ALL.losses) / 4).backward()
    for tensor, expected in zip(
        (out.image, *out.raws, out.alpha_source, out.alpha_driver), whole, strict=True
    ):
        assert torch.allclose(tensor.grad, expected, rtol=1e-4, atol=1e-8)


def test_what_a_clip_does_not_know_has_no_gradient(pairs: Pairs) -> None:
    out = rendered()
    terms = joint_terms(out, pairs, ALL, 16, None)
    (terms["motion"] + terms["mask"]).backward()
    unknown = pairs.known == 0
    clip = unknown.any(1)
    assert clip.sum() == 3
    gradient = out.raws[-1].grad[:, 2:3]
    assert (
        gradient[pairs.judged_at(32) == 0].abs().max() == 0
    )  # holes, and what a clip does not follow
    assert (gradient[pairs.judged_at(32) > 0] != 0).all()
    assert (pairs.judged_at(32)[clip] == 0).any()
    assert out.alpha_driver.grad[:, :16][unknown].abs().max() == 0
    assert (out.alpha_driver.grad[:, :16][~unknown] != 0).float().mean() > 0.99
    assert unknown[clip].any(0).sum() == 16 - len(MEASURED)


def test_the_right_answer_costs_nothing(pairs: Pairs) -> None:
    """Pictures, flow and labels as they are; a mask between 0 and 1 costs its own entropy."""
    shown = torch.maximum(pairs.valid_at(32), lent(pairs.teeth_at(32)))
    top = torch.cat([torch.atanh(pairs.flow_at(32)), torch.logit(shown, 1e-7)], 1)
    no_teeth, no_tongue = 1 - resized(lifted(pairs, top), 16), 1 - pairs.tongue_at(8)
    raws = [
        torch.cat([torch.atanh(pairs.flow_at(r)), torch.logit(mask, 1e-7)], 1)
        for r, mask in ((8, no_tongue), (16, no_teeth))
    ]
    raws.append(top)
    pad = torch.zeros(8, 4)
    out = Rendered(
        pairs.target,
        torch.zeros(8, 3, 16, 16),
        raws,
        torch.cat([pairs.theta_source * ALPHA_GAIN, pad], 1),
        torch.cat([pairs.theta_target * ALPHA_GAIN, pad], 1),
    )
    terms = joint_terms(out, pairs, ALL, 16, FixedFeatures())

    def floor(share: Tensor) -> float:
        side, share = share.shape[-1], share.clamp(1e-7, 1 - 1e-7)
        entropy = -(share * share.log() + (1 - share) * (1 - share).log())
        region = 1 + ALL.region_share * (pairs.weights_at(side) - 1)
        return float((entropy * pairs.judged_at(side) * region).mean())

    floors = {
        "mask": floor(shown),
        "teeth": floor(no_teeth),
        "tongue": floor(no_tongue),
    }
    for name, value in terms.items():
        assert value == pytest.approx(floors.get(name, 0), abs=1e-4)


@pytest.mark.parametrize(
    ("off", "gone"),
    [(name, name) for name in ("flow", "mask", "teeth", "tongue", "coarser", "motion", "free")],
)
def test_a_weight_of_zero_turns_a_term_off(pairs: Pairs, off: str, gone: str) -> None:
    stage = replace(ALL, losses=replace(ALL.losses, **{off: 0.0}))
    assert gone not in joint_terms(rendered(), pairs, stage, 16, None)
    assert "perceptual" not in joint_terms(rendered(), pairs, stage, 16, None)


@pytest.mark.parametrize(("painted", "level"), [("teeth", 1), ("tongue", 0)])
def test_levels_below_the_top_learn_where_mouths_are_painted(
    pairs: Pairs, painted: str, level: int
) -> None:
    """Open everywhere, closed on teeth or the tongue; the other levels are not asked."""
    out = rendered()
    joint_terms(out, pairs, ALL, 16, None)[painted].backward()
    assert [raw.grad is not None for raw in out.raws] == [here == level for here in range(3)]
    below = out.raws[level]
    side = below.shape[-1]
    light = resized({"teeth": lifted(pairs, out.raws[-1]), "tongue": pairs.tongue}[painted], side)
    open_here, down = torch.sigmoid(below[:, 2:3]), below.grad[:, 2:3]
    asked = pairs.judged_at(side) > 0
    too_open = open_here > 1 - light
    assert (down[asked & too_open] > 0).all()
    assert (down[asked & ~too_open] < 0).all()
    assert (down[~asked] == 0).all()
    performed = (pairs.known == 1).all(1)
    assert light[performed].amax() > 0.1
    assert light[~performed].amax() == 0, "a clip does not tell"


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_last_level_shows_lips_where_teeth_are_painted(weight: float) -> None:
    """Whether it does is for the weight of teeth to say."""
    batch = wide_open(128)
    raws = [raw_of(batch, side) for side in (32, 64, 128)]
    stage = replace(ALL, size=128, losses=replace(ALL.losses, teeth=weight, tongue=0.0))
    teeth = (batch.teeth > 0.3) & (batch.valid == 0) & (batch.judged > 0)
    assert teeth.sum() > 20
    raws[-1][:, 2] = 0.0
    raws[-1].requires_grad_()
    out = Rendered(batch.target, batch.target[..., ::2, ::2], raws, *torch.zeros(2, 6, 20))
    joint_terms(out, batch, stage, 16, None)["mask"].backward()
    opens = raws[-1].grad[:, 2:3] < 0
    assert opens[teeth & (batch.teeth > 0.4)].float().mean() == weight
    dark = (batch.within == 1) & (batch.teeth == 0)
    assert not opens[dark].any()


def test_a_registered_stage_judges_mouths_where_they_are_and_the_flow_by_the_truth() -> None:
    batch = wide_open(64)
    up = torch.tensor([0.0, 2 * 2 / 64]).view(1, 2, 1, 1)
    raws = [raw_of(batch, side, up) for side in (16, 32, 64)]
    higher = [torch.cat([raw[:, :2], raw[:, 2:].roll(-2, 2)], 1) for raw in raws]
    out = Rendered(
        batch.target.roll(-2, 2), batch.target[..., ::2, ::2], higher, *torch.zeros(2, 6, 20)
    )
    apart, together = (
        joint_terms(out, batch, replace(ALL, size=64, registered=on), 16, None)
        for on in (False, True)
    )
    assert torch.equal(apart["flow"], together["flow"])
    for name in ("pixels", "gradients", "mask"):
        assert together[name] < 0.9 * apart[name], "a mouth that is two pixels higher is no mistake"


def test_coarser_levels_may_colour_the_insides_of_mouths_alone(pairs: Pairs) -> None:
    out = rendered()
    joint_terms(out, pairs, ALL, 16, None)["coarser"].backward()
    assert out.coarser is not None and out.coarser.grad is not None
    within = pairs.within_at(16).expand(-1, 3, -1, -1)
    assert (out.coarser.grad[within < 1] != 0).all()
    assert (out.coarser.grad[within == 1] == 0).all()
    performed = (pairs.known == 1).all(1)
    assert within[performed].max() == 1, "some mouth is open wide enough to be seen here"
    assert within[performed].mean() < 0.1


def test_without_labels_no_motion_is_asked_for(pairs: Pairs) -> None:
    assert "motion" not in joint_terms(rendered(), pairs, ALL, 0, None)


def test_the_sum_has_the_weights() -> None:
    terms = {"pixels": torch.tensor(2.0), "flow": torch.tensor(3.0)}
    assert weighted(terms, LossWeights(pixels=10, flow=0.5)) == 21.5


def test_losses_are_zero_for_the_right_answer_and_grow_with_the_error() -> None:
    picture = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    even = torch.ones(2, 1, 32, 32)
    assert sum(losses.pyramid_l1(picture, picture, even)) == 0
    near = losses.pyramid_l1(picture + 0.1, picture, even)[0]
    far = losses.pyramid_l1(picture + 0.2, picture, even)[0]
    assert far > 1.9 * near > 0
    flow = torch.zeros(2, 2, 32, 32)
    one_pixel = torch.full_like(flow, 1 / 64)  # of a 128-pixel picture
    exact = losses.flow_distance(torch.atanh(one_pixel), one_pixel, even)
    off = losses.flow_distance(flow, one_pixel, even)
    assert exact.abs() < 1e-6
    assert off == pytest.approx(2**0.5 - 0.1, abs=0.01)
    assert losses.flow_distance(flow, one_pixel, torch.zeros_like(even)) == 0


def test_mouths_weigh_more_in_the_pixel_loss() -> None:
    target = torch.zeros(1, 3, 32, 32)
    region = torch.full((1, 1, 32, 32), 0.5)
    region[..., 16:, :] = 1.5
    above, below = target.clone(), target.clone()
    above[..., 4:8, :] = 1
    below[..., 20:24, :] = 1
    assert losses.pyramid_l1(below, target, region)[0] == pytest.approx(
        3 * losses.pyramid_l1(above, target, region)[0].item(), rel=1e-4
    )


@pytest.mark.parametrize(
    ("count", "parts", "grouped", "expected"),
    [
        (8, 1, False, (1, 8)),
        (8, 16, False, (8, 8)),  # a later stage with a smaller batch
        (6, 4, False, (4, 6)),
        (1, 2, False, (1, 1)),
        (16, 2, True, (2, 4)),
        (16, 8, True, (4, 4)),
        (24, 4, True, (6, 6)),  # four parts would tear a group
        (12, 2, True, (3, 3)),
        (2, 4, True, (1, 1)),
    ],
)
def test_parts_fit_the_batch_and_never_tear_a_group(
    count: int, parts: int, grouped: bool, expected: tuple[int, int]
) -> None:
    assert split(count, parts, grouped) == expected
    sizes = [len(range(count)[first :: expected[0]]) for first in range(expected[0])]
    assert sum(sizes) == count
    assert min(sizes) >= 1
    assert not grouped or all(size % 4 == 0 or size == count for size in sizes)
