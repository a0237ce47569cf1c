"""The discriminator and the losses of the adversarial game (spec sections 12 and 13). Training only.

StyleGAN2's residual discriminator with a minibatch standard deviation. Attribute names are the official
state_dict's. Weights of this network are never shipped: it lives in a run's checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lia_live.errors import ConfigError
from lia_live.model import LIAConfig
from lia_live.model.encoder import AppearanceEncoder
from lia_live.model.layers import GAIN, LEAK, EqualConv2d, EqualLinear

GROUP = 4
"""Most pictures that share one minibatch statistic."""
SPREAD_EPS = 1e-8
"""Added to the variance before the root, so that a group of one has a gradient."""


class Discriminator(nn.Module):
    """Picture to one logit: high for a photograph, low for a rendering. ``latent_dim`` plays no part."""

    def __init__(self, config: LIAConfig) -> None:
        super().__init__()
        c = config.channels
        self.config = config
        # the encoder's own, from the picture to (B, C(4), 4, 4): only its last, the latent code, is not wanted
        self.convs = AppearanceEncoder(config).convs[:-1]
        self.final_conv = nn.Sequential(
            EqualConv2d(c(4) + 1, c(4), 3, padding=1), ActivatedBias(c(4))
        )
        self.final_linear = nn.Sequential(ActivatedLinear(c(4) * 4 * 4, c(4)), EqualLinear(c(4), 1))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1], RGB -> logits (B, 1).

        B up to 4 or a multiple of 4, and the pictures of a batch influence one another: never mix real
        and fake ones. Raises ``ConfigError`` for another size or batch.
        """
        size = self.config.size
        if image.shape[1:] != (3, size, size):
            raise ConfigError(
                f"the discriminator sees (B, 3, {size}, {size}), got {tuple(image.shape)}"
            )
        x = image
        for conv in self.convs:
            x = conv(x)
        x = torch.cat((x, spread(x)), dim=1)  # (B, C(4) + 1, 4, 4)
        x = self.final_conv(x)
        logits: Tensor = self.final_linear(x.flatten(1))  # (B, 16·C(4)) -> (B, 1)
        return logits


class ActivatedBias(nn.Module):
    """sqrt(2) · leaky ReLU(x + bias), x (B, C, r, r)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x + self.bias, LEAK) * GAIN


class ActivatedLinear(EqualLinear):
    """sqrt(2) · leaky ReLU of the affine map."""

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(super().forward(x), LEAK) * GAIN


def spread(x: Tensor) -> Tensor:
    """How much the pictures of a group differ: (B, C, h, w) -> (B, 1, h, w), constant over a picture.

    Group g = min(B, 4): pictures i, i + B/g, ... share one value, the mean over C, h, w of their biased
    standard deviation. In float32 under autocast too. Raises ``ConfigError`` unless g divides B.
    """
    batch, channels, height, width = x.shape
    group = min(batch, GROUP)
    if batch % group:
        raise ConfigError(
            f"a batch of {batch} cannot be judged in groups of {group}",
            f"choose a batch of up to {GROUP} or a multiple of {GROUP}",
        )
    grouped = x.float().reshape(group, batch // group, channels, height, width)
    deviation = (grouped.var(0, unbiased=False) + SPREAD_EPS).sqrt()  # (B/g, C, h, w)
    value = deviation.mean((1, 2, 3)).repeat(group)  # (B,)
    return value.to(x.dtype)[:, None, None, None].expand(batch, 1, height, width)


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """mean softplus(-D(real)) + mean softplus(D(fake)): logits (B, 1) -> scalar, float32. 2·log 2 at a draw."""
    return F.softplus(-real_logits.float()).mean() + F.softplus(fake_logits.float()).mean()


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Non-saturating: mean softplus(-D(fake)), logits (B, 1) -> scalar, float32. log 2 at a draw."""
    return F.softplus(-fake_logits.float()).mean()


def r1_penalty(discriminator: nn.Module, real: Tensor) -> Tensor:
    """Mean over the batch of ‖∂D/∂picture‖² at ``real`` (B, 3, S, S): scalar, float32, differentiable.

    R1 of Mescheder et al. 2018; multiply by gamma/2. LIA was trained without it; it keeps a discriminator
    with little data from growing too steep. Autocast is off inside: squares of bf16 gradients are noise.
    The gradients are those of the summed logits, so with B > 1 they pass through the minibatch statistic.
    """
    with torch.autocast(real.device.type, enabled=False):
        picture = real.detach().float().requires_grad_(True)
        logits = discriminator(picture)
        (gradient,) = torch.autograd.grad(logits.sum(), picture, create_graph=True)
        return gradient.square().sum((1, 2, 3)).mean()
