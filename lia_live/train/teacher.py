"""A network in training: the labelled motion code, teacher forcing, and the term that is folded away.

Synthetic performances know the true motion of both pictures, so the first coefficients *are* named motions.
While the encoder still guesses, the decoder is given the truth in a share of the batches ("oracle"): it then
learns flow in minutes. For that the source's motion needs a way in as well: ``w = z + T·alpha_source +
Q·alpha_driver``. T starts as -Q (what matters first is the difference) and is linear, so at the end it is
folded into the encoder's last layer, exactly: ``z' = (I + T F) z`` with F the collapsed motion head.

A network without labels (a converted official checkpoint) has no truth to tell: T stays zero, no sample is
an oracle's, and training is LIA's own forward pass.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lia_live.model import LIA, Direction
from lia_live.model.layers import EqualConv2d, EqualLinear, all_of, exact
from lia_live.puppet.theta import THETA, TRACKED, Y

LOWEST_Y = 1.8
"""A driver's head takes the avatar's down so far, in label units (0.16 eye distances before gains); it was trained to
go further. Beyond it, more of the hair above the portrait's upper edge would be seen than can be made up."""
ALPHA_GAIN = 2.0
"""Coefficients are labels (s.d. about 1) times this, so that they are heard beside the appearance code."""


@dataclass(frozen=True)
class Rendered:
    """What one joint training step looks at."""

    image: Tensor
    """(B, 3, S, S)."""
    coarser: Tensor | None
    """(B, 3, S/2, S/2): what the levels below the last one give to the picture; None where there is no other."""
    raws: list[Tensor]
    """Raw flow and mask logit per level, (B, 3, r, r), coarse to fine."""
    alpha_source: Tensor
    """(B, motion_dim), as encoded."""
    alpha_driver: Tensor
    """(B, motion_dim), as encoded."""


