"""A full-size network without a training run: weights drawn from their own names, so that speed and precision can
be measured on the official layout although the official weights may not be shipped.

The distributions keep every activation in a trained network's range: what a lower precision does to these
weights says something about real ones.
"""

from __future__ import annotations

import hashlib
import math
import re
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from lia_live.model import LIA

SALT: Final = "lia-parity-v1"

_RULES: Final[tuple[tuple[str, float, float], ...]] = (
    # (end or whole of the key as a pattern, mean, standard deviation); the first that fits
    (r".*\.modulation\.bias", 1.0, 0.1),
    (r".*\.noise\.weight", 0.5, 0.5),
    (r"enc\.fc\.4\.weight", 0.0, 20.0),
    (r"dec\.to_rgb(s\.\d+|1)\.conv\.0\.weight", 0.0, 0.8),
    (r"dec\.to_rgb(s\.\d+|1)\.bias", -0.1, 0.05),
    (r".*\.bias", 0.0, 0.1),
)
_FLOW_WEIGHT = re.compile(r"dec\.to_flows\.(\d+)\.conv\.weight")
_FLOW_BIAS = re.compile(r"dec\.to_flows\.\d+\.bias")


def fill_by_recipe(model: LIA, salt: str = SALT) -> LIA:
    """Give every weight of ``model`` the value of its name (fixed filters stay); returns ``model``, in eval mode.

    The same on every machine: ``lia-parity-recipe/1``. Seconds for the full size.
    """
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if not key.endswith(".kernel"):
                value.copy_(torch.from_numpy(draw(key, tuple(value.shape), salt)))
    model.name, model.licence = "drawn by recipe", "none needed: no training"
    return model.eval()


def draw(key: str, shape: tuple[int, ...], salt: str = SALT) -> NDArray[np.float32]:
    """The values of one weight, float32 of ``shape``."""
    noise = _uniform(f"{salt}|{key}", math.prod(shape)).reshape(shape)
    level = _FLOW_WEIGHT.fullmatch(key)
    if level is not None:  # x and y move less the finer the level; the mask does not
        move = 0.3 * 0.6 ** int(level[1])
        noise *= np.array([move, move, 1.0]).reshape(1, 3, 1, 1, 1)
    elif _FLOW_BIAS.fullmatch(key):
        noise *= np.array([0.02, 0.02, 0.3]).reshape(1, 3, 1, 1)
    else:
        mean, deviation = next(
            ((m, d) for pattern, m, d in _RULES if re.fullmatch(pattern, key)), (0.0, 1.0)
        )
        noise = mean + deviation * noise
    return noise.astype(np.float32)


def _uniform(name: str, count: int) -> NDArray[np.float64]:
    """``count`` numbers of mean 0 and variance 1, evenly spread, seeded by ``name``."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    bits = np.random.Philox(key=seed).random_raw(count)
    unit = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53  # [0, 1)
    return (2.0 * unit - 1.0) * math.sqrt(3.0)
