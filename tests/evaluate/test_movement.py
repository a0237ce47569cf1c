"""Following by numbers alone, against numpy's own regression."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lia_live.evaluate.landmarks import landmarks_of
from lia_live.evaluate.movement import LEAST_SD, MOVEMENTS, follow, movements
from tests.evaluate.crops import astronaut, moved

WIDTH = len(MOVEMENTS)


def series(seed: int, frames: int = 60) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 5, (frames, WIDTH))


def test_correlation_and_slope_are_those_of_numpy():
    driver = series(0)
    output = 0.4 * driver + 0.3 * series(1) + 7
    for index, name in enumerate(MOVEMENTS):
        told = follow(driver, output)[name]
        assert told.slope == pytest.approx(np.polyfit(driver[:, index], output[:, index], 1)[0])
        expected = np.corrcoef(driver[:, index], output[:, index])[0, 1]
        assert told.correlation == pytest.approx(expected)
        assert told.driver_sd == pytest.approx(driver[:, index].std())


def test_a_driver_that_hardly_moves_is_not_judged():
    driver = series(0) / series(0).std(axis=0)
    for scale, judged in ((0.98, False), (1.02, True)):
        told = follow(driver * np.array(LEAST_SD) * scale, driver)
        assert [told[name].judged for name in MOVEMENTS] == [judged] * WIDTH
        assert all(math.isnan(told[name].slope) is not judged for name in MOVEMENTS)


def test_frames_without_a_face_are_left_out():
    driver, output = series(0), 2 * series(0)
    driver[3], output[7:20] = np.nan, np.nan
    told = follow(driver, output)
    assert told["yaw"].slope == pytest.approx(2)
    output[5:] = np.nan
    assert not follow(driver, output)["yaw"].judged, "four frames say nothing"


def test_an_output_that_stands_still_follows_by_nothing():
    told = follow(series(0), np.ones((60, WIDTH)))
    assert all((told[name].correlation, told[name].slope) == (0, 0) for name in MOVEMENTS)


def test_places_are_in_pixels_of_256_whatever_the_size():
    small = movements(landmarks_of(astronaut()), 256)
    large = np.ascontiguousarray(np.kron(astronaut(), np.ones((2, 2, 1), np.uint8)))
    doubled = movements(landmarks_of(large), 512)
    assert doubled == pytest.approx(small, abs=1.5)
    shifted = movements(landmarks_of(moved(astronaut(), 10, -6)), 256)
    assert shifted[3:5] - small[3:5] == pytest.approx([10, -6], abs=0.5)
    assert np.isnan(movements(None, 256)).all()
