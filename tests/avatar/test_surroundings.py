"""Beyond a picture's border: a blurred reflection, and the picture itself untouched."""

from __future__ import annotations

import numpy as np
import pytest

from lia_live.avatar.surroundings import continued
from lia_live.frame import Box, Pixels
from lia_live.track import crop_square

SIZE = 128


def noisy_picture(height: int = 200, width: int = 160) -> Pixels:
    coarse = np.random.default_rng(2).integers(0, 255, (height // 4, width // 4, 3))
    return coarse.repeat(4, 0).repeat(4, 1).astype(np.uint8)


def cut(picture: Pixels, box: Box) -> tuple[Pixels, Pixels]:
    """As it is cut, and with its surroundings made anew."""
    square = crop_square(picture, box, SIZE)
    return square, continued(square, box, *picture.shape[:2])


def test_a_square_inside_the_picture_is_left_alone() -> None:
    before, after = cut(noisy_picture(), Box(10, 20, 130))
    assert after is before


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        (Box(-32, 20, 128), slice(0, SIZE), slice(0, 32)),
        (Box(96, 20, 128), slice(0, SIZE), slice(64, SIZE)),
        (Box(10, -40, 128), slice(0, 40), slice(0, SIZE)),
        (Box(10, 104, 128), slice(96, SIZE), slice(0, SIZE)),
    ],
)
def test_only_what_the_picture_does_not_show_is_made_anew(
    box: Box, rows: slice, columns: slice
) -> None:
    before, after = cut(noisy_picture(), box)
    changed = np.ones((SIZE, SIZE), bool)
    changed[rows, columns] = False
    assert np.array_equal(before[changed], after[changed])
    outside = np.abs(before.astype(int) - after)[rows, columns]
    assert outside.mean() > 10


def test_stripes_are_gone_beside_and_above() -> None:
    """Repeated, a border is the same in every column; reflected it is not, and softer further out."""
    before, after = cut(noisy_picture(), Box(-48, -48, 144))
    left = slice(60, 120), slice(0, 40)

    def streaks(square: Pixels) -> float:
        return float((square[left].std(1) < 1).mean())

    assert streaks(before) > 0.9 > 0.1 > streaks(after)
    fine = np.abs(np.diff(after[60:120].astype(float), axis=0)).mean((0, 2))
    assert fine[:10].mean() < 0.3 * fine[35:42].mean() < 0.3 * fine[50:].mean()


def test_there_is_no_seam_at_the_border() -> None:
    smooth = np.linspace(40, 200, 160)[None, :, None] + np.zeros((200, 160, 3))
    _, after = cut(smooth.astype(np.uint8), Box(-32, 20, 128))
    steps = np.abs(np.diff(after.astype(int), axis=1))
    assert steps.max() <= 3


def test_no_second_neck_grows_below() -> None:
    picture = np.full((200, 160, 3), 60, np.uint8)
    picture[184:194] = 250  # a bright line above the lower border, in rows 80 to 89 of the square
    _, after = cut(picture, Box(10, 104, 128))
    assert after[82:88].min() > 240
    assert after[102:].max() < 130, "it is not seen again below"


@pytest.mark.parametrize("box", [Box(-400, 0, 128), Box(-127.9, 0, 128), Box(-50, -50, 1000)])
def test_squares_far_outside_or_around_the_picture_do_not_fail(box: Box) -> None:
    _, after = cut(noisy_picture(), box)
    assert after.shape == (SIZE, SIZE, 3)
    assert after.dtype == np.uint8
