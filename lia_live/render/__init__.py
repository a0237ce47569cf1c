"""The network made fast for live use: numpy in, numpy out; agrees with ``model/`` within a tested tolerance."""

from lia_live.render.choice import Choice, available
from lia_live.render.engines import ENGINES, open_renderer
from lia_live.render.interface import LoadedAvatar, Renderer

__all__ = [
    "ENGINES",
    "Choice",
    "LoadedAvatar",
    "Renderer",
    "available",
    "open_renderer",
]
