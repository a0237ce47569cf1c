"""The performer's mesh: which vertices there are, how they are joined, what moves each of them.

Vertices, in this order:

    0..467     the face, in MediaPipe's numbering
    468..487   inner lip line once more: rim of the mouth's inside
    488..553   two eyeballs: rim (the lid line once more), a ring around the iris, its centre
    554..841   eight rings of 36 around the face: hair and neck, shoulders, picture border

The weights below are worked out once, on a median face (``face_mesh.npz``: an average of
public-domain photographs, made symmetric). Unit: distance of the outer eye corners.
Axes: x right and y down in the picture, z away from the viewer; origin between the eyes.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Index = NDArray[np.int64]

# fmt: off
OVAL: Final = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
    148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)
"""Outline of the face, clockwise from the top of the forehead."""
LIP_UPPER: Final = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
"""Lower edge of the upper lip, left to right in the picture; the ends are the mouth's corners."""
LIP_LOWER: Final = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
LIPS_OUTER: Final = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
LID_UPPER: Final = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (263, 466, 388, 387, 386, 385, 384, 398, 362))
"""Edge of the upper lid, outer corner to inner: the eye on the picture's left, then on its right."""
LID_LOWER: Final = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (263, 249, 390, 373, 374, 380, 381, 382, 362))
BROWS: Final = ((70, 63, 105, 66, 107, 46, 53, 52, 65, 55), (300, 293, 334, 296, 336, 276, 283, 282, 295, 285))
"""Upper edge outer to inner, then lower edge."""
IRIS: Final = (468, 473)
"""Landmarks (not vertices) at the iris centres; the four after each lie on its edge."""
STABLE: Final = (
    33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 10, 151, 127, 356, 234, 454, 162, 389, 21, 251, 54, 284, 103, 332,
    67, 297, 109, 338,
)
"""Landmarks that no expression moves much: they give the pose."""
# fmt: on

RINGS: Final = 8
RING: Final = len(OVAL)
FACE: Final = slice(0, 468)
MOUTH: Final = slice(468, 488)
EYEBALLS: Final = (slice(488, 521), slice(521, 554))
OUTER: Final = slice(554, 554 + RINGS * RING)
COUNT: Final = OUTER.stop
PIVOT: Final = np.array([0.0, 0.7, 0.5], np.float32)
"""Where the head turns: the top of the spine, in the median face's frame."""
RING_SUPPORT: Final = (0.0, 0.5, 1.0, 4 / 3, 5 / 3, 2.0, 7 / 3, 8 / 3, 3.0)
"""Place of the oval and of each ring on the way 0 face, 1 hair and neck, 2 shoulders, 3 border."""

CORNER: Final = 0.25
"""Share of the jaw's way that the corners of the mouth go."""
REGIONS: Final = ("rest", "face", "brows", "eyes", "mouth")
REGION_WEIGHTS: Final = (1.0, 2.0, 5.0, 10.0, 10.0)


@lru_cache(maxsize=1)
def median_face() -> Array:
    """(478, 3) landmarks of the median face."""
    return np.asarray(_baked()["vertices"], np.float32)


def lid_loop(eye: int) -> tuple[int, ...]:
    """The 16 landmarks around an eye: upper lid outer to inner, lower lid back."""
    return LID_UPPER[eye] + LID_LOWER[eye][-2:0:-1]


def lip_loop() -> tuple[int, ...]:
    """The 20 landmarks around the mouth's opening: upper lip left to right, lower lip back."""
    return LIP_UPPER + LIP_LOWER[-2:0:-1]


@lru_cache(maxsize=1)
def triangles() -> Index:
    """(T, 3) vertex numbers; orientation means nothing, depth decides what is seen."""
    parts = [np.asarray(_baked()["triangles"], np.int64)]
    upper = [MOUTH.start + i for i in range(11)]
    lower = [upper[0], *(MOUTH.start + 20 - i for i in range(1, 10)), upper[10]]
    parts.append(_strip(upper, lower))
    for ball in EYEBALLS:
        rim = [ball.start + i for i in range(16)]
        ring = [ball.start + 16 + i for i in range(16)]
        centre = [ball.start + 32] * 16
        parts.append(_strip([*rim, rim[0]], [*ring, ring[0]]))
        parts.append(_strip([*ring, ring[0]], [*centre, centre[0]]))
    inner = list(OVAL)
    for number in range(RINGS):
        outer = [OUTER.start + number * RING + i for i in range(RING)]
        parts.append(_strip([*inner, inner[0]], [*outer, outer[0]]))
        inner = outer
    return np.concatenate(parts)


@lru_cache(maxsize=1)
def mouth_coordinates() -> Array:
    """(V, 3): inside the mouth (1 or 0), across it -1..1, down it 0 upper lip .. 1 lower lip."""
    out = np.zeros((COUNT, 3), np.float32)
    across = np.linspace(-1, 1, 11)
    out[MOUTH, 0] = 1
    out[MOUTH, 1] = [*across, *across[-2:0:-1]]
    out[MOUTH, 2] = [0.5, *[0] * 9, 0.5, *[1] * 9]
    return out


