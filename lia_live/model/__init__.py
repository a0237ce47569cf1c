"""LIA as the paper says it: configuration, layers, encoder, motion dictionary, synthesis, weights."""

from lia_live.model.config import Framing, FramingKind, LIAConfig
from lia_live.model.directions import Direction
from lia_live.model.lia import LIA, Look
from lia_live.model.pixels import to_pixels, to_tensor
from lia_live.model.weights import (
    LICENCE_NOTE,
    convert_checkpoint,
    describe,
    load_model,
    save_weights,
)

__all__ = [
    "LIA",
    "LICENCE_NOTE",
    "Direction",
    "Framing",
    "FramingKind",
    "LIAConfig",
    "Look",
    "convert_checkpoint",
    "describe",
    "load_model",
    "save_weights",
    "to_pixels",
    "to_tensor",
]
