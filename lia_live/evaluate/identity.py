"""Whose face it is, by geometry alone: needs no network, says less than one."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from lia_live.track.crop import LEFT_EYE_OUTER, RIGHT_EYE_OUTER, Landmarks

# fmt: off
STABLE: Final = (
    33, 133, 362, 263,                            # corners of the eyes
    168, 6, 197, 195, 5, 4, 98, 327, 129, 358,    # bridge, tip and wings of the nose
    10, 151, 9, 109, 338, 67, 297, 103, 332, 54, 284, 21, 251, 162, 389,  # forehead
    127, 356, 234, 454,                           # temples, cheekbones
)
# fmt: on
"""Landmarks on bone: no expression moves them much."""


def shape_distance(face: Landmarks, other: Landmarks) -> float:
    """How different two heads are built, whatever their pose and expression: 0 for one and the same.

    The stable points of ``face`` are turned, moved and scaled onto those of ``other`` in three dimensions
    (Umeyama 1991); what is left, root mean square, is given in percent of the distance of the eyes' outer corners.
    """
    mine = face[list(STABLE)].astype(np.float64)
    theirs = other[list(STABLE)].astype(np.float64)
    corners = other[[RIGHT_EYE_OUTER, LEFT_EYE_OUTER]].astype(np.float64)
    unit = max(float(np.linalg.norm(corners[1] - corners[0])), 1e-9)
    left = _aligned(mine, theirs) - theirs
    return float(100 * np.sqrt((left**2).sum(axis=1).mean()) / unit)


def _aligned(points: NDArray[np.float64], onto: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, D) turned, scaled and moved so as to lie nearest to ``onto``; never mirrored."""
    centred, target = points - points.mean(axis=0), onto - onto.mean(axis=0)
    left, sizes, right = np.linalg.svd(target.T @ centred)
    signs = np.ones(len(sizes))
    signs[-1] = np.sign(np.linalg.det(left @ right))
    rotation = left @ np.diag(signs) @ right
    scale = float((sizes * signs).sum() / max(float((centred**2).sum()), 1e-12))
    aligned: NDArray[np.float64] = scale * centred @ rotation.T + onto.mean(axis=0)
    return aligned
