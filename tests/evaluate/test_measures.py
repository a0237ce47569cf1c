"""Head shape, difference, sharpness and trembling on numbers made for them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from lia_live.evaluate.identity import STABLE, shape_distance
from lia_live.evaluate.picture_measures import gradient_energy, keypoint_distance, l1, trembling


def head(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(40, 200, (478, 3)).astype(np.float32)


def test_pose_place_and_size_are_no_part_of_a_shape():
    turn = Rotation.from_euler("xyz", [20, -35, 12], degrees=True).as_matrix()
    turned = (1.7 * head() @ turn.T + [30, -12, 5]).astype(np.float32)
    assert shape_distance(turned, head()) == pytest.approx(0, abs=1e-3)


def test_expression_is_no_part_of_a_shape():
    other = head()
    free = np.setdiff1d(np.arange(478), STABLE)
    other[free] += 50
    assert shape_distance(other, head()) == pytest.approx(0, abs=1e-3)


def test_a_shape_is_not_its_mirror_image():
    mirrored = head() * np.array([-1, 1, 1], np.float32)
    assert shape_distance(mirrored, head()) > 5


def test_the_distance_grows_as_the_heads_differ():
    noise = np.random.default_rng(1).normal(0, 1, (478, 3)).astype(np.float32)
    corners = head()[[33, 263]].astype(float)
    unit = np.linalg.norm(corners[1] - corners[0])
    near, far = (shape_distance(head() + scale * noise, head()) for scale in (1.0, 3.0))
    assert far == pytest.approx(3 * near, rel=0.1)
    assert near == pytest.approx(100 * math.sqrt(3) / unit, rel=0.25), "three axes of s.d. 1"


def test_l1_is_in_units_of_full_range():
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    assert l1(black, white) == 1
    assert l1(white, white) == 0
    random = np.random.default_rng(0).integers(0, 256, (2, 9, 9, 3)).astype(np.uint8)
    assert l1(*random) == pytest.approx(np.abs(random[0] / 255 - random[1] / 255).mean())


def test_keypoint_distance_is_in_pixels_of_256():
    moved = head() + np.array([3, 4, 100], np.float32)
    assert keypoint_distance(moved, head(), 256) == pytest.approx(5, rel=1e-5)
    assert keypoint_distance(moved, head(), 512) == pytest.approx(2.5, rel=1e-5)
    irises = head()
    irises[468:] += 40
    assert keypoint_distance(irises, head(), 256) == 0


def test_gradient_energy_of_a_ramp_is_its_slope_squared():
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 256, 0).repeat(3, 2)
    assert gradient_energy(ramp, head()) == pytest.approx(1)
    stairs = ramp // 4 * 4  # central differences: 0, 2, 2, 0 on each step
    assert gradient_energy(stairs, head()) == pytest.approx(2, rel=0.02)
    outside = ramp.copy()
    outside[:, 230:] = 0  # no landmark lies there
    assert gradient_energy(outside, head()) == pytest.approx(1)


def test_trembling_of_what_stands_still_is_nothing():
    assert trembling([head()] * 5, 256) == 0
    assert math.isnan(trembling([head(), None], 256))


def test_trembling_is_the_deviation_in_the_picture():
    random = np.random.default_rng(0)
    noise = random.normal(0, 0.5, (400, 478, 3)).astype(np.float32)
    shaken: list = [head() + one for one in noise]
    assert trembling(shaken, 256) == pytest.approx(0.5 * math.sqrt(2), rel=0.02)
    assert trembling(shaken, 512) == pytest.approx(0.25 * math.sqrt(2), rel=0.02)
    assert trembling([*shaken, None], 256) == trembling(shaken, 256)