@lru_cache(maxsize=1)
def triangle_regions() -> Index:
    """(T,) index into ``REGIONS``: what each triangle shows."""
    region = np.ones(COUNT, np.int64)
    region[OUTER] = 0
    middle = _scaffold()[FACE]
    lips = median_face()[list(LIPS_OUTER)]
    mouth = _ellipse_distance(middle, lips, grow=1.3) < 1
    region[FACE][mouth & (middle[:, 2] < 0.2)] = 4
    region[MOUTH] = 4
    for eye in (0, 1):
        region[FACE][
            _ellipse_distance(middle, median_face()[list(lid_loop(eye))], grow=1.5) < 1
        ] = 3
        region[list(BROWS[eye])] = 2
        region[EYEBALLS[eye]] = 3
    corners = region[triangles()]
    return np.asarray(
        np.sort(corners, axis=1)[:, 1]
    )  # the middle one: two of three agree or lie between


def ring_weights() -> tuple[Array, Array]:
    """(V,) share of the head's rotation and of its translation that each vertex follows."""
    rotation, translation = np.ones(COUNT, np.float32), np.ones(COUNT, np.float32)
    top = _top_share()
    support = np.arange(4.0)
    for number in range(RINGS):
        here = slice(OUTER.start + number * RING, OUTER.start + (number + 1) * RING)
        place = RING_SUPPORT[number + 1]
        high = (
            np.interp(place, support, (1.0, 1.0, 0.4, 0.0)),
            np.interp(place, support, (1.0, 1.0, 0.45, 0.0)),
        )
        low = (
            np.interp(place, support, (1.0, 0.35, 0.0, 0.0)),
            np.interp(place, support, (1.0, 0.85, 0.4, 0.0)),
        )
        rotation[here] = top * high[0] + (1 - top) * low[0]
        translation[here] = top * high[1] + (1 - top) * low[1]
    return rotation, translation


def ring_growth() -> tuple[Array, Array]:
    """(36,) distance of the hair's ring from the middle of the face in oval radii, and how much
    each place is at the top (1) or at sides and chin (0)."""
    top = _top_share()
    return 1.2 + 0.3 * top**2, top  # the crown needs room for hair; sides and chin do not


@lru_cache(maxsize=1)
def expression_fields() -> dict[str, Array]:
    """Displacement (V, 3) of every vertex for one unit of each expression, in eye distances.

    "open" is per eye distance of gap between the lips; the others are one full gesture.
    """
    at = _scaffold()
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
    smile[:, 1] = -0.085 * lips * np.clip(side, 0, 1.2) ** 1.6 + 0.012 * lips - 0.035 * cheek
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
    at = _scaffold()
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
    at = _scaffold()
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
        above = _smooth(1 - (top_line - at[:, 1]) / 0.17) * (
            at[:, 1] <= top_line + 1e-3
        )
        below = _smooth(1 - (at[:, 1] - bottom_line) / 0.15) * (
            at[:, 1] >= bottom_line - 1e-3
        )
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


def jaw_weight() -> Array:
    """(V,) how far each vertex goes down with the jaw: 1 in the middle of the lower lip, a quarter at
    the corners of the mouth, less towards the ears, 0 on the upper lip."""
    at = _scaffold()
    x, y = np.abs(at[:, 0]), at[:, 1]
    side = x / 0.30
    opening = CORNER + (1 - CORNER) * np.clip(1 - side**2.6, 0, 1) ** 0.7  # shape of the lower lip's edge
    depth = _smooth((y - _mouth_line(x)) / 0.28)
    below = opening + (0.88 - opening) * depth
    corner = CORNER * _smooth((side - 0.35) / 0.65)
    above = corner * np.exp(-(np.maximum(_mouth_line(x) - y, 0) / 0.13) ** 2)
    aside = np.exp(-(np.maximum(x - 0.33, 0) / 0.33) ** 2)
    weight = np.where(_is_below(), below, above) * aside
    return _with_copies(weight, rings=(0.75, 0.3))


def _mouth_line(x: NDArray[np.floating]) -> NDArray[np.floating]:
    """Height of the line between the lips at a distance ``x`` from the middle of the face."""
    return 0.735 - 0.05 * np.clip(x / 0.30, 0, 1.2) ** 2


def _is_below() -> NDArray[np.bool_]:
    """(V,) below the line between the lips."""
    at = _scaffold()
    below = np.asarray(at[:, 1] > _mouth_line(np.abs(at[:, 0])))
    below[list(LIP_LOWER[1:-1])] = True
    below[list(LIP_UPPER)] = False
    below[MOUTH] = below[list(lip_loop())]
    return below


