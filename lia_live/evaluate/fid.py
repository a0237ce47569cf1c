"""FID: whether outputs, taken together, look like real frames taken together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lia_live.errors import ConfigError
from lia_live.evaluate.nets import FeatureNet
from lia_live.frame import Pixels

Vector = NDArray[np.float64]


class Gallery:
    """Collects features of outputs, real frames and static copies. Holds some kilobytes a frame."""

    def __init__(self, net: FeatureNet | None) -> None:
        """``net``: None makes every method do nothing."""
        self._net = net
        self._made: list[Vector] = []
        self._real: list[Vector] = []
        self._copied: list[Vector] = []

    def source(self, source: Pixels) -> Vector | None:
        """The features of a source, to be handed to ``add`` with each of its frames."""
        return None if self._net is None else self._net.features(source)

    def add(self, output: Pixels, real: Pixels, copied: Vector | None) -> None:
        """One frame; ``copied``: of its source."""
        if self._net is None or copied is None:
            return
        self._made.append(self._net.features(output))
        self._real.append(self._net.features(real))
        self._copied.append(copied)

    def figures(self) -> tuple[float, float]:
        """FID of the outputs and of the static copies, each against the real frames; NaN without features."""
        if len(self._real) < 2:
            return float("nan"), float("nan")
        real, made, copied = (np.stack(part) for part in (self._real, self._made, self._copied))
        return frechet_distance(real, made), frechet_distance(real, copied)


def frechet_distance(real: Vector, made: Vector) -> float:
    """FID of features (N, D) and (M, D): the Fréchet distance of two normal distributions (Heusel 2017).

    With centred features A and B over sqrt(n - 1), the trace of sqrt(C1 C2) is the sum of the singular values
    of A Bᵀ: exact, and far cheaper than the square root of a D x D matrix where N is smaller than D.
    """
    if min(len(real), len(made)) < 2:
        raise ConfigError("FID needs at least two pictures on either side")
    shift = real.mean(axis=0) - made.mean(axis=0)
    a = (real - real.mean(axis=0)) / np.sqrt(len(real) - 1)
    b = (made - made.mean(axis=0)) / np.sqrt(len(made) - 1)
    shared = float(np.linalg.svd(a @ b.T, compute_uv=False).sum())
    return float(shift @ shift + (a**2).sum() + (b**2).sum() - 2 * shared)
