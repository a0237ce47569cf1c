"""The composed picture: size, place, background, badge, mirror, and no waste."""

from __future__ import annotations

import time

import numpy as np
import pytest

from lia_live.engine.compositor import PLAIN_COLOUR, Compositor, letterbox
from lia_live.frame import Pixels

RNG = np.random.default_rng(0)


def face(size: int = 64) -> Pixels:
    """A picture whose left half is green and right half blue."""
    picture = np.zeros((size, size, 3), np.uint8)
    picture[:, : size // 2] = (20, 180, 40)
    picture[:, size // 2 :] = (30, 60, 200)
    return picture


@pytest.mark.parametrize("size", [(320, 180), (180, 320), (64, 64), (200, 200), (40, 30)])
def test_the_square_is_centred_and_as_large_as_fits(size: tuple[int, int]) -> None:
    width, height = size
    side = min(size)
    out = Compositor(size, badge=False).compose(face())
    assert out.shape == (height, width, 3)
    left, top = (width - side) // 2, (height - side) // 2
    inside = np.zeros((height, width), bool)
    inside[top : top + side, left : left + side] = True
    assert (out[~inside] == PLAIN_COLOUR).all()
    assert not (out[inside] == PLAIN_COLOUR).all(axis=-1).any()
    np.testing.assert_allclose(out[height // 2, left + side // 8], (20, 180, 40), atol=3)
    np.testing.assert_allclose(out[height // 2, left + side - side // 8], (30, 60, 200), atol=3)


def test_the_same_size_passes_through_unchanged() -> None:
    picture = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(Compositor((64, 64), badge=False).compose(picture), picture)


def test_the_blurred_background_is_the_avatars_and_dim() -> None:
    out = Compositor((320, 180), "blur", badge=False).compose(face(), face())
    left, right = out[:, :70].astype(float), out[:, 250:].astype(float)
    assert 0.4 < left[..., 1].mean() / 180 < 0.7
    assert right[..., 2].mean() > 2 * right[..., 1].mean()
    assert np.abs(np.diff(left, axis=1)).max() < 12  # nothing sharp


def test_the_background_is_painted_once_per_avatar() -> None:
    canvas = Compositor((320, 180), "blur", badge=False)
    mine, other = face(), face()[:, ::-1].copy()
    canvas.compose(face(), mine)
    first = canvas.compose(face(), mine)
    first[0, 0] = (1, 2, 3)
    canvas.compose(face(), mine)
    assert (canvas.compose(face(), mine)[0, 0] == (1, 2, 3)).all()
    canvas.compose(face(), other)
    assert (canvas.compose(face(), other)[0, 0] != (1, 2, 3)).any()


def test_the_badge_is_there_readable_and_not_mirrored() -> None:
    plain = Compositor((320, 180), badge=False).compose(face()).copy()
    badged = Compositor((320, 180), badge=True).compose(face()).copy()
    changed = np.abs(plain.astype(int) - badged).max(axis=-1) > 8
    rows, columns = np.nonzero(changed)
    assert changed.sum() > 300
    assert rows.min() > 180 * 0.85
    assert columns.min() >= 70
    assert columns.max() < 70 + 90
    assert badged[rows, columns].max() > 200  # the letters are light
    grey = np.full((64, 64, 3), 90, np.uint8)
    straight = Compositor((320, 180)).compose(grey).copy()
    np.testing.assert_array_equal(Compositor((320, 180)).compose(grey, mirror=True), straight)


@pytest.mark.parametrize("size", [(40, 30), (16, 16), (8, 64), (1280, 720), (1920, 1080)])
def test_the_badge_fits_every_size(size: tuple[int, int]) -> None:
    assert Compositor(size, badge=True).compose(face()).shape == (size[1], size[0], 3)


def test_mirror_flips_picture_and_background() -> None:
    out = Compositor((320, 180), "blur", badge=False).compose(face(), face(), mirror=True)
    np.testing.assert_allclose(out[90, 80], (30, 60, 200), atol=3)
    assert out[:, :60, 2].mean() > 2 * out[:, :60, 1].mean()


def test_two_pictures_in_a_row_do_not_share_a_buffer() -> None:
    canvas = Compositor((64, 64), badge=False)
    first = canvas.compose(np.full((64, 64, 3), 10, np.uint8))
    second = canvas.compose(np.full((64, 64, 3), 20, np.uint8))
    assert (first == 10).all()
    assert (second == 20).all()
    assert canvas.compose(face()) is first


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((64, 32, 3), np.uint8),
        np.zeros((64, 64), np.uint8),
        np.zeros((64, 64, 4), np.uint8),
        np.zeros((64, 64, 3), np.float32),
    ],
)
def test_what_is_not_an_avatar_picture_is_refused_and_spoils_nothing(wrong: np.ndarray) -> None:
    canvas = Compositor((320, 180))
    shown = canvas.compose(face())
    kept = shown.copy()
    for _ in range(3):
        with pytest.raises(ValueError, match="avatar picture"):
            canvas.compose(wrong)
    np.testing.assert_array_equal(shown, kept)


@pytest.mark.parametrize("shape", [(72, 96, 3), (500, 30, 3), (1, 1, 3), (720, 1280, 3)])
def test_letterbox_keeps_proportions(shape: tuple[int, int, int]) -> None:
    canvas = np.empty((90, 160, 3), np.uint8)
    letterbox(np.full(shape, 200, np.uint8), canvas)
    rows, columns = np.nonzero((canvas == 200).all(axis=-1))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert height == 90 or width == 160
    assert abs(width / height - shape[1] / shape[0]) < 0.1 * shape[1] / shape[0] + 0.2


def test_composing_720p_is_a_matter_of_milliseconds() -> None:
    canvas = Compositor((1280, 720), "blur", badge=True)
    picture = RNG.integers(0, 256, (256, 256, 3), dtype=np.uint8)
    times = []
    for _ in range(15):
        began = time.perf_counter()
        canvas.compose(picture, picture)
        times.append(time.perf_counter() - began)
    assert sorted(times)[5] < 0.012  # 1 to 2 ms on an idle core
