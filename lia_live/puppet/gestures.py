"""What moves each vertex: displacement fields of the gestures, worked out on the median face.

All weights are smooth over the skin, with one tear: the line between the lips.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lia_live.puppet.mesh import (
    COUNT,
    EYEBALLS,
    FACE,
    LID_LOWER,
    LID_UPPER,
    LIP_LOWER,
    LIP_UPPER,
    LIPS_OUTER,
    MOUTH,
    OUTER,
    OVAL,
    RING,
    Array,
    ellipse_distance,
    lid_loop,
    lip_loop,
    median_face,
    scaffold,
    smooth_step,
)

LID_FOLD: Final = 0.095
"""Skin this far above the edge of a lid stays when it shuts (eye distances): brows and rims of glasses begin there."""
CORNER: Final = 0.25
"""Share of the jaw's way that the corners of the mouth go."""


@lru_cache(maxsize=1)
def expression_fields() -> dict[str, Array]:
    """Displacement (V, 3) of every vertex for one unit of each expression, in eye distances.

    "open" is per eye distance of gap between the lips; the others are one full gesture.
    """
    at = scaffold()
    lips = _lip_influence()
    across = np.clip(at[:, 0] / 0.31, -1.4, 1.4)
    side = np.abs(across)
    fields: dict[str, Array] = {}

    jaw, upper = jaw_weight(), upper_lip_weight()
    opening = np.zeros((COUNT, 3), np.float32)
    opening[:, 0] = -0.10 * lips * across * np.clip(side, 0, 1)
    opening[:, 1] = 0.94 * jaw - 0.06 * upper * (1 - np.clip(side, 0, 1) ** 2)
    opening[:, 2] = 0.15 * jaw
    fields["open"] = opening

    cheek = sum(_bump(at, (x, 0.45), 0.22) for x in (-0.5, 0.5))
    smile = np.zeros((COUNT, 3), np.float32)
    smile[:, 0] = 0.085 * lips * across
    smile[:, 1] = -0.085 * corner_weight() + 0.012 * lips - 0.035 * cheek
    smile[:, 2] = 0.05 * lips * side - 0.03 * cheek
    fields["smile"] = smile

    pucker = np.zeros((COUNT, 3), np.float32)
    pucker[:, 0] = -0.13 * lips * np.sign(across) * np.clip(side, 0, 1) ** 0.8
    pucker[:, 1] = (
        0.05
        * lips
        * np.where(at[:, 1] < 0.72, -1, 1)
        * (1 - np.clip(side, 0, 1))
        * _off_inner_lip()
    )
    pucker[:, 2] = -0.11 * lips * (1 - 0.6 * np.clip(side, 0, 1))
    fields["pucker"] = pucker

    slide = np.zeros((COUNT, 3), np.float32)
    slide[:, 0] = 0.12 * np.maximum(jaw * _is_below(), 0.4 * lips)
    fields["jaw"] = slide

    raise_, inner = np.zeros((COUNT, 3), np.float32), np.zeros((COUNT, 3), np.float32)
    brow = _brow_influence()
    raise_[:, 1] = -0.105 * brow
    middle = np.exp(-(((np.abs(at[:, 0]) - 0.16) / 0.16) ** 2) * (np.abs(at[:, 0]) > 0.16))
    inner[:, 1] = -0.085 * brow * middle
    inner[:, 0] = -0.03 * brow * middle * np.sign(at[:, 0]) * np.clip(np.abs(at[:, 0]) / 0.1, 0, 1)
    fields["brow raise"], fields["brow inner"] = raise_, inner

    gaze_x, gaze_y = np.zeros((COUNT, 3), np.float32), np.zeros((COUNT, 3), np.float32)
    for ball in EYEBALLS:
        gaze_x[ball.start + 16 : ball.stop, 0] = 1.0
        gaze_y[ball.start + 16 : ball.stop, 1] = 1.0
    fields["gaze x"], fields["gaze y"] = gaze_x, gaze_y
    return {name: field.astype(np.float32) for name, field in fields.items()}


