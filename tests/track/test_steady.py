"""The steady square, on faces made of numbers: locked, still, following only as far as needed."""

from __future__ import annotations

import numpy as np
import pytest

from lia_live.errors import ConfigError
from lia_live.frame import Box
from lia_live.track import SteadyConfig
from lia_live.track.steady import SteadySquare

FPS = 30
SIDE = 300.0


class Head:
    """A face's square that trembles as the mesh's does, moved by the test; time goes on by frames."""

    def __init__(self) -> None:
        self.square = SteadySquare(SteadyConfig())
        self.x, self.y, self.side = 600.0, 350.0, SIDE
        self.now = 0.0
        self._noise = np.random.default_rng(0)

    def frames(self, count: int) -> np.ndarray:
        """(count, 3): x, y, side of what is cut."""
        boxes = []
        for _ in range(count):
            x, y, side = self._noise.normal((self.x, self.y, self.side), (1.0, 1.0, 2.0))
            box = self.square.update(Box.around(x, y, side), self.now)
            boxes.append((*box.centre, box.side))
            self.now += 1 / FPS
        return np.array(boxes)


@pytest.fixture
def seated() -> Head:
    """A head that has been calibrated and has come to rest."""
    head = Head()
    head.frames(4 * FPS)
    assert head.square.locked
    return head


def test_a_steady_face_locks_after_a_second() -> None:
    head = Head()
    head.frames(FPS - 1)
    assert not head.square.locked
    head.frames(4)
    assert head.square.locked


def test_before_the_lock_the_square_follows_without_trembling() -> None:
    boxes = Head().frames(FPS - 1)
    assert np.abs(boxes[10:] - [600, 350, SIDE]).max() < 3
    assert np.abs(np.diff(boxes[10:], axis=0)).max() < 1


def test_after_the_lock_it_does_not_move_at_all(seated: Head) -> None:
    boxes = seated.frames(3 * FPS)
    assert (boxes == boxes[0]).all()
    assert boxes[0] == pytest.approx([600, 350, SIDE], abs=1.5)


def test_movement_within_the_dead_zone_stays_in_the_crop(seated: Head) -> None:
    rest = seated.frames(1)[0]
    for away in (0.1, -0.1):
        seated.x, seated.y = 600 + away * SIDE, 350 - away * SIDE
        assert (seated.frames(2 * FPS) == rest).all()


def test_a_face_that_moves_away_is_followed_slowly_and_only_as_far_as_needed(seated: Head) -> None:
    rest = seated.frames(1)[0]
    seated.x += 0.2 * SIDE
    boxes = seated.frames(6 * FPS)
    steps = np.abs(np.diff(boxes[:, 0]))
    assert steps.max() < 0.01 * SIDE
    assert boxes[-1, 0] - rest[0] == pytest.approx(0.08 * SIDE, abs=3)  # 0.2 less the dead zone
    assert boxes[-1, 1] == rest[1]
    assert boxes[-1, 2] == rest[2]


def test_nobody_is_cut_off(seated: Head) -> None:
    for _ in range(30):
        seated.x += 0.05 * SIDE  # a side and a half in a second
        (box,) = seated.frames(1)
        assert abs(seated.x - box[0]) < 0.25 * SIDE + 5


def test_leaning_in_does_not_change_the_size_until_it_is_far(seated: Head) -> None:
    seated.side = 1.25 * SIDE
    rest = seated.frames(1)[0]
    assert (seated.frames(2 * FPS)[:, 2] == rest[2]).all()
    seated.side = 1.6 * SIDE
    sizes = seated.frames(8 * FPS)[:, 2]
    assert np.abs(np.diff(sizes)).max() < 0.01 * SIDE
    assert sizes[-1] == pytest.approx(SIDE * 1.6 / 1.35, rel=0.02)


def test_a_face_that_never_rests_is_locked_after_the_limit() -> None:
    head = Head()
    for step in range(int(2.9 * FPS)):
        head.x = 600 + 120 * np.sin(step / 5)
        head.frames(1)
    assert not head.square.locked
    for step in range(int(2.9 * FPS), int(3.3 * FPS)):
        head.x = 600 + 120 * np.sin(step / 5)
        head.frames(1)
    assert head.square.locked


def test_a_pause_keeps_the_lock_and_restarts_an_unfinished_calibration(seated: Head) -> None:
    rest = seated.frames(1)[0]
    seated.now += 30
    assert (seated.frames(5) == rest).all()
    fresh = Head()
    fresh.frames(20)
    fresh.now += 5
    fresh.frames(20)
    assert not fresh.square.locked


def test_a_clock_that_goes_back_does_no_harm(seated: Head) -> None:
    rest = seated.frames(1)[0]
    seated.now -= 100
    assert (seated.frames(FPS) == rest).all()


def test_another_seat_is_noticed(seated: Head) -> None:
    assert not seated.square.outside(Box.around(600 + 0.3 * SIDE, 350, SIDE))
    assert seated.square.outside(Box.around(600 + 0.8 * SIDE, 350, SIDE))
    assert seated.square.outside(Box.around(600, 350, 2 * SIDE))
    seated.square.reset()
    assert not seated.square.locked


@pytest.mark.parametrize(
    "wrong",
    [
        {"calibrate_s": 0.0},
        {"calibrate_limit_s": 0.5},
        {"steady": 0.0},
        {"dead_zone": -0.1},
        {"border_zone": 0.05},
        {"size_band": 1.0},
        {"follow_s": 0.0},
    ],
)
def test_ranges(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SteadyConfig(**wrong)
