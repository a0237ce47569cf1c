"""What the mesh cannot bring from the portrait: the inside of the mouth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

TEETH_SHARE: Final = 0.55
"""Upper teeth take at most this share of an opening: below them it is dark."""
LIP_RISES: Final = 0.4
"""How much of an opening lies above the line between a mouth's corners."""
TOOTH_EDGES: Final = (0.0, 0.35, 0.62, 0.84)
"""Where a tooth ends and the next begins, from the middle of a mouth (0) to its corner (1): 8.5, 6.5 and 5.5 mm, the
last foreshortened."""
TOOTH_LENGTHS: Final = (1.0, 0.94, 0.97, 0.9)
"""Incisors, canine and what comes behind, of the longest."""
GAP_WIDTH: Final = 0.03
GAP_DEPTH: Final = 0.12
"""Share of the light that a gap between two teeth takes."""
FLESH: Final = (0.60, 0.38, 0.33)
"""RGB of lips in [0, 1], mean of portraits."""
TONGUE_TINT: Final = (1.0, 0.78, 0.82)
"""A tongue's colour as a share of the lips', where light reaches it."""
TONGUE_SHARE: Final = 0.9
"""How much it covers of the dark behind it."""


@dataclass(frozen=True)
class MouthStyle:
    """The inside of each person's mouth. All (N, ...)."""

    light: Tensor
    """(N,) brightness of the face, about 0.2 to 0.9."""
    flesh: Tensor
    """(N, 3) colour of the lips in [0, 1]."""
    tooth: Tensor
    """(N, 3) colour of the teeth in [0, 1] in full light."""
    upper: Tensor
    """(N,) how much of the upper teeth shows, eye distances; 0 for none."""
    lower: Tensor
    """(N,) the same for the lower teeth."""

    @staticmethod
    def plain(light: Tensor, flesh: Tensor) -> MouthStyle:
        """The teeth and the tongue that are expected of N portraits whose own nobody has seen.

        The same for all but for the light: what a portrait does not tell cannot be learned, and would be painted as
        the blurred mean of all that it might be.
        """
        count, device = len(light), light.device
        tooth = torch.tensor([1.0, 0.945, 0.86], device=device).expand(count, 3)
        typical = torch.tensor(FLESH, device=device)
        flesh = typical * (flesh.mean(1, keepdim=True) / typical.mean()).clamp(0.5, 1.3)
        return MouthStyle(
            light, flesh, tooth, torch.full_like(light, 0.085), torch.zeros_like(light)
        )

    @staticmethod
    def drawn(light: Tensor, flesh: Tensor, generator: torch.Generator) -> MouthStyle:
        """Random teeth for N drivers; ``generator`` lives on their device."""
        count, device = len(light), light.device

        def uniform() -> Tensor:
            return torch.rand(count, generator=generator, device=device)

        warm = torch.stack(
            [torch.ones(count, device=device), 0.97 - 0.05 * uniform(), 0.90 - 0.12 * uniform()], 1
        )
        upper = torch.where(uniform() < 0.85, 0.05 + 0.08 * uniform(), 0.0)
        lower = torch.where(uniform() < 0.35, 0.03 + 0.04 * uniform(), 0.0)
        return MouthStyle(light, flesh, warm * (0.8 + 0.2 * uniform()[:, None]), upper, lower)

    def and_then(self, others: MouthStyle) -> MouthStyle:
        """These, and ``others`` after them."""
        return MouthStyle(*map(torch.cat, zip(self._all(), others._all(), strict=True)))

    def pick(self, index: Tensor) -> MouthStyle:
        """Those at ``index`` (B,) int64."""
        return MouthStyle(*(value[index] for value in self._all()))

    def _all(self) -> tuple[Tensor, ...]:
        return self.light, self.flesh, self.tooth, self.upper, self.lower


