"""LIA as the paper says it: configuration, layers, encoder, motion dictionary, synthesis, weights."""

from lia_live.model.config import Framing, FramingKind, LIAConfig
from lia_live.model.directions import Direction
from lia_live.model.lia import LIA, Look
from lia_live.model.pixels import to_pixels, to_tensor

__all__ = [
    "LIA",
    "Direction",
    "Framing",
    "FramingKind",
    "LIAConfig",
    "Look",
    "to_pixels",
    "to_tensor",
]
