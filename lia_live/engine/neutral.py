"""Finding the driver's neutral: the moment that the avatar's own picture is taken to correspond to.

A bad neutral is what spoils relative transfer, so nobody is asked to strike a pose: every face of a short
window is scored (frontal, mouth closed, like the avatar; nothing counts with shut eyes) and the best ones are averaged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


class HeadShape(Protocol):
    """The few numbers about a face that score and code need; ``track.FaceShape`` has them."""

    @property
    def yaw(self) -> float:
        """Degrees, 0 when facing the camera."""
        ...

    @property
    def pitch(self) -> float:
        """Degrees, 0 when facing the camera."""
        ...

    @property
    def roll(self) -> float:
        """Degrees, 0 when upright."""
        ...

    @property
    def mouth_open(self) -> float:
        """0 closed, about 1 wide open."""
        ...

    @property
    def eye_open_left(self) -> float:
        """Gap of the lids over the eye's width: about 0.3 open, under 0.12 closed."""
        ...

    @property
    def eye_open_right(self) -> float:
        """The same for the other eye."""
        ...

    @property
    def mouth_width(self) -> float:
        """In eye distances: about 0.55 at rest, more in a smile."""
        ...

    @property
    def brow_raise(self) -> float:
        """Height of the brows over the eyes' inner corners, in eye distances: about 0.30 at rest."""
        ...

    @property
    def brow_inner(self) -> float:
        """How much higher their inner ends are than the rest of them, in eye distances."""
        ...

    @property
    def gaze_x(self) -> float:
        """Eye distances that the irises stand to the right, in the picture, of the middle of their eyes."""
        ...

    @property
    def gaze_y(self) -> float:
        """The same downwards, from where they stand when somebody looks ahead."""
        ...


class Sample(NamedTuple):
    """One moment of the driver, as numbers."""

    code: NDArray[np.floating[Any]]
    """(M,) motion code."""
    shape: HeadShape | None
    """Of the face it came from, if known."""
    at: float = 0.0
    """When the frame was captured, seconds: names it to whoever kept the frames."""


AT_REST = np.array([0.0, 0.0, 0.0, 0.0, 0.55])
"""Yaw, pitch, roll (degrees), mouth opening and mouth width of a face at rest ..."""
TOLERANCE = np.array([12.0, 20.0, 12.0, 0.2, 0.2])
"""... and how far from it each may be to count 0.6. Pitch is lenient: few cameras stand at eye level, and
a constant tilt cancels out in relative transfer."""
OPENING, WIDTH = 3, 4
"""Indices of the mouth's in those. Whose closed mouth is narrower has that width at rest."""
CLOSED = 0.1
"""A mouth that is less open counts as closed."""
EYES = 5
"""Index of the mean eye opening, behind those five."""
EYE_RATIO = (0.55, 0.85)
"""Eye opening as a fraction of this person's widest: shut below the first, open above the second."""
LEAST_OPEN = 0.2
"""Nobody's widest is taken to be less than this."""
LIKENESS_WEIGHT = 0.3
"""How much of the score likeness to the avatar decides, if its shape is known; the rest is how calm the face is."""
AVERAGED = 5
"""The neutral is the mean of up to this many best samples ..."""
AVERAGED_WITHIN = 0.05
"""... whose scores are this close to the best one."""
CAPACITY = 300
"""Samples a live search keeps; the oldest go first."""

EASE_S = 0.15
"""Time constant with which a better neutral takes over from the one in use."""
GOOD_SCORE, EARLY_S = 0.9, 1.5
"""A score this good ends the first search after this time."""
POOR_SCORE = 0.3
"""Below this score the search goes on after its window (the driver looked away all the time)."""
ASKED_WINDOW_S = 0.5
"""Window of a neutral that was asked for: the driver is posing now."""


def measures(shape: HeadShape | None) -> Vector:
    """(6,): the five of ``AT_REST`` and the mean eye opening; NaN throughout when there is no shape."""
    if shape is None:
        return np.full(6, np.nan)
    pose = (shape.yaw, shape.pitch, shape.roll)
    eyes = (shape.eye_open_left + shape.eye_open_right) / 2
    return np.array([*pose, shape.mouth_open, shape.mouth_width, eyes], dtype=np.float64)


