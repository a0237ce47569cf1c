"""The figures of one transfer: an output beside what it should be, beside its driver, beside its source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from lia_live.evaluate.identity import shape_distance
from lia_live.evaluate.landmarks import landmarks_of
from lia_live.evaluate.movement import Movement, Series, follow, movements
from lia_live.evaluate.nets import Nets
from lia_live.evaluate.picture_measures import gradient_energy, keypoint_distance, l1
from lia_live.frame import Pixels
from lia_live.track.crop import Landmarks

NAN = float("nan")
OPTIONAL: Final = (
    "l1", "static_l1", "akd", "static_akd", "aed", "static_aed",
    "identity", "driver_identity", "lpips", "static_lpips",
)  # fmt: skip
"""Fields of ``Figures`` that are not always defined, means over frames."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class Figures:
    """Everything measured of one clip; NaN where it is not defined or its network was not given.

    Names with ``static`` judge the static copy, the source shown in place of every output.
    """

    frames: int
    """Frames judged."""
    face_found: float
    """Share of the outputs in which MediaPipe sees a face."""
    movements: Mapping[str, Movement]
    """How the output follows its driver, by channel."""
    shape_distance: float
    """Of the outputs' heads to the source's, in percent of the eyes' distance."""
    driver_shape_distance: float
    """Of the driver's heads to the source's: the measure's own error for one person, else a stranger's."""
    sharpness: float
    """Gradient energy inside the face, output over real frame (over source in a cross-identity transfer)."""
    l1: float = NAN
    """Mean absolute difference to the real frames, in [0, 1]."""
    static_l1: float = NAN
    akd: float = NAN
    """Mean distance of MediaPipe's 468 landmarks to the real frames', in pixels at 256."""
    static_akd: float = NAN
    aed: float = NAN
    """Mean distance of the face-recognition vectors (length 1) of output and real frame."""
    static_aed: float = NAN
    identity: float = NAN
    """Mean cosine of the face-recognition vectors of output and source."""
    driver_identity: float = NAN
    """The same of driver and source."""
    lpips: float = NAN
    """Mean LPIPS to the real frames."""
    static_lpips: float = NAN

    @property
    def mouth_correlation(self) -> float:
        """Of the opening of the mouth; NaN where the driver's hardly moves."""
        return self.movements["mouth"].correlation

    @property
    def eye_correlation(self) -> float:
        """Of the opening of the eyes; NaN where the driver's hardly move."""
        return self.movements["eyes"].correlation


@dataclass(frozen=True, eq=False)
class Traces:
    """What was measured frame by frame, for plots."""

    driver: Series
    output: Series
    akd: NDArray[np.float64]
    """(T,); NaN where a face was missing."""


def compare(
    source: Pixels, outputs: Sequence[Pixels], real: Sequence[Pixels], nets: Nets | None = None
) -> Figures:
    """Judge ``outputs`` by the ``real`` frames they should be, all (S, S, 3) uint8 RGB of one size.

    ``source``: what the outputs were made from; also the static copy. 25 ms a frame. Raises ``ValueError`` for
    pictures that do not match, or none.
    """
    if len(outputs) != len(real) or not real:
        raise ValueError(f"as many outputs as real frames, got {len(outputs)} and {len(real)}")
    tally = Tally(source, nets)
    for output, true in zip(outputs, real, strict=True):
        if not output.shape == true.shape == source.shape:
            raise ValueError(f"one size, got {source.shape}, {output.shape} and {true.shape}")
        tally.add_real(output, true)
    return tally.figures()


