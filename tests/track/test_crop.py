"""The square and its cutting, against exact area means worked out in float."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lia_live.frame import Box
from lia_live.model.config import Framing
from lia_live.track import crop_square, framed_box, full_frame_box, tight_box
from tests.track.faces import astronaut

PADDING = 400


def area_mean(pixels: np.ndarray, box: Box, size: int) -> np.ndarray:
    """The mean of the picture (its border repeated) over each new pixel, to rounding error."""
    scale = box.side / size

    def weights(start: float, length: int) -> np.ndarray:
        matrix = np.zeros((size, length + 2 * PADDING))
        for row in range(size):
            low, high = (
                start + row * scale + PADDING,
                start + (row + 1) * scale + PADDING,
            )
            for column in range(int(np.floor(low)), int(np.ceil(high))):
                matrix[row, column] = min(high, column + 1) - max(low, column)
        return matrix / scale

    wide = np.pad(pixels, ((PADDING, PADDING), (PADDING, PADDING), (0, 0)), mode="edge")
    rows, columns = weights(box.y, pixels.shape[0]), weights(box.x, pixels.shape[1])
    half = np.einsum("ik,kjc->ijc", rows, wide.astype(float))
    return np.einsum("jk,ikc->ijc", columns, half)


@pytest.mark.parametrize(
    ("box", "size", "tolerance"),
    [
        (Box(100, 20, 256), 256, 0.0),  # cut only
        (Box(100, 20, 256), 64, 0.6),  # two exact halvings
        (Box(-96, -96, 512), 64, 0.8),  # halvings, over the border
        (Box(50.2, 30.1, 300), 128, 2.5),
        (Box(50.2, 30.1, 380.5), 64, 3.5),
        (Box(-30.2, -20.1, 500), 128, 2.5),
        (Box(300.5, 310.5, 330), 64, 3.5),
    ],
)
def test_shrinking_is_the_mean_over_the_area(box: Box, size: int, tolerance: float) -> None:
    exact = area_mean(astronaut(), box, size)
    cut = crop_square(astronaut(), box, size)
    scale = box.side / size
    edges = [start + np.arange(size) * scale for start in (box.y, box.x)]
    # Outside, what is repeated is the border as reduced, not its outermost pixels.
    inner = np.ix_(*((edge >= 0) & (edge + scale <= 512) for edge in edges))
    error = np.abs(cut - exact)[inner].mean()
    assert error <= tolerance
    if scale > 2 and not float(box.x).is_integer():
        shift = [[scale, 0, box.x + scale / 2 - 0.5], [0, scale, box.y + scale / 2 - 0.5]]
        naive = cv2.warpAffine(
            astronaut(),
            np.array(shift),
            (size, size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        assert error < 0.8 * np.abs(naive - exact)[inner].mean()


@pytest.mark.parametrize("side", [40.0, 64.0, 100.0, 200.0, 333.3])
def test_a_tenth_of_a_pixel_moves_the_picture_by_a_tenth(side: float) -> None:
    row = np.arange(0, 255, 3, dtype=np.uint8)  # 3 levels a pixel
    ramp = np.ascontiguousarray(np.broadcast_to(row[None, :, None], (90, 85, 3)))
    step = max(0.1 * side / 64, 0.1)
    starts = np.arange(-20.0, -15.0, step)
    levels = [
        crop_square(ramp, Box(start, 10.0, side), 64)[:, min(40 * 64 // int(side), 60)].mean()
        for start in starts
    ]
    slope = np.polyfit(starts, levels, 1)[0]
    assert slope == pytest.approx(3, rel=0.05)
    assert np.abs(np.array(levels) - np.poly1d(np.polyfit(starts, levels, 1))(starts)).max() < 0.75


@pytest.mark.parametrize(
    "box",
    [
        Box(1e6, 5, 50),
        Box(-1e6, 5, 50),
        Box(5, -1e6, 3000),
        Box(-1e5, -1e5, 2e5),
        Box(-0.5, -0.5, 1),
        Box(3.3, 4.4, 0.01),
    ],
)
@pytest.mark.parametrize("shape", [(1, 1), (1, 87), (5, 3), (30, 4000)])
def test_any_box_of_any_picture_gives_a_square(box: Box, shape: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), 77, np.uint8)
    cut = crop_square(pixels, box, 32)
    assert cut.shape == (32, 32, 3)
    assert cut.dtype == np.uint8
    assert (cut == 77).all()


@pytest.mark.parametrize("box", [Box(0, 0, 0), Box(0, 0, -1), Box(float("nan"), 0, 5)])
def test_a_box_without_a_side_is_refused(box: Box) -> None:
    with pytest.raises(ValueError, match="finite box"):
        crop_square(astronaut(), box, 32)


def test_the_picture_is_left_alone_and_the_crop_is_its_own() -> None:
    pixels = astronaut().copy()
    before = pixels.copy()
    cut = crop_square(pixels, Box(10, 10, 64), 64)
    cut[:] = 0
    assert (pixels == before).all()


def head(yaw_deg: float = 0.0) -> np.ndarray:
    """Eye corners 100 px apart around (300, 200), turned about the vertical axis."""
    points = np.zeros((478, 3), np.float32)
    turn = np.radians(yaw_deg)
    across = 50 * np.array([np.cos(turn), 0, np.sin(turn)])
    points[:] = (300, 200, 0)
    points[33] -= across
    points[263] += across
    return points


def test_the_framed_box_puts_the_eyes_where_the_framing_says() -> None:
    framing = Framing(eye_distance=0.25, eye_x=0.5, eye_y=0.4)
    box = framed_box(head(), framing)
    assert box.side == pytest.approx(400)
    assert (box.x, box.y) == pytest.approx((300 - 200, 200 - 160))


def test_turning_the_head_does_not_shrink_the_box() -> None:
    assert framed_box(head(40), Framing()).side == pytest.approx(framed_box(head(), Framing()).side)


def test_tight_and_full_boxes() -> None:
    assert tight_box(head()).side == pytest.approx(100)
    assert full_frame_box(720, 1280) == Box(280, 0, 720)