@lru_cache(maxsize=1)
def lip_rows() -> tuple[Array, Array]:
    """(V, 11) twice: how far each vertex goes along when the upper, the lower lip closes at each of
    the eleven places across the mouth. Rows of the lips' own edges are one-hot."""
    at = scaffold()
    places = median_face()[list(LIP_UPPER), 0]
    hat = _hat(at[:, 0], places)
    upper, lower = upper_lip_weight()[:, None] * hat, np.maximum(jaw_weight(), 0)[:, None] * hat
    fall = np.exp(-((np.maximum(at[:, 1] - 0.78, 0) / 0.25) ** 2))[
        :, None
    ]  # the chin follows half-way
    lower = lower * (0.35 + 0.65 * fall)
    for i in range(11):
        for vertex, rows in ((LIP_UPPER[i], upper), (LIP_LOWER[i], lower)):
            upper[vertex], lower[vertex] = 0, 0
            rows[vertex, i] = 1
    loop = list(lip_loop())
    upper[MOUTH], lower[MOUTH] = upper[loop], lower[loop]
    return upper.astype(np.float32), lower.astype(np.float32)


@lru_cache(maxsize=1)
def lid_rows() -> tuple[Array, Array]:
    """(2, V, 9) twice: the same for the upper and the lower lid of each eye, nine places across."""
    at = scaffold()
    upper, lower = np.zeros((2, COUNT, 9), np.float32), np.zeros((2, COUNT, 9), np.float32)
    for eye in (0, 1):
        top, bottom = median_face()[list(LID_UPPER[eye])], median_face()[list(LID_LOWER[eye])]
        order = np.argsort(top[:, 0])
        x = at[:, 0]
        top_line = np.interp(x, top[order, 0], top[order, 1])
        bottom_line = np.interp(x, bottom[order, 0], bottom[order, 1])
        hat = _hat(x, top[:, 0])
        within = np.exp(-((np.maximum(np.abs(x - top[:, 0].mean()) - 0.15, 0) / 0.05) ** 2))
        is_face = np.zeros(COUNT, bool)
        is_face[FACE] = True
        above = smooth_step(1 - (top_line - at[:, 1]) / LID_FOLD) * (at[:, 1] <= top_line + 1e-3)
        below = smooth_step(1 - (at[:, 1] - bottom_line) / 0.15) * (at[:, 1] >= bottom_line - 1e-3)
        upper[eye] = (above * within * is_face)[:, None] * hat
        lower[eye] = (below * within * is_face)[:, None] * hat
        for i in range(9):
            for vertex in (LID_UPPER[eye][i], LID_LOWER[eye][i]):
                upper[eye][vertex], lower[eye][vertex] = 0, 0
            if 0 < i < 8:  # the corners stay
                upper[eye][LID_UPPER[eye][i], i] = 1
                lower[eye][LID_LOWER[eye][i], i] = 1
        loop, rim = list(lid_loop(eye)), slice(EYEBALLS[eye].start, EYEBALLS[eye].start + 16)
        upper[eye, rim], lower[eye, rim] = upper[eye, loop], lower[eye, loop]
    return upper, lower


@lru_cache(maxsize=1)
def corner_weight() -> Array:
    """(V,) how far each vertex goes up with the corners of the mouth: 1 there, 0 in the middle of the lips."""
    across = np.abs(scaffold()[:, 0]) / 0.31
    return np.asarray(_lip_influence() * np.clip(across, 0, 1.2) ** 1.6, np.float32)


def jaw_weight() -> Array:
    """(V,) how far each vertex goes down with the jaw: 1 in the middle of the lower lip, a quarter at
    the corners of the mouth, less towards the ears, 0 on the upper lip."""
    at = scaffold()
    x, y = np.abs(at[:, 0]), at[:, 1]
    side = x / 0.30
    opening = (
        CORNER + (1 - CORNER) * np.clip(1 - side**2.6, 0, 1) ** 0.7
    )  # shape of the lower lip's edge
    depth = smooth_step((y - _mouth_line(x)) / 0.28)
    below = opening + (0.88 - opening) * depth
    corner = CORNER * smooth_step((side - 0.35) / 0.65)
    above = corner * np.exp(-((np.maximum(_mouth_line(x) - y, 0) / 0.13) ** 2))
    aside = np.exp(-((np.maximum(x - 0.33, 0) / 0.33) ** 2))
    weight = np.where(_is_below(), below, above) * aside
    return _with_copies(weight, rings=(0.75, 0.3))


