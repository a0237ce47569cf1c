"""Figures of made-up transfers, where the right answer is known beforehand."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from lia_live.evaluate import compare
from tests.evaluate.crops import astronaut, hopper, moved

SWAY = [0.0, 2.0, 5.0, 9.0, 12.0, 8.0, 3.0, -3.0, -7.0, -4.0]


@pytest.fixture(scope="module")
def real():
    return [moved(astronaut(), x, 0.4 * x) for x in SWAY]


def test_the_truth_itself_is_perfect(real):
    figures = compare(astronaut(), real, real)
    assert figures.l1 == figures.akd == 0
    assert figures.face_found == 1
    assert figures.frames == len(SWAY)
    assert figures.sharpness == pytest.approx(1, abs=1e-6)
    for channel in ("x", "y"):
        assert figures.movements[channel].slope == pytest.approx(1)
        assert figures.movements[channel].correlation == pytest.approx(1)


def test_a_static_copy_scores_as_the_static_copy(real):
    figures = compare(astronaut(), [astronaut()] * len(real), real)
    assert figures.l1 == figures.static_l1
    assert figures.akd == figures.static_akd
    expected = np.mean([np.abs(astronaut() / 255 - picture / 255).mean() for picture in real])
    assert figures.static_l1 == pytest.approx(expected, rel=1e-6)
    assert figures.movements["x"].slope == figures.movements["x"].correlation == 0
    assert figures.shape_distance == pytest.approx(0, abs=1e-9)


def test_akd_of_a_shift_is_the_shift(real):
    off = 6.0
    figures = compare(astronaut(), [moved(picture, off) for picture in real], real)
    assert figures.akd == pytest.approx(off, abs=0.4)
    static = np.mean([math.hypot(x, 0.4 * x) for x in SWAY])
    assert figures.static_akd == pytest.approx(static, abs=0.4)
    assert figures.movements["x"].slope == pytest.approx(1, abs=0.05), "an offset is no slope"


def test_half_the_movement_has_half_the_slope(real):
    outputs = [moved(astronaut(), 0.5 * x, 0.2 * x) for x in SWAY]
    figures = compare(astronaut(), outputs, real)
    assert figures.movements["x"].slope == pytest.approx(0.5, abs=0.05)
    assert figures.movements["x"].correlation > 0.99
    assert not figures.movements["yaw"].judged
    assert math.isnan(figures.movements["yaw"].slope)
    assert math.isnan(figures.mouth_correlation) and math.isnan(figures.eye_correlation)


def test_blur_costs_sharpness(real):
    outputs = [cv2.GaussianBlur(picture, (0, 0), 2).astype(np.uint8) for picture in real]
    assert 0.02 < compare(astronaut(), outputs, real).sharpness < 0.5


def test_another_person_has_another_head(real):
    other = [moved(hopper(), x) for x in SWAY]
    figures = compare(astronaut(), other, real)
    assert figures.shape_distance > 2 * figures.driver_shape_distance


def test_outputs_without_a_face(real):
    blank = [np.full_like(astronaut(), 127)] * len(real)
    figures = compare(astronaut(), [*blank[:5], *real[5:]], real)
    assert figures.face_found == 0.5
    assert figures.akd == 0, "of the frames in which there is one"
    nothing = compare(astronaut(), blank, real)
    assert nothing.face_found == 0
    assert math.isnan(nothing.akd) and math.isnan(nothing.sharpness)
    assert not nothing.movements["x"].judged
    assert nothing.l1 > 0


def test_figures_without_networks_are_not_numbers(real):
    figures = compare(astronaut(), real[:2], real[:2])
    assert all(math.isnan(v) for v in (figures.aed, figures.identity, figures.lpips))


def test_a_source_without_a_face(real):
    figures = compare(np.zeros_like(astronaut()), real, real)
    assert figures.akd == 0 and math.isnan(figures.static_akd)
    assert math.isnan(figures.shape_distance)


def test_pictures_that_do_not_match(real):
    with pytest.raises(ValueError, match="as many outputs"):
        compare(astronaut(), real[:2], real[:3])
    with pytest.raises(ValueError, match="as many outputs"):
        compare(astronaut(), [], [])
    with pytest.raises(ValueError, match="one size"):
        compare(astronaut(), [real[0][:128, :128]], real[:1])