class Teacher(nn.Module):
    """Wraps a network with the teacher term T; ``folded`` gives the plain network back.

    ``labels``: how many of the first coefficients are named motions; 0 leaves T zero for good.
    """

    def __init__(self, model: LIA, labels: int) -> None:
        super().__init__()
        self.model = model
        self.labels = labels
        basis = model.dec.direction.basis().detach()  # (latent_dim, motion_dim)
        self.term = nn.Parameter(
            -basis.clone() if labels else torch.zeros_like(basis), requires_grad=labels > 0
        )

    def forward(
        self,
        source: Tensor,
        driver: Tensor,
        theta_source: Tensor,
        theta_target: Tensor,
        oracle: Tensor,
    ) -> Rendered:
        """Pictures (B, 3, S, S); theta (B, labels); oracle (B,) bool: which samples get the true motion.

        Without labels theta and oracle are not read.
        """
        latent, features = self._encode(torch.cat((source, driver)))
        latent = latent.to(self.term.dtype)
        alpha_source, alpha_driver = self.model.enc.fc(latent).chunk(2)
        told_source = self._tell(alpha_source, theta_source, oracle)
        change = theta_target - theta_source
        told_driver = self._tell(
            self._followed(alpha_source, alpha_driver, change), theta_target, oracle
        )
        batch = source.shape[0]
        with exact(latent):
            basis = self.model.dec.direction.basis().to(latent.dtype)
            w = latent[:batch] + told_driver @ basis.T
            if self.labels:
                w = w + told_source @ self.term.T
        pictures, raws = self._decode(w, tuple(f[:batch] for f in features))
        coarser = pictures[-2] if len(pictures) > 1 else None
        return Rendered(pictures[-1], coarser, raws, alpha_source, alpha_driver)

    def read_motion(self, picture: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, motion_dim), float32."""
        latent, _ = self._encode(picture)
        alpha: Tensor = self.model.enc.fc(latent)
        return alpha

    def _encode(self, picture: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        latent, features = self.model.enc.net_app(picture)
        return latent, features

    def _decode(self, w: Tensor, features: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        return self.model.dec.levels(w, features)

    def _followed(self, alpha_source: Tensor, alpha_driver: Tensor, change: Tensor) -> Tensor:
        """The driver's coefficients (B, motion_dim), those of ``TRACKED`` as far from the source's as was measured."""
        if self.labels == 0:
            return alpha_driver
        columns = list(alpha_driver.unbind(1))
        for label in TRACKED:
            columns[label] = alpha_source[:, label] + ALPHA_GAIN * change[:, label]
        return torch.stack(columns, 1)

    def _tell(self, alpha: Tensor, theta: Tensor, oracle: Tensor) -> Tensor:
        if self.labels == 0:
            return alpha
        truth = torch.cat((theta * ALPHA_GAIN, torch.zeros_like(alpha[:, self.labels :])), dim=1)
        return torch.where(oracle[:, None], truth, alpha)

    @torch.no_grad()
    def folded(self) -> LIA:
        """A plain network that renders what this one does without the oracle; this one is left alone."""
        model = copy.deepcopy(self.model)
        matrix, offset = collapse(model.enc.fc)  # alpha = F z + f0
        identity = torch.eye(matrix.shape[1], dtype=torch.float64)
        mix = identity + self.term.double() @ matrix  # I + T F
        head = all_of(EqualConv2d, model.enc.net_app.convs)[-1].weight  # (latent_dim, C, 4, 4)
        head.copy_(torch.einsum("oi,ichw->ochw", mix, head.double()))
        *neutral, last = all_of(EqualLinear, model.enc.fc)
        for linear in neutral:
            linear.weight.copy_(identity / linear.scale)
            linear.bias.zero_()
        last.weight.copy_(torch.linalg.solve(mix.T, matrix.T).T / last.scale)
        last.bias.copy_(offset)
        constant = (
            self.term.double() @ offset
        ).float()  # T f0, a constant of w: a bias of each style
        for style in all_of(EqualLinear, model.dec.modules()):
            style.bias.add_(style.weight @ constant * style.scale)
        return model


def label_directions(motion_dim: int) -> tuple[Direction, ...]:
    """Names and ranges of the coefficients that training tied to motions; the rest are free."""
    named = [
        Direction(
            t.name, t.low * ALPHA_GAIN, t.high * ALPHA_GAIN, t.neutral * ALPHA_GAIN, ALPHA_GAIN
        )
        for t in THETA
    ]
    named[Y] = replace(named[Y], high=LOWEST_Y * ALPHA_GAIN)
    free = [Direction(f"free {i + 1}", -3.0, 3.0) for i in range(motion_dim - len(named))]
    return tuple(named + free)


@torch.no_grad()
def collapse(head: nn.Sequential) -> tuple[Tensor, Tensor]:
    """The motion head as one affine map in float64: (motion_dim, latent_dim), (motion_dim,)."""
    first, *rest = all_of(EqualLinear, head)
    matrix, offset = first.weight.double() * first.scale, first.bias.double()
    for linear in rest:
        weight = linear.weight.double() * linear.scale
        matrix, offset = weight @ matrix, weight @ offset + linear.bias.double()
    return matrix, offset


@torch.no_grad()
def turned_up(model: LIA, gains: Tensor) -> LIA:
    """A network whose coefficients are ``gains`` (motion_dim,), > 0, times as large, and move a portrait as much more.

    A face that drives itself still gives itself: w = z + Q·alpha_source + Q·G·(alpha_driver - alpha_source), which
    is a teacher term of Q·(I - G), folded away. ``model`` is left alone.
    """
    basis = model.dec.direction.basis().double()
    teacher = Teacher(model, 0)
    teacher.term.copy_(basis * (1 - gains.double()))
    louder = teacher.folded()
    last = all_of(EqualLinear, louder.enc.fc)[-1]
    last.weight.mul_(gains[:, None])
    last.bias.mul_(gains)
    louder.directions = tuple(
        replace(
            one,
            low=one.low * gain,
            high=one.high * gain,
            neutral=one.neutral * gain,
            scale=one.scale * gain,
        )
        for one, gain in zip(model.directions, gains.tolist(), strict=True)
    )
    return louder


def gains_of(model: LIA) -> Tensor:
    """(motion_dim,) by how much each coefficient of a labelled network was turned up."""
    gains = torch.ones(model.config.motion_dim)
    for index, direction in enumerate(model.directions[: len(THETA)]):
        gains[index] = direction.scale / ALPHA_GAIN
    return gains


def in_label_units(model: LIA) -> LIA:
    """The labelled network as it was trained, before any coefficient was turned up."""
    gains = gains_of(model)
    return model if bool((gains == 1).all()) else turned_up(model, 1 / gains)
