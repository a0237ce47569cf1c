"""What a joint step minimises: every term by name, each a mean over samples, and their weighted sum."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lia_live.puppet.maps import resized
from lia_live.train import losses
from lia_live.train.lifting import lent, lifted
from lia_live.train.pairs import Pairs
from lia_live.train.registration import registered
from lia_live.train.schedule import Stage
from lia_live.train.teacher import ALPHA_GAIN, Rendered

Perceptual = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(image, target, region) -> scalar: ``train.perceptual``."""


def joint_terms(
    out: Rendered, pairs: Pairs, stage: Stage, labels: int, perceptual: Perceptual | None
) -> dict[str, Tensor]:
    """The unweighted terms that this stage gives a weight to, except the adversarial one."""
    weights, size = stage.losses, stage.size
    image = out.image.float()
    true = pairs  # with the lips in their places: for the flow
    if stage.registered:
        pairs = registered(pairs, out.raws[-1])
    region = _regions(pairs.weights_at(size), stage.region_share)
    terms: dict[str, Tensor] = {}
    terms["pixels"], terms["gradients"] = losses.pyramid_l1(
        image, pairs.target, region, weights.scales
    )
    if weights.flow:
        terms["flow"] = _flow(out.raws, true, stage.region_share)
    if weights.mask:
        judged = pairs.judged_at(size) * region
        shown = pairs.valid_at(size)
        if weights.teeth:
            shown = torch.maximum(shown, lent(pairs.teeth_at(size)))
        terms["mask"] = losses.mask_distance(out.raws[-1][:, 2:3], shown, judged)
    if weights.teeth and len(out.raws) > 1:
        light = resized(lifted(pairs, out.raws[-1]), out.raws[-2].shape[-1])
        terms["teeth"] = _painted(out.raws[-2], pairs, light, stage.region_share)
    if weights.tongue and len(out.raws) > 2:
        light = pairs.tongue_at(out.raws[-3].shape[-1])
        terms["tongue"] = _painted(out.raws[-3], pairs, light, stage.region_share)
    if weights.coarser and out.coarser is not None:
        side = out.coarser.shape[-1]
        elsewhere = 1 - pairs.within_at(side)
        apart = elsewhere * _regions(pairs.weights_at(side), stage.region_share)
        terms["coarser"] = (out.coarser.float().abs() * apart).mean()
    if labels and weights.motion:
        terms["motion"] = losses.motion_distance(
            out.alpha_source.float(), pairs.theta_source, ALPHA_GAIN, pairs.known
        ) + losses.motion_distance(
            out.alpha_driver.float(), pairs.theta_target, ALPHA_GAIN, pairs.known
        )
    if weights.free and labels < out.alpha_driver.shape[1]:
        terms["free"] = out.alpha_driver[:, labels:].float().square().mean()
    if weights.perceptual and perceptual is not None:
        terms["perceptual"] = perceptual(image, pairs.target, region)
    return terms


def weighted(terms: dict[str, Tensor], weights: losses.LossWeights) -> Tensor:
    """The scalar to descend."""
    return torch.stack([getattr(weights, name) * value for name, value in terms.items()]).sum()


def _painted(raw: Tensor, pairs: Pairs, light: Tensor, region_share: float) -> Tensor:
    """How far a level's mask (in ``raw``) is from closed by the light of what is painted, and open elsewhere."""
    side = raw.shape[-1]
    judged = pairs.judged_at(side) * _regions(pairs.weights_at(side), region_share)
    return losses.mask_distance(raw[:, 2:3], 1 - light, judged)


def _flow(raws: list[Tensor], pairs: Pairs, region_share: float) -> Tensor:
    """Mean over the levels."""
    levels = []
    for raw in raws:
        side = raw.shape[-1]
        known = pairs.valid_at(side) * _regions(pairs.weights_at(side), region_share)
        levels.append(losses.flow_distance(raw[:, :2], pairs.flow_at(side), known))
    return torch.stack(levels).mean()


def _regions(weights: Tensor, share: float) -> Tensor:
    return 1 + share * (weights - 1)
