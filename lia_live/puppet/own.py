"""What a face that is turned to the front shows of the gestures: its own, before it performs any."""

from __future__ import annotations

import torch
from torch import Tensor

from lia_live.model import labels
from lia_live.puppet import mesh


def own_smile(frontal: Tensor) -> Tensor:
    """(N,) gestures of smile in the portraits, from the width of the mouth and its corners' height."""
    width = frontal[:, 291, 0] - frontal[:, 61, 0]
    lift = (
        frontal[:, 0, 1] - (frontal[:, 61, 1] + frontal[:, 291, 1]) / 2
    )  # corners over the upper lip
    return (0.7 * (width - 0.585) / 0.17 + 0.3 * (lift + 0.055) / 0.08).clamp(-0.4, 1.2)


def own_lips(frontal: Tensor, gap: Tensor) -> Tensor:
    """(N, 2) gestures of smile and of pucker, about -0.1 to 1.2 and 0 to 1, from the width of the mouth alone.

    ``frontal``: (N, 478, 3), ``gap`` between the lips: (N,), eye distances. In the terms of ``model.labels``: a mouth
    that narrows puckers.
    """
    rest, whole = labels.MOUTH
    width = frontal[:, 291, 0] - frontal[:, 61, 0] + labels.NARROWING * gap
    smile = (width - rest) / whole
    beyond = (labels.RELAXED - smile).clamp(min=0) * whole / labels.PUCKER_NARROWS
    return torch.stack([smile.clamp(min=labels.RELAXED), beyond], 1)


def own_brows(frontal: Tensor) -> Tensor:
    """(N, 2) gestures of raised brows and of raised inner ends, about -1 to 1, in the terms of ``model.labels``.

    ``frontal``: (N, 478, 3) in eye distances.
    """

    def height(places: tuple[int, ...]) -> Tensor:
        return -frontal[:, list(places), 1].mean(1)

    raised = height(labels.BROWS) - height(labels.EYES_INNER)
    inner = height(labels.BROWS_INNER) - height(labels.BROWS_BESIDE)
    both = zip((raised, inner), (labels.BROW_RAISE, labels.BROW_INNER), strict=True)
    return torch.stack([(measure - rest) / whole for measure, (rest, whole) in both], 1)


def own_gaze(frontal: Tensor) -> Tensor:
    """(N, 2) where the irises stand between the lids' corners, eye distances."""
    offsets = []
    for eye, corners in enumerate(((33, 133), (263, 362))):
        middle = (frontal[:, corners[0], :2] + frontal[:, corners[1], :2]) / 2
        offsets.append(frontal[:, mesh.IRIS[eye], :2] - middle)
    return (offsets[0] + offsets[1]) / 2 + frontal.new_tensor([0.0, 0.02])
