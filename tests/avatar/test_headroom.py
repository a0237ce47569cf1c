"""Hair that the upper edge cuts off: closed to a dome where it can be told from what is beside it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lia_live.avatar import Avatar
from lia_live.avatar.headroom import DOME, ROOM, with_headroom
from lia_live.frame import Pixels
from lia_live.model import load_model, to_pixels
from lia_live.puppet.theta import NAMES, Y
from tests.track.faces import astronaut
from tests.train.faces import SIDE as DRAWN
from tests.train.faces import drawn_portraits

SIDE = 256
GREY, BROWN = (180, 182, 185), (70, 45, 30)


@pytest.fixture
def landmarks() -> NDArray[np.float32]:
    return drawn_portraits((0.0,)).landmarks[0].numpy() * (SIDE / DRAWN)


def head(top: float, background: tuple[int, int, int] = GREY, width: float = 80.0) -> Pixels:
    """A head of hair, an ellipse whose upper end lies at row ``top``."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    inside = ((columns - 128) / width) ** 2 + ((rows - top - 130) / 130) ** 2 < 1
    noise = np.random.default_rng(1).normal(0, 4, (SIDE, SIDE, 3))
    picture = np.where(inside[..., None], BROWN, background) + noise
    return picture.round().clip(0, 255).astype(np.uint8)


def is_hair(pixels: Pixels) -> NDArray[np.bool_]:
    return np.abs(pixels.astype(float) - BROWN).sum(-1) < 120


def test_hair_that_is_cut_off_ends_below_the_edge(landmarks: NDArray[np.float32]) -> None:
    picture = head(top=-30)
    before = picture.copy()
    made = with_headroom(picture, landmarks)
    assert is_hair(picture[0]).mean() > 0.2
    assert not is_hair(made[0]).any()
    assert np.abs(made[0].astype(float) - GREY).mean() < 8, "what is beside it lies above it"
    first = is_hair(made).argmax(0)[is_hair(made).any(0)]
    middle = first[len(first) // 2]
    assert 1 <= middle <= 5
    assert (np.diff(first[len(first) // 2 :]) >= -1).all(), "a dome: lower at its sides"
    rows = round((ROOM + DOME) * SIDE) + 4
    assert np.array_equal(made[rows:], picture[rows:])
    assert np.array_equal(picture, before), "the picture handed in is not written to"


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(head(top=12), id="hair ends below the edge"),
        pytest.param(head(top=-30, background=(74, 48, 32)), id="a background like hair"),
        pytest.param(head(top=-60, width=200.0), id="nothing beside it is seen"),
    ],
)
def test_other_pictures_are_left_alone(picture: Pixels, landmarks: NDArray[np.float32]) -> None:
    assert with_headroom(picture, landmarks) is picture


def test_a_head_that_goes_down_draws_no_stalk_of_hair() -> None:
    """A real portrait, cut through its hair, by the shipped weights."""
    model = load_model("default", "cpu")
    cut = astronaut()[28:]
    rows = []
    for keep_mouth in (True, False):
        avatar = Avatar.from_image(cut, model, keep_mouth=keep_mouth)
        code = avatar.look.motion.clone()
        code[:, NAMES.index("y")] += 1.5 * model.directions[Y].scale
        row = to_pixels(model.render(avatar.look, code))[0][2].astype(float)
        rows.append(row[96:160] - row[:12].mean(0))
    stalk, none = (np.abs(row).mean(1).max() for row in rows)
    assert none < 0.5 * stalk
