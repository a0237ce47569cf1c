"""An avatar's looks: the same portrait with its lips apart in several ways, and which of them shows a motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lia_live.model import Direction, Look
from lia_live.puppet.lips import SWITCH
from lia_live.puppet.theta import NAMES, OPEN

HELD: Final = 0.055
"""A look stays until lips are so far beyond where it ends, in theta's unit: trackers tremble."""


@dataclass(frozen=True, eq=False)
class Mouth:
    """A portrait with its lips further apart, or nearer to each other, than they are in it."""

    by: float
    """How much further, in theta's unit (``THETA[OPEN]``); below 0: nearer."""
    look: Look
    """Of that picture; but ``motion`` is what moves it back to the portrait as it is. ``features`` may be float16."""


class Mouths:
    """What shows a motion: an avatar's own look, or one of its ``mouths``. Immutable."""

    def __init__(
        self, look: Look, mouths: Sequence[Mouth], directions: Sequence[Direction]
    ) -> None:
        ordered = sorted([Mouth(0.0, look), *mouths], key=lambda mouth: mouth.by)
        self._looks = tuple(mouth.look for mouth in ordered)
        self.own = next(place for place, mouth in enumerate(ordered) if mouth.look is look)
        """The number of the portrait's own."""
        rests = [one.motion[0].detach().float().cpu().numpy() for one in self._looks]
        self._rest = rests[self.own]
        self._offsets = [rest - self._rest for rest in rests]
        by = [mouth.by for mouth in ordered]
        self._ends = [low + SWITCH * (high - low) for low, high in pairwise(by)]
        names = [direction.name for direction in directions]
        self._place = names.index(NAMES[OPEN]) if NAMES[OPEN] in names else None
        self._scale = 1.0 if self._place is None else directions[self._place].scale

    def __len__(self) -> int:
        return len(self._looks)

    def look(self, number: int) -> Look:
        """From lips that meet to the widest; float32."""
        look = self._looks[number]
        return replace(look, features=tuple(level.float() for level in look.features))

    def showing(self, code: NDArray[np.float32], before: int | None = None) -> int:
        """Which look shows a motion ``code`` (M,), told as to the portrait's own; ``before``: which did until now."""
        if self._place is None:
            return self.own
        open_by = float(code[self._place] - self._rest[self._place]) / self._scale
        held = 0.0 if before is None else HELD
        now = sum(open_by > end for end in self._ends) if before is None else before
        while now < len(self._ends) and open_by > self._ends[now] + held:
            now += 1
        while now > 0 and open_by < self._ends[now - 1] - held:
            now -= 1
        return now

    def told(self, code: NDArray[np.float32], number: int) -> NDArray[np.float32]:
        """(M,): ``code`` as look ``number`` must be told it."""
        told: NDArray[np.float32] = code + self._offsets[number]
        return told