@dataclass
class Tally:
    """Takes one frame after the other, so that no clip has to be held. One thread."""

    source: Pixels
    nets: Nets | None = None
    _rows: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = field(default_factory=list)
    _values: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._side = float(self.source.shape[0])
        self._source_points = landmarks_of(self.source)
        self._source_vector = self._vector(self.source, self._source_points)
        self._faces = 0

    def add_real(self, output: Pixels, real: Pixels) -> None:
        """A frame of which the truth is known: the driver is the same person in the same crop."""
        points, true = landmarks_of(output), landmarks_of(real)
        self._note("l1", l1(output, real))
        self._note("static_l1", l1(self.source, real))
        apart = _pair(points, true, lambda a, b: keypoint_distance(a, b, self._side))
        self._values.setdefault("akd", []).append(apart)  # with its gaps: it is plotted
        self._note(
            "static_akd",
            _pair(self._source_points, true, lambda a, b: keypoint_distance(a, b, self._side)),
        )
        vector, real_vector = self._vector(output, points), self._vector(real, true)
        self._note("aed", _pair(vector, real_vector, _apart))
        self._note("static_aed", _pair(self._source_vector, real_vector, _apart))
        perceptual = self.nets.perceptual if self.nets else None
        if perceptual is not None:
            self._note("lpips", perceptual.distance(output, real))
            self._note("static_lpips", perceptual.distance(self.source, real))
        self._add_both(output, points, vector, true, real_vector)
        self._add_sharpness(output, points, real, true)

    def add_driven(self, output: Pixels, driver: Pixels, driver_points: Landmarks | None) -> None:
        """A frame of another person's: ``driver_points`` (478, 3) in pixels of ``driver`` (S, S, 3)."""
        points = landmarks_of(output)
        vector, drivers = self._vector(output, points), self._vector(driver, driver_points)
        self._add_both(output, points, vector, driver_points, drivers)
        self._add_sharpness(output, points, self.source, self._source_points)

    def figures(self) -> Figures:
        """Of everything taken so far."""
        traces = self.traces()
        energy = self._mean("energy") / self._mean("reference_energy")
        return Figures(
            frames=len(self._rows),
            face_found=self._faces / len(self._rows) if self._rows else NAN,
            movements=follow(traces.driver, traces.output),
            shape_distance=self._mean("shape_distance"),
            driver_shape_distance=self._mean("driver_shape_distance"),
            sharpness=energy,
            **{name: self._mean(name) for name in OPTIONAL},
        )

    def traces(self) -> Traces:
        """Frame by frame."""
        width = len(movements(None, self._side))
        rows = np.array(self._rows).reshape(-1, 2, width)
        return Traces(rows[:, 0], rows[:, 1], np.array(self._values.get("akd", [])))

    def _add_both(
        self,
        output: Pixels,
        points: Landmarks | None,
        vector: NDArray[np.float64] | None,
        driver_points: Landmarks | None,
        driver_vector: NDArray[np.float64] | None,
    ) -> None:
        side = float(output.shape[0])
        self._faces += points is not None
        self._rows.append((movements(driver_points, self._side), movements(points, side)))
        self._note("shape_distance", _pair(points, self._source_points, shape_distance))
        self._note(
            "driver_shape_distance", _pair(driver_points, self._source_points, shape_distance)
        )
        self._note("identity", _pair(vector, self._source_vector, _cosine))
        self._note("driver_identity", _pair(driver_vector, self._source_vector, _cosine))

    def _add_sharpness(
        self,
        output: Pixels,
        points: Landmarks | None,
        reference: Pixels,
        reference_points: Landmarks | None,
    ) -> None:
        if points is not None and reference_points is not None:
            self._note("energy", gradient_energy(output, points))
            self._note("reference_energy", gradient_energy(reference, reference_points))

    def _vector(self, picture: Pixels, points: Landmarks | None) -> NDArray[np.float64] | None:
        net = self.nets.identity if self.nets else None
        return None if net is None or points is None else net.embed(picture, points)

    def _note(self, name: str, value: float) -> None:
        if np.isfinite(value):
            self._values.setdefault(name, []).append(value)

    def _mean(self, name: str) -> float:
        values = [value for value in self._values.get(name, []) if np.isfinite(value)]
        return float(np.mean(values)) if values else NAN


def _pair(a: _T | None, b: _T | None, measure: Callable[[_T, _T], float]) -> float:
    """``measure`` of both; NaN where one is missing."""
    return NAN if a is None or b is None else measure(a, b)


def _apart(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(a - b))


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(a @ b)
