"""The performer's mesh: which vertices there are, how they are joined, what moves each of them.

Vertices, in this order:

    0..467     the face, in MediaPipe's numbering
    468..487   inner lip line once more: rim of the mouth's inside
    488..553   two eyeballs: rim (the lid line once more), a ring around the iris, its centre
    554..841   eight rings of 36 around the face: hair and neck, shoulders, picture border

Weights (``gestures``) are worked out once, on a median face. ``face_mesh.npz`` holds it, "vertices"
(478, 3): MediaPipe's landmarks of two public-domain photographs (scikit-image's astronaut,
matplotlib's Grace Hopper), turned to the front, averaged, and averaged with their mirror image; and
"triangles" (852, 3): all triples of landmarks that FACEMESH_TESSELATION joins pairwise, less two
that are no facets. Unit: distance of the outer eye corners. Axes: x right and y down in the
picture, z away from the viewer; origin between the eyes.
"""

from __future__ import annotations

from collections.abc import Sequence
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


@lru_cache
def way_round(loop: tuple[int, ...]) -> float:
    """1 for landmarks that go round clockwise in the picture, -1 for others.

    In the median face: closed lips may cross each other, and then their own way round is any.
    """
    x, y = median_face()[list(loop), :2].T
    return float(np.sign((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()))


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
def mouth_triangles() -> NDArray[np.bool_]:
    """(T,) which triangles are the inside of the mouth."""
    corners = triangles()
    inside: NDArray[np.bool_] = (corners.min(1) >= MOUTH.start) & (corners.max(1) < MOUTH.stop)
    return inside


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
    middle = scaffold()[FACE]
    lips = median_face()[list(LIPS_OUTER)]
    mouth = ellipse_distance(middle, lips, grow=1.3) < 1
    region[FACE][mouth & (middle[:, 2] < 0.2)] = 4
    region[MOUTH] = 4
    for eye in (0, 1):
        region[FACE][ellipse_distance(middle, median_face()[list(lid_loop(eye))], grow=1.5) < 1] = 3
        region[list(BROWS[eye])] = 2
        region[EYEBALLS[eye]] = 3
    corners = region[triangles()]
    return np.asarray(
        np.sort(corners, axis=1)[:, 1]
    )  # the middle one: two of three agree or lie between


def ring_weights() -> tuple[Array, Array]:
    """Shares of the head's movement that each vertex follows: (V,) of its rotation, (V, 2) of its shift along x, y.

    The picture's border stays where it is, but for what is above the head when that goes up or down: there is little of
    it, and between a head that goes down and a border that stays hair would be drawn out into a horn.
    """
    rotation, shift = np.ones(COUNT, np.float32), np.ones((COUNT, 2), np.float32)
    top = _top_share()
    support = np.arange(4.0)  # face, hair and neck, shoulders, border

    def mixed(place: float, share: Array, high: Sequence[float], low: Sequence[float]) -> Array:
        above, aside = np.interp(place, support, high), np.interp(place, support, low)
        return np.asarray(share * above + (1 - share) * aside, np.float32)

    for number in range(RINGS):
        here = slice(OUTER.start + number * RING, OUTER.start + (number + 1) * RING)
        place = RING_SUPPORT[number + 1]
        rotation[here] = mixed(place, top, (1.0, 1.0, 0.4, 0.0), (1.0, 0.35, 0.0, 0.0))
        shift[here, 0] = mixed(place, top, (1.0, 1.0, 0.45, 0.0), (1.0, 0.85, 0.4, 0.0))
        # squared: the sides' background, half-way down, does not go up and down
        shift[here, 1] = mixed(place, top**2, (1.0, 1.0, 0.95, 0.9), (1.0, 0.85, 0.4, 0.0))
    return rotation, shift


def ring_growth() -> tuple[Array, Array]:
    """(36,) distance of the hair's ring from the middle of the face in oval radii, and how much
    each place is at the top (1) or at sides and chin (0)."""
    top = _top_share()
    return 1.2 + 0.3 * top**2, top  # the crown needs room for hair; sides and chin do not


@lru_cache(maxsize=1)
def scaffold() -> Array:
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


def _top_share() -> Array:
    """(36,) 1 above the face, 0 at sides and chin."""
    oval = median_face()[list(OVAL)]
    middle = oval[:, :2].mean(0)
    angle = np.arctan2(oval[:, 0] - middle[0], middle[1] - oval[:, 1])  # 0 at the top
    return smooth_step(np.cos(angle) * 0.75 + 0.35)


def _strip(first: list[int], second: list[int]) -> Index:
    """Triangles between two lines of vertices; those that have a corner twice are left out."""
    a, b, c, d = first[:-1], first[1:], second[:-1], second[1:]
    both = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    proper = (both[:, 0] != both[:, 1]) & (both[:, 1] != both[:, 2]) & (both[:, 0] != both[:, 2])
    kept: Index = both[proper].astype(np.int64)
    return kept


def ellipse_distance(at: Array, outline: Array, grow: float) -> Array:
    """(V,) distance from the middle of ``outline``'s bounding ellipse, 1 on it."""
    low, high = outline[:, :2].min(0), outline[:, :2].max(0)
    radius = (high - low) / 2 * grow
    return np.asarray(np.linalg.norm((at[:, :2] - (low + high) / 2) / radius, axis=1), np.float32)


def smooth_step(x: Array) -> Array:
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x), np.float32)


@lru_cache(maxsize=1)
def _baked() -> dict[str, NDArray[np.generic]]:
    place = resources.files("lia_live.puppet") / "face_mesh.npz"
    with resources.as_file(place) as path, np.load(path) as data:
        return {name: data[name] for name in data.files}