class NeutralSearch:
    """Collects (code, shape) samples and names the best neutral so far. One thread.

    ``rest``: (M,) the avatar's own code; ``scale``: (M,) typical deviations; ``avatar``: its shape if known.
    """

    def __init__(self, rest: Vector, scale: Vector, avatar: HeadShape | None) -> None:
        self._rest = rest
        self._scale = scale
        self._avatar = measures(avatar)
        self._codes: list[Vector] = []
        self._shapes: list[Vector] = []
        self._times: list[float] = []

    def add(self, code: Vector, shape: HeadShape | None, at: float = 0.0) -> None:
        """One sample: (M,) motion code, finite; the shape of the face it came from; when, seconds."""
        self._codes.append(code)
        self._shapes.append(measures(shape))
        self._times.append(at)

    def trim(self, count: int) -> None:
        """Keep only the newest ``count`` samples."""
        del self._codes[:-count], self._shapes[:-count], self._times[:-count]

    def best(self) -> tuple[Vector, float, tuple[float, ...]]:
        """The neutral code (M,), its score in [0, 1], and when its samples were taken, best first.

        At least one sample must have been added.
        """
        codes, scores = np.stack(self._codes), self.scores()
        order = np.argsort(-scores, kind="stable")[:AVERAGED]
        chosen = order[scores[order] >= scores[order[0]] - AVERAGED_WITHIN]
        times = tuple(self._times[index] for index in chosen)
        return codes[chosen].mean(axis=0), float(scores[order[0]]), times

    def scores(self) -> Vector:
        """(n,) in [0, 1], oldest first. Earlier scores change as the widest eye opening becomes known."""
        shapes = np.stack(self._shapes)  # (n, 6)
        known = np.isfinite(shapes).all(axis=1)
        seen = np.nan_to_num(shapes)
        at_rest = self._at_rest(shapes[known])
        calm = np.exp(-0.5 * (((seen[:, :EYES] - at_rest) / TOLERANCE) ** 2).sum(axis=1))
        if np.isfinite(self._avatar).all():
            gap = (seen[:, :EYES] - self._avatar[:EYES]) / TOLERANCE
            calm += LIKENESS_WEIGHT * (np.exp(-0.25 * (gap**2).sum(axis=1)) - calm)
        score: Vector = np.where(known, self._eyes(seen[:, EYES]) * calm, self._by_code())
        return score

    def _at_rest(self, shapes: Vector) -> Vector:
        """``AT_REST`` of this person, from (n, 6) measures: nobody holds narrow lips for long, but many a smile."""
        at_rest = AT_REST.copy()
        closed = shapes[shapes[:, OPENING] < CLOSED, WIDTH]
        if len(closed):
            at_rest[WIDTH] = min(at_rest[WIDTH], float(np.median(closed)))
        return at_rest

    def _eyes(self, opening: Vector) -> Vector:
        """0 shut to 1 open."""
        widest = max(float(np.percentile(opening, 90)), LEAST_OPEN)
        shut, open_ = EYE_RATIO
        share: Vector = np.clip((opening / widest - shut) / (open_ - shut), 0.0, 1.0)
        return share

    def _by_code(self) -> Vector:
        """For samples without landmarks: how near the code is to the avatar's own, at least usable."""
        away = (np.stack(self._codes) - self._rest) / self._scale
        score: Vector = POOR_SCORE + (1 - POOR_SCORE) * np.exp(-0.5 * (away**2).mean(axis=1))
        return score


class DriverNeutral:
    """The neutral in use: searched from the first face on, improved during the window, then locked.

    ``rest``, ``scale``, ``avatar``: as in ``NeutralSearch``. ``window_s``: length of the first search.
    """

    def __init__(
        self, rest: Vector, scale: Vector, avatar: HeadShape | None, window_s: float
    ) -> None:
        self._scale = scale
        self._first_window_s = window_s
        self._window_s = window_s
        self._early_s = min(EARLY_S, window_s)
        self._search: NeutralSearch | None = NeutralSearch(rest, scale, avatar)
        self._began: float | None = None
        self._goal: Vector | None = None
        self._value: Vector | None = None
        self.score = 0.0
        """Of the neutral in use, in [0, 1]; 0 before the first face."""
        self.times: tuple[float, ...] = ()
        """When the moments it was found in were captured, best first."""

    @property
    def locked(self) -> bool:
        """Chosen, and no longer being improved."""
        return self._goal is not None and self._search is None

    def restart(self, rest: Vector, avatar: HeadShape | None) -> None:
        """Search anew, in a short window that begins with the next face; until then the old one serves."""
        self._search = NeutralSearch(rest, self._scale, avatar)
        self._began, self._window_s, self._early_s = None, ASKED_WINDOW_S, math.inf

    def learn(self, samples: Sequence[Sample], rest: Vector, avatar: HeadShape | None) -> None:
        """Choose from these samples, at least one, and lock."""
        search = self._filled(samples, rest, avatar)
        self._goal, self.score, self.times = search.best()
        self._value, self._search = self._goal, None

    def move(
        self, samples: Sequence[Sample], rest: Vector, scale: Vector, avatar: HeadShape | None
    ) -> None:
        """Go on in the codes of another network: ``samples`` are the moments it was found in, in those.

        Locked stays locked, a search goes on. Without samples a first search begins with the next face.
        """
        self._scale = scale
        if not samples:
            window_s = self._first_window_s
            self._search = NeutralSearch(rest, scale, avatar)
            self._began, self._window_s, self._early_s = None, window_s, min(EARLY_S, window_s)
            self._goal = self._value = None
            self.score, self.times = 0.0, ()
            return
        search = self._filled(samples, rest, avatar)
        self._goal, self.score, self.times = search.best()
        self._value = self._goal
        if self._search is not None:
            # One that was asked for and has seen nobody yet must not find the old neutral again.
            asked = self._began is None
            self._search = NeutralSearch(rest, scale, avatar) if asked else search

    def follow(self, code: Vector, shape: HeadShape | None, now: float, passed: float) -> Vector:
        """The neutral (M,) to use with this sample, ``passed`` seconds after the one before."""
        if self._search is not None:
            self._goal = self._improve(self._search, code, shape, now)
        if self._goal is None:
            raise RuntimeError("a neutral is searched for or known")  # by construction
        if self._value is None:
            self._value = self._goal
        else:
            share = 1 - math.exp(-passed / EASE_S)
            self._value = self._value + share * (self._goal - self._value)
        return self._value

    def _improve(
        self, search: NeutralSearch, code: Vector, shape: HeadShape | None, now: float
    ) -> Vector:
        if self._began is None:
            self._began = now
        search.add(code, shape, now)
        search.trim(CAPACITY)
        goal, self.score, self.times = search.best()
        lasted = now - self._began
        over = lasted >= self._window_s and self.score >= POOR_SCORE
        if over or (lasted >= self._early_s and self.score >= GOOD_SCORE):
            self._search = None
        return goal

    def _filled(
        self, samples: Sequence[Sample], rest: Vector, avatar: HeadShape | None
    ) -> NeutralSearch:
        search = NeutralSearch(rest, self._scale, avatar)
        for sample in samples:
            search.add(np.asarray(sample.code, dtype=np.float64), sample.shape, sample.at)
        return search
