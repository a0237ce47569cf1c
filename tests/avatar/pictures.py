"""A tiny network with random weights, and portraits in every file format."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lia_live.frame import Pixels
from lia_live.model import LIA, Framing, LIAConfig
from tests.track.faces import hopper


@lru_cache(maxsize=4)
def tiny(seed: int = 0, kind: str = "face", size: int = 64) -> LIA:
    """Random weights; the same ones for the same seed."""
    torch.manual_seed(seed)
    framing = Framing(kind="full") if kind == "full" else Framing()
    model = LIA(LIAConfig(size=size, width=0.0625, latent_dim=32, framing=framing))
    model.name = f"tiny {seed}"
    return model.eval()


def portrait() -> Image.Image:
    return Image.fromarray(hopper())


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def difference(a: Pixels, b: Pixels) -> float:
    """Mean absolute difference in levels; a large number for different shapes."""
    if a.shape != b.shape:
        return 999.0
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def write(path: Path, image: Image.Image, kind: str, **options: object) -> Path:
    path.write_bytes(encoded(image, kind, **options))
    return path