def upper_lip_weight() -> Array:
    """(V,) 1 on the edge of the upper lip, falling to 0 at the nose."""
    at = _scaffold()
    line = np.interp(np.abs(at[:, 0]), (0, 0.3), (0.715, 0.69))
    weight = np.exp(-((np.maximum(line - at[:, 1], 0) / 0.13) ** 2)) * (at[:, 1] <= line + 0.01)
    weight *= np.exp(-((np.maximum(np.abs(at[:, 0]) - 0.3, 0) / 0.08) ** 2))
    weight[list(LIP_UPPER)] = 1
    weight[list(LIP_LOWER[1:-1])] = 0
    return _with_copies(weight)


def _lip_influence() -> Array:
    at = _scaffold()
    distance = _ellipse_distance(at, median_face()[list(LIPS_OUTER)], grow=1.0)
    return _with_copies(np.exp(-((np.maximum(distance - 1, 0) / 0.75) ** 2)))


def _brow_influence() -> Array:
    at = _scaffold()
    lower = np.interp(
        np.abs(at[:, 0]), (0, 0.17, 0.4, 0.62, 0.8), (-0.12, -0.13, -0.16, -0.08, 0.0)
    )
    below = np.clip(1 - (at[:, 1] - lower) / 0.13, 0, 1)
    above = np.clip(1 - (lower - 0.06 - at[:, 1]) / 0.45, 0, 1)
    weight = _smooth(np.minimum(below, above)) * np.exp(
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


@lru_cache(maxsize=1)
def _scaffold() -> Array:
    """(V, 3) every vertex on the median face."""
    face = median_face()
    at = np.zeros((COUNT, 3), np.float32)
    at[FACE] = face[FACE]
    at[MOUTH] = face[list(lip_loop())]
    for eye, ball in enumerate(EYEBALLS):
        at[ball.start : ball.start + 16] = face[list(lid_loop(eye))]
        at[ball.start + 16 : ball.stop] = face[IRIS[eye]]
    oval = face[list(OVAL)]
    middle = oval[:, :2].mean(0)
    hair, _ = ring_growth()
    for number, support in enumerate(RING_SUPPORT[1:]):
        here = slice(OUTER.start + number * RING, OUTER.start + (number + 1) * RING)
        grow = np.interp(support, (0, 1), (0, 1)) * (hair - 1) + 1 + 0.5 * max(support - 1, 0)
        at[here, :2] = middle + (oval[:, :2] - middle) * grow[:, None]
        at[here, 2] = 0.7
    return at


def _with_copies(weight: NDArray[np.floating], rings: tuple[float, ...] = ()) -> Array:
    """Give the mouth's rim the values of the lips, the rings a share of the oval's, the rest none."""
    out = np.zeros(COUNT, np.float32)
    out[FACE] = weight[FACE]
    out[MOUTH] = weight[list(lip_loop())]
    for number, share in enumerate(rings):
        here = slice(OUTER.start + number * RING, OUTER.start + (number + 1) * RING)
        out[here] = share * weight[list(OVAL)]
    return out


def _top_share() -> Array:
    """(36,) 1 above the face, 0 at sides and chin."""
    oval = median_face()[list(OVAL)]
    middle = oval[:, :2].mean(0)
    angle = np.arctan2(oval[:, 0] - middle[0], middle[1] - oval[:, 1])  # 0 at the top
    return _smooth(np.cos(angle) * 0.75 + 0.35)


def _strip(first: list[int], second: list[int]) -> Index:
    """Triangles between two lines of vertices; those that have a corner twice are left out."""
    a, b, c, d = first[:-1], first[1:], second[:-1], second[1:]
    both = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    proper = (both[:, 0] != both[:, 1]) & (both[:, 1] != both[:, 2]) & (both[:, 0] != both[:, 2])
    return both[proper].astype(np.int64)


def _hat(x: NDArray[np.floating], places: NDArray[np.floating]) -> Array:
    """(V, K) linear interpolation weights of ``x`` between ``places`` (in either order)."""
    order = np.argsort(places)
    out = np.stack(
        [np.interp(x, places[order], np.eye(len(places))[order, i]) for i in range(len(places))], 1
    )
    return out.astype(np.float32)


def _ellipse_distance(at: Array, outline: Array, grow: float) -> Array:
    """(V,) distance from the middle of ``outline``'s bounding ellipse, 1 on it."""
    low, high = outline[:, :2].min(0), outline[:, :2].max(0)
    radius = (high - low) / 2 * grow
    return np.asarray(np.linalg.norm((at[:, :2] - (low + high) / 2) / radius, axis=1), np.float32)


def _bump(at: Array, centre: tuple[float, float], width: float) -> Array:
    return np.asarray(np.exp(-(((at[:, :2] - np.array(centre)) / width) ** 2).sum(1)), np.float32)


def _smooth(x: NDArray[np.floating]) -> Array:
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x), np.float32)


@lru_cache(maxsize=1)
def _baked() -> dict[str, NDArray[np.generic]]:
    place = resources.files("lia_live.train") / "face_mesh.npz"
    with resources.as_file(place) as path, np.load(path) as data:
        return {name: data[name] for name in data.files}
