"""What a joint training step is judged by. Every term is a mean, so weights do not depend on sizes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term of the joint step; 0 turns one off."""

    pixels: float = 1.0
    """L1 of the picture at three scales."""
    gradients: float = 1.0
    """L1 of its horizontal and vertical differences, same scales: what makes edges sharp."""
    flow: float = 0.2
    """Charbonnier distance of flow in pixels of a 128-pixel picture, all levels, where the flow is known."""
    mask: float = 0.5
    """Cross-entropy of the top level's mask against "a warp can show this": 1 is sharp, 0 is a mouth's dark inside.
    With ``teeth`` above 0, painted ones count as shown: lips are lent to them (``lifting.lent``)."""
    teeth: float = 0.0
    """Cross-entropy of the mask below the top level's against "nothing that lips lack to be teeth"
    (``lifting.lifted``); above 0 that level adds it where its mask is closed (``growth.paint``): for ``colours =
    "filled"``."""
    tongue: float = 0.0
    """Cross-entropy of the mask one level further down against "no painted tongue here"; only beside ``teeth``."""
    coarser: float = 0.0
    """L1 of what coarser levels add outside the insides of mouths: for ``colours = "filled"``."""
    motion: float = 3.0
    """Smooth L1 of the labelled coefficients (in label units) of source and driver."""
    free: float = 0.002
    """Mean square of the unlabelled coefficients."""
    perceptual: float = 0.0
    """Distance of features: VGG19's where its weights are given, else the fixed filters'."""
    adversarial: float = 0.0
    """Non-saturating GAN loss; above 0 a discriminator trains beside the network."""
    r1: float = 0.0
    """Gradient penalty on the discriminator's real pictures (the paper ran none)."""
    scales: int = 3
    """Halved scales that ``pixels`` and ``gradients`` are summed over; 1 in the paper."""


def pyramid_l1(
    image: Tensor, target: Tensor, region: Tensor, scales: int = 3
) -> tuple[Tensor, Tensor]:
    """Region-weighted L1 of pixels and of their differences, summed over halved scales.

    ``image``, ``target`` (B, 3, S, S); ``region`` (B, 1, S, S) with mean one.
    """
    pixels = image.new_zeros(())
    gradients = image.new_zeros(())
    for scale in range(scales):
        if scale:
            image, target, region = (F.avg_pool2d(x, 2) for x in (image, target, region))
        difference = image - target
        pixels = pixels + (difference.abs() * region).mean()
        across = difference[..., :, 1:] - difference[..., :, :-1]
        down = difference[..., 1:, :] - difference[..., :-1, :]
        gradients = gradients + (across.abs() * region[..., :, 1:]).mean()
        gradients = gradients + (down.abs() * region[..., 1:, :]).mean()
    return pixels, gradients


def flow_distance(raw: Tensor, flow: Tensor, weight: Tensor) -> Tensor:
    """Charbonnier distance of tanh(raw) (B, 2, r, r) from ``flow``, in pixels of a 128-pixel picture.

    ``weight`` (B, 1, r, r): region weights, zero where the flow is unknown. A weighted mean over each sample,
    zero where a sample knows none, then the mean over samples: half batches average to the whole.
    """
    difference = (torch.tanh(raw) - flow) * 64.0
    distance = (difference.square().sum(1, keepdim=True) + 0.01).sqrt() - 0.1
    known = weight.sum((1, 2, 3)).clamp(min=1e-6)  # (B,)
    return ((distance * weight).sum((1, 2, 3)) / known).mean()


def mask_distance(logits: Tensor, shown: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy of the mask (B, 1, r, r; logits) against ``shown`` (0 to 1), a mean over all places.

    ``weight`` (B, 1, r, r): region weights, zero where nobody knows.
    """
    distance = F.binary_cross_entropy_with_logits(logits, shown, reduction="none")
    return (distance * weight).mean()


def motion_distance(
    alpha: Tensor, theta: Tensor, gain: float, known: Tensor | None = None
) -> Tensor:
    """Smooth L1 of the labelled coefficients in label units: alpha (B, motion_dim), theta (B, labels).

    ``known`` (B, labels): 1 where a label was measured, 0 where nobody knows it; None: all are known.
    Zero without labels.
    """
    if theta.shape[1] == 0:
        return alpha.new_zeros(())
    read = alpha[:, : theta.shape[1]] / gain
    distance = F.smooth_l1_loss(read, theta, beta=0.5, reduction="none")
    return (distance if known is None else distance * known).mean()