def _mouth_line(x: Array) -> Array:
    """Height of the line between the lips at a distance ``x`` from the middle of the face."""
    return 0.735 - 0.05 * np.clip(x / 0.30, 0, 1.2) ** 2


def _is_below() -> NDArray[np.bool_]:
    """(V,) below the line between the lips."""
    at = scaffold()
    below = np.asarray(at[:, 1] > _mouth_line(np.abs(at[:, 0])))
    below[list(LIP_LOWER[1:-1])] = True
    below[list(LIP_UPPER)] = False
    below[MOUTH] = below[list(lip_loop())]
    return below


def upper_lip_weight() -> Array:
    """(V,) 1 on the edge of the upper lip, falling to 0 at the nose."""
    at = scaffold()
    line = np.interp(np.abs(at[:, 0]), (0, 0.3), (0.715, 0.69))
    weight = np.exp(-((np.maximum(line - at[:, 1], 0) / 0.13) ** 2)) * (at[:, 1] <= line + 0.01)
    weight *= np.exp(-((np.maximum(np.abs(at[:, 0]) - 0.3, 0) / 0.08) ** 2))
    weight[list(LIP_UPPER)] = 1
    weight[list(LIP_LOWER[1:-1])] = 0
    return _with_copies(weight)


def _lip_influence() -> Array:
    at = scaffold()
    distance = ellipse_distance(at, median_face()[list(LIPS_OUTER)], grow=1.0)
    return _with_copies(np.exp(-((np.maximum(distance - 1, 0) / 0.75) ** 2)))


def _brow_influence() -> Array:
    at = scaffold()
    lower = np.interp(
        np.abs(at[:, 0]), (0, 0.17, 0.4, 0.62, 0.8), (-0.12, -0.13, -0.16, -0.08, 0.0)
    )
    below = np.clip(1 - (at[:, 1] - lower) / 0.13, 0, 1)
    above = np.clip(1 - (lower - 0.06 - at[:, 1]) / 0.45, 0, 1)
    weight = smooth_step(np.minimum(below, above)) * np.exp(
        -((np.maximum(np.abs(at[:, 0]) - 0.62, 0) / 0.1) ** 2)
    )
    for eye in (0, 1):
        weight[list(lid_loop(eye))] = 0
    return _with_copies(weight)


def _off_inner_lip() -> Array:
    """(V,) 0 on the edges of the lips, 1 elsewhere."""
    keep = np.ones(COUNT, np.float32)
    keep[list(lip_loop())] = 0
    keep[MOUTH] = 0
    return keep


def _with_copies(weight: Array, rings: tuple[float, ...] = ()) -> Array:
    """Give the mouth's rim the values of the lips, the rings a share of the oval's, the rest none."""
    out = np.zeros(COUNT, np.float32)
    out[FACE] = weight[FACE]
    out[MOUTH] = weight[list(lip_loop())]
    for number, share in enumerate(rings):
        here = slice(OUTER.start + number * RING, OUTER.start + (number + 1) * RING)
        out[here] = share * weight[list(OVAL)]
    return out


def _hat(x: Array, places: Array) -> Array:
    """(V, K) linear interpolation weights of ``x`` between ``places`` (in either order)."""
    order = np.argsort(places)
    out = np.stack(
        [np.interp(x, places[order], np.eye(len(places))[order, i]) for i in range(len(places))], 1
    )
    return out.astype(np.float32)


def _bump(at: Array, centre: tuple[float, float], width: float) -> Array:
    return np.asarray(np.exp(-(((at[:, :2] - np.array(centre)) / width) ** 2).sum(1)), np.float32)
