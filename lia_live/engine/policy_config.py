"""Settings of the motion policy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from lia_live.errors import ConfigError

Mode = Literal["relative", "absolute"]


@dataclass(frozen=True)
class PolicyConfig:
    """How the driver's motion becomes the avatar's."""

    mode: Mode = "relative"
    """"relative": the avatar moves from its own pose as the driver moves from neutral. "absolute": the
    avatar takes the driver's pose and expression as they are."""
    strength: float = 1.0
    """Multiplies the motion about the avatar's own pose; 0 to 2."""
    smooth: float = 0.3
    """One-Euro smoothing of the codes; 0 (none) to 1 (strongest, adds most delay to slow movement)."""
    edits: tuple[float, ...] = ()
    """Added to the code of each direction, in its own unit; empty, or one number a direction."""
    neutral_window_s: float = 2.0
    """How long after the first face the neutral is looked for; 0 to 30."""
    hold_s: float = 0.5
    """How long the last pose is held after the face was lost; 0 to 10."""
    ease_s: float = 1.0
    """How long the way back to rest takes after that; 0 to 10."""
    return_s: float = 0.4
    """How long the way from rest to the driver takes when a face comes (back); 0 to 10."""
    breathing: float = 0.06
    """Amplitude of the breathing while nobody is seen, in typical deviations; 0 (still) to 0.5."""

    def __post_init__(self) -> None:
        if self.mode not in ("relative", "absolute"):
            raise ConfigError(
                f'engine.mode must be "relative" or "absolute", got {self.mode!r}',
                "use --mode relative unless driver and portrait sit alike",
            )
        bounds = {
            "strength": 2.0,
            "smooth": 1.0,
            "neutral_window_s": 30.0,
            "hold_s": 10.0,
            "ease_s": 10.0,
            "return_s": 10.0,
            "breathing": 0.5,
        }
        for name, high in bounds.items():
            value = getattr(self, name)
            if not 0 <= value <= high:  # also refuses NaN
                raise ConfigError(f"engine.{name} must be in [0, {high:g}], got {value}")
        if not all(math.isfinite(edit) for edit in self.edits):
            raise ConfigError("engine.edits must be finite numbers")