def mouth_colour(
    across: Tensor, down: Tensor, gap: Tensor, style: MouthStyle
) -> tuple[Tensor, Tensor]:
    """The painted inside of mouths, for M pixels one by one: (M, 3) in [0, 1]; and how much of that is the light of
    teeth and of the tongue, (M, 2) in [0, 1].

    ``across``: (M,) -1..1 corner to corner; ``down``: (M,) 0 at the upper lip, 1 at the lower;
    ``gap``: (M,) opening in the middle, eye distances; ``style``: of each pixel's person.
    """
    off_middle = across.abs().clamp(max=1)
    column = gap * arch(across)  # opening here, eye distances
    from_upper, from_lower = down * column, (1 - down) * column

    depth = (column / 0.25).clamp(max=1)
    throat = style.flesh * (0.30 - 0.17 * depth)[:, None]  # deeper is darker
    throat = throat * throat.new_tensor([1.0, 0.55, 0.55])

    hill = (1 - (across / 0.72) ** 2).clamp(min=0).sqrt() * (0.06 + 0.36 * gap)
    hill = hill * ((gap - 0.14) / 0.14).clamp(0, 1)
    tongue = _step(hill - from_lower, 0.1)
    # round: from the shadow of the lower lip it comes up into the light, and goes back into the dark
    way = (from_lower / hill.clamp(min=1e-3)).clamp(0, 1)
    relief = 0.98 - 0.5 * way**2 - 0.2 * (1 - from_lower / 0.05).clamp(min=0)
    relief = relief * (1 - 0.35 * (across / 0.72) ** 2).clamp(min=0)
    relief = relief * (1 - 0.12 * torch.exp(-0.5 * (across / 0.07) ** 2) * way)  # its groove
    flesh = style.flesh * style.flesh.new_tensor(TONGUE_TINT) * relief[:, None]
    colour = _blend(throat, flesh, TONGUE_SHARE * tongue)
    brightness = style.flesh.mean(1) / (sum(FLESH) / 3)
    licked = TONGUE_SHARE * tongue * relief * brightness.clamp(max=1)

    # Teeth: two arcs that turn into the dark towards the corners, each tooth a little apart from the next. Lips that
    # all but meet show a dark line.
    apart, rounded = _single_teeth(off_middle)
    light = (0.26 + 0.66 * style.light) * (1 - 0.75 * off_middle**2) * apart
    bend = 1 - 0.35 * off_middle**2
    # the row ends in a straight line, and the lip above it is an arch
    below_arch = (style.upper * bend - LIP_RISES * (gap - column)).clamp(min=0)
    length = torch.minimum(below_arch, TEETH_SHARE * column) * rounded
    shown = _step(length - from_upper, 0.014) * (length / 0.02).clamp(max=1)
    below_lip = 0.7 + 0.3 * (from_upper / 0.03).clamp(max=1)  # shadow of the lip
    shown = shown * teeth_are_lit(column)
    colour = _blend(colour, style.tooth * (light * below_lip)[:, None], shown)
    lower = style.lower * bend * ((gap - 0.1) / 0.1).clamp(0, 1)
    below = _step(lower - from_lower, 0.014) * (lower > 0)
    colour = _blend(colour, style.tooth * (0.8 * light)[:, None], below)
    teeth = light * torch.lerp(shown * below_lip, torch.full_like(light, 0.8), below)
    return colour, torch.stack([teeth, licked * (1 - shown) * (1 - below)], 1)


def arch(across: Tensor) -> Tensor:
    """Share of a mouth's opening in the middle that it has at -1..1, corner to corner."""
    return (1 - across.abs().clamp(max=1) ** 2.2).clamp(min=0.02)


def teeth_are_lit(column: Tensor) -> Tensor:
    """How much light falls on teeth between lips ``column`` eye distances apart: 0 where a dark line is all that is
    seen, then shadow, 1 where they are well apart.
    """
    return _step(column - 0.012, 0.016) * (0.8 + 0.2 * ((column - 0.02) / 0.06).clamp(0, 1))


def _single_teeth(off_middle: Tensor) -> tuple[Tensor, Tensor]:
    """For places (M,) 0 in the middle of a mouth, 1 at its corner: the light that the gaps between teeth leave, and the
    share of a row's length that the tooth there has.
    """
    edges = off_middle.new_tensor(TOOTH_EDGES)
    away = (off_middle[:, None] - edges).abs().amin(1)
    gap = torch.exp(-0.5 * (away / GAP_WIDTH).square())
    corner = (1 - away / 0.08).clamp(min=0).square()
    tooth = torch.bucketize(off_middle, edges[1:])
    tall = off_middle.new_tensor(TOOTH_LENGTHS)[tooth]
    return 1 - GAP_DEPTH * gap, tall * (1 - 0.12 * corner)


def _step(x: Tensor, width: float) -> Tensor:
    """0 below -width/2, 1 above width/2, smooth between."""
    x = (x / width + 0.5).clamp(0, 1)
    return x * x * (3 - 2 * x)


def _blend(below: Tensor, above: Tensor, share: Tensor) -> Tensor:
    return torch.lerp(below, above, share[:, None])
