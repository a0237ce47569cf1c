"""The weights that ship: small enough, and they move the shipped portrait's head and mouth as they are told."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import skimage.data

import lia_live
from lia_live.avatar.mouths import Mouths
from lia_live.cli.assets import DEMO_AVATAR
from lia_live.evaluate.transfer import posed
from lia_live.frame import Pixels
from lia_live.track import FaceShape, expression, find_faces
from lia_live.train.growth import TEETH, TONGUE, paints
from lia_live.train.presets import GAINS
from lia_live.train.teacher import gains_of
from tests.track.faces import hopper

WEIGHTS = Path(lia_live.__file__).parent / "weights"


@pytest.fixture(scope="module")
def model() -> lia_live.LIA:
    return lia_live.load_model("default", device="cpu")


@pytest.fixture(scope="module")
def avatar(model: lia_live.LIA) -> lia_live.Avatar:
    return lia_live.Avatar.from_image(DEMO_AVATAR, model)


def test_the_presets_know_how_far_they_were_turned_up(model: lia_live.LIA) -> None:
    told = GAINS.by_label()
    for direction, gain in zip(model.directions, gains_of(model).tolist(), strict=True):
        assert gain == pytest.approx(told.get(direction.name, 1.0)), direction.name


def test_training_that_goes_on_keeps_what_they_paint(model: lia_live.LIA) -> None:
    assert paints(model, TEETH)
    assert paints(model, TONGUE)


def test_the_card_has_no_gaps() -> None:
    card = (WEIGHTS / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert not re.search(r"@[A-Z]", card)


def shown(model: lia_live.LIA, avatar: lia_live.Avatar, **moved: float) -> Pixels:
    """The avatar with some named directions moved from its rest, each by so much of its range."""
    code = avatar.look.motion[0].numpy().copy()
    for index, direction in enumerate(model.directions):
        share = moved.get(direction.name.replace(" ", "_"), 0.0)
        code[index] += share * (direction.high if share > 0 else -direction.low)
    return posed(model, Mouths(avatar.look, avatar.mouths, model.directions), code[None])[0]


def shape(picture: Pixels) -> FaceShape:
    """Read off the picture by a program that knows nothing of the network."""
    (face,) = find_faces(picture, max_faces=1)
    return expression(face.landmarks)


def test_they_may_and_can_ship() -> None:
    assert (WEIGHTS / "default.safetensors").stat().st_size <= 30e6
    assert (WEIGHTS / "MODEL_CARD.md").is_file()


def test_at_rest_it_is_the_portrait(model: lia_live.LIA, avatar: lia_live.Avatar) -> None:
    off = np.abs(shown(model, avatar).astype(float) - avatar.crop).mean()
    assert off < 6, "grey levels"


def test_the_head_turns(model: lia_live.LIA, avatar: lia_live.Avatar) -> None:
    one, other = (shape(shown(model, avatar, yaw=share)) for share in (-0.5, 0.5))
    assert abs(other.yaw - one.yaw) > 8, "degrees"


def test_the_mouth_opens(model: lia_live.LIA, avatar: lia_live.Avatar) -> None:
    still, open_ = (shape(shown(model, avatar, mouth_open=share)) for share in (0.0, 0.3))
    assert open_.mouth_open > still.mouth_open + 0.18


def test_a_closed_mouth_rests_as_it_is(model: lia_live.LIA) -> None:
    closed = lia_live.Avatar.from_image(hopper(), model)
    lips = (slice(172, 200), slice(96, 160))
    off = np.abs(shown(model, closed)[lips].astype(float) - closed.crop[lips]).mean()
    assert off < 6, "grey levels"


def test_a_mouth_that_shows_its_teeth_closes(model: lia_live.LIA) -> None:
    laughing = lia_live.Avatar.from_image(skimage.data.astronaut(), model)
    assert laughing.face_landmarks is not None
    place = [direction.name for direction in model.directions].index("mouth open")
    code = laughing.look.motion[0].numpy().copy()
    code[place] += laughing.mouths[0].by * model.directions[place].scale
    mouths = Mouths(laughing.look, laughing.mouths, model.directions)
    shut = posed(model, mouths, code[None])[0]
    assert shape(shut).mouth_open < 0.3 * shape(laughing.crop).mouth_open
    upper, lower = laughing.face_landmarks[[13, 14], :2].round().astype(int)
    teeth = (slice(upper[1] + 1, lower[1]), slice(upper[0] - 8, upper[0] + 9))
    assert shut[teeth].mean() < 0.9 * laughing.crop[teeth].mean(), "lips"


def test_teeth_are_single_ones(model: lia_live.LIA) -> None:
    """Of a portrait that shows none: bright, of no colour, and with edges."""
    open_ = shown(model, lia_live.Avatar.from_image(hopper(), model), mouth_open=0.3)
    landmarks = find_faces(open_, max_faces=1)[0].landmarks
    lip = landmarks[13, :2].round().astype(int)
    width = round((landmarks[308, 0] - landmarks[78, 0]) / 4)
    teeth = open_[lip[1] + 2 : lip[1] + 6, lip[0] - width : lip[0] + width].astype(float)
    assert teeth.mean() > 110
    assert np.ptp(teeth.mean((0, 1))) < 50
    across = teeth.mean((0, 2))
    assert np.abs(np.diff(across)).mean() > 2


def test_the_eyes_close(model: lia_live.LIA, avatar: lia_live.Avatar) -> None:
    open_, shut = (
        shape(shown(model, avatar, blink_left=share, blink_right=share)) for share in (0.0, 1.0)
    )
    assert shut.eye_open_left < 0.75 * open_.eye_open_left
    assert shut.eye_open_right < 0.75 * open_.eye_open_right


def test_it_is_as_sharp_as_the_portrait(model: lia_live.LIA, avatar: lia_live.Avatar) -> None:
    def edges(picture: Pixels) -> float:
        return float(np.abs(np.diff(picture[40:216, 40:216].astype(float), axis=1)).mean())

    assert edges(shown(model, avatar)) > 0.85 * edges(avatar.crop)
