"""Teeth that no portrait shows: lips, stretched over them by the flow and lifted to the colour of teeth.

Only the last level is sharp, and all that it can do is to show the source or not. So it shows the lips where teeth are
and nothing in the dark below, which gives teeth their edges and their gaps, and the level below adds the light that
lips lack (``growth.TEETH``), softly.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from lia_live.model.synthesis import warp
from lia_live.train.growth import DARK, TEETH
from lia_live.train.pairs import Pairs

FULL: Final = 0.75
"""Light of teeth at which the last level shows all of the lips; less light, less of them."""
TOOTH: Final = 0.2
"""Light that is a tooth's, in whatever light the face is."""
_WAY: Final = TEETH.way
_SQUARED: Final = sum(share**2 for share in _WAY)


def lent(teeth: Tensor) -> Tensor:
    """How much the last level shows of the source where painted teeth have that light; both in [0, 1]."""
    return (teeth / FULL).clamp(max=1)


@torch.no_grad()
def lifted(pairs: Pairs, raw: Tensor) -> Tensor:
    """(B, 1, S, S) in [0, 1]: how much of ``growth.TEETH`` makes the target's teeth of what the flow puts there.

    ``raw``: (B, 3, S, S) flow and mask logit of the top level.
    """
    size = raw.shape[-1]
    teeth = pairs.teeth_at(size)
    lips = warp(pairs.source, torch.tanh(raw[:, :2].float()))
    shown = lent(teeth)
    lift = torch.zeros_like(teeth)
    # Plain numbers: a step that is recorded on a GPU copies nothing to it.
    for colour, (dark, share) in enumerate(zip(DARK, _WAY, strict=True)):
        here = slice(colour, colour + 1)
        lacks = pairs.target[:, here] - dark - shown * (lips[:, here] - dark)
        lift = lift + lacks * (share / _SQUARED)
    return lift.clamp(0, 1) * (teeth / TOOTH).clamp(max=1)
