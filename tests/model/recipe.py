"""Weights without training: the drawing recipe of the parity fixture (``lia-parity-recipe/1``).

Each key's values come from its own name, so any implementation can rebuild the same 45 M numbers.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).parents[1] / "data"
SALT = "lia-parity-v1"


def manifest(size: int) -> dict[str, list[int]]:
    """Key -> shape of an official checkpoint of that size, in the order of the manifest."""
    keys = json.loads((DATA / "lia_state_dict_manifest.json").read_text())[str(size)]["keys"]
    return {key: entry["shape"] for key, entry in keys.items()}


def draw(key: str, shape: list[int], salt: str = SALT) -> torch.Tensor:
    """float32 tensor of ``shape`` for one key."""
    if key.endswith(".kernel"):
        taps = np.array([1.0, 3.0, 3.0, 1.0])
        kernel = np.outer(taps, taps) / 64 * (4 if key.startswith("dec.") else 1)
        return torch.from_numpy(kernel.astype(np.float32))
    digest = hashlib.sha256(f"{salt}|{key}".encode()).digest()
    bits = np.random.Philox(key=int.from_bytes(digest[:16], "little")).random_raw(
        int(np.prod(shape))
    )
    u = ((2 * ((bits >> np.uint64(11)) * 2.0**-53) - 1) * np.sqrt(3)).reshape(shape)
    return torch.from_numpy(_shaped(key, u).astype(np.float32))


def _shaped(key: str, u: np.ndarray) -> np.ndarray:
    parts = key.split(".")
    if key.startswith("dec.to_flows."):
        if key.endswith(".conv.weight"):
            f = 0.3 * 0.6 ** int(parts[2])
            return u * np.array([f, f, 1.0]).reshape(1, 3, 1, 1, 1)
        if len(parts) == 4 and key.endswith(".bias"):
            return u * np.array([0.02, 0.02, 0.3]).reshape(1, 3, 1, 1)
    if key.endswith(".modulation.bias"):
        return 1 + 0.1 * u
    if key.endswith(".noise.weight"):
        return 0.5 + 0.5 * u
    if key == "enc.fc.4.weight":
        return 20 * u
    if key.startswith("dec.to_rgb"):
        if key.endswith(".conv.0.weight"):
            return 0.8 * u
        if key.endswith(".bias") and ".conv." not in key:
            return -0.1 + 0.05 * u
    return 0.1 * u if key.endswith(".bias") else u


def state_dict(size: int, salt: str = SALT) -> dict[str, torch.Tensor]:
    """A whole official-layout ``gen``."""
    return {key: draw(key, shape, salt) for key, shape in manifest(size).items()}
