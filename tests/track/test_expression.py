"""Pose and openings: exact on heads of known pose, plausible and mirror-symmetric on photographs."""

from __future__ import annotations

import numpy as np
import pytest

from lia_live.track import expression, find_faces
from tests.track.faces import astronaut, hopper


@pytest.fixture(scope="module")
def captain() -> np.ndarray:
    """Landmarks of a face with a closed mouth, nearly frontal."""
    return find_faces(hopper())[0].landmarks


def turned(points: np.ndarray, yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Rigidly turned as the camera sees it: nose to the right, up, clockwise in the picture (degrees)."""
    a, b, c = np.radians([-yaw, -pitch, roll])
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    middle = points.mean(axis=0)
    return ((points - middle) @ (about_z @ about_y @ about_x).T + middle).astype(np.float32)


def upright(points: np.ndarray) -> np.ndarray:
    """Turned until the fit says 0, 0, 0."""
    for _ in range(5):
        shape = expression(points)
        points = turned(points, 0, 0, -shape.roll)
        points = turned(points, -shape.yaw, 0, 0)
        points = turned(points, 0, -shape.pitch, 0)
    return points


@pytest.mark.parametrize(
    "pose", [(25, 0, 0), (-40, 0, 0), (0, 15, 0), (0, -20, 0), (0, 0, 30), (20, -10, 15)]
)
def test_the_pose_of_a_turned_head(captain: np.ndarray, pose: tuple[float, float, float]) -> None:
    straight = upright(captain)
    # Zero is a head bowed by 5 degrees, so pitch turns about an axis that is not quite the picture's.
    shape = expression(turned(straight, *pose))
    tolerance = 0.2 if np.count_nonzero(pose) == 1 and not pose[0] else 4.0
    assert (shape.yaw, shape.pitch, shape.roll) == pytest.approx(pose, abs=tolerance)


def test_the_nose_says_which_way(captain: np.ndarray) -> None:
    straight = upright(captain)

    def nose(points: np.ndarray) -> np.ndarray:
        return (points[4] - points[[33, 263]].mean(axis=0))[:2]

    right, up = turned(straight, 20, 0, 0), turned(straight, 0, 20, 0)
    assert nose(right)[0] > nose(straight)[0] + 5
    assert expression(right).yaw > 15
    assert nose(up)[1] < nose(straight)[1] - 5
    assert expression(up).pitch > 15
    clockwise = turned(straight, 0, 0, 20)
    assert clockwise[263][1] > clockwise[33][1]  # the eye on the right of the picture sinks
    assert expression(clockwise).roll == pytest.approx(20, abs=0.1)


def test_openings_do_not_change_with_the_pose(captain: np.ndarray) -> None:
    straight, away = expression(captain), expression(turned(captain, 30, 10, 20))
    for name in ("mouth_open", "eye_open_left", "eye_open_right", "brow_raise", "mouth_width"):
        assert getattr(away, name) == pytest.approx(getattr(straight, name), abs=0.01)


def test_photographs() -> None:
    smiling, serious = (
        expression(find_faces(astronaut())[0].landmarks),
        expression(find_faces(hopper())[0].landmarks),
    )
    for shape in (smiling, serious):
        assert max(abs(shape.yaw), abs(shape.roll)) < 8
        assert abs(shape.pitch) < 12
        assert 0.2 < shape.eye_open_left < 0.5
        assert 0.2 < shape.eye_open_right < 0.5
        assert 0.15 < shape.brow_raise < 0.4
    assert serious.mouth_open < 0.05 < 0.15 < smiling.mouth_open < 0.5
    assert smiling.mouth_width > serious.mouth_width


def test_lids_and_lips(captain: np.ndarray) -> None:
    points = captain.copy()
    for upper, lower in ((386, 374), (385, 380), (387, 373)):  # the person's own left eye shuts
        points[upper] = points[lower]
    unit = np.linalg.norm(captain[263] - captain[33])
    for lower in (14, 87, 317):
        points[lower, 1] += 0.5 * unit
    shape = expression(points)
    assert shape.eye_open_left < 0.01
    assert shape.eye_open_right > 0.2
    assert shape.mouth_open == pytest.approx(1.0, abs=0.1)


def test_a_mirror_swaps_left_and_right(captain: np.ndarray) -> None:
    here = expression(find_faces(hopper())[0].landmarks)
    there = expression(find_faces(np.ascontiguousarray(hopper()[:, ::-1]))[0].landmarks)
    assert there.yaw == pytest.approx(-here.yaw, abs=2.5)
    assert there.roll == pytest.approx(-here.roll, abs=2.5)
    assert there.pitch == pytest.approx(here.pitch, abs=2.5)


def test_degenerate_landmarks_give_numbers() -> None:
    shape = expression(np.zeros((478, 3), np.float32))
    assert np.isfinite([shape.yaw, shape.pitch, shape.roll, shape.mouth_open]).all()
