"""What a network sees of a portrait: its closed mouth opened, and told how the portrait itself holds it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lia_live.avatar import Avatar
from lia_live.avatar.headroom import with_headroom
from lia_live.avatar.look import look_of
from lia_live.model import LIA, Direction, Look
from lia_live.puppet.opening import open_mouth
from tests.avatar.pictures import tiny
from tests.track.faces import astronaut, hopper


def named(scale: float = 2.5, neutral: float = 0.0) -> LIA:
    """A network whose motions have names."""
    model = LIA(tiny().config).eval()
    model.load_state_dict(tiny().state_dict())
    model.directions = (
        Direction("yaw"),
        Direction("mouth open", scale=scale, neutral=neutral),
        Direction("smile"),
        *model.directions[3:],
    )
    return model


@torch.no_grad()
def shows(look: Look, other: Look) -> bool:
    pairs = zip(look.features, other.features, strict=True)
    return torch.equal(look.latent, other.latent) and all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("scale, neutral", [(2.5, 0.0), (-2.5, 0.5), (-2.5, -0.5)])
@torch.no_grad()
def test_a_closed_mouth_is_encoded_open_and_stays_closed_at_rest(
    scale: float, neutral: float
) -> None:
    model = named(scale, neutral)
    avatar = Avatar.from_image(hopper(), model)
    assert avatar.face_landmarks is not None
    picture = with_headroom(avatar.crop, avatar.face_landmarks)
    opened, _, by = open_mouth(picture, avatar.face_landmarks, model.config.framing)
    assert not np.array_equal(opened, avatar.crop), "what people see of it stays as it is"
    assert shows(avatar.look, model.encode_portrait(opened))
    expected = model.encode_portrait(avatar.crop).motion
    read = model.encode_portrait(opened).motion
    # of the open mouth, less what it was opened by; no more open than closed
    expected[0, 1] = min(float(read[0, 1]) - by * scale, float(expected[0, 1]), neutral)
    expected[0, 2] = read[0, 2]
    assert by == pytest.approx(1.0, abs=0.1)
    assert torch.allclose(avatar.look.motion, expected, atol=1e-5)


@torch.no_grad()
def test_an_open_mouth_is_encoded_as_it_is_below_a_dome_of_hair() -> None:
    model = named()
    avatar = Avatar.from_image(astronaut(), model)
    assert avatar.face_landmarks is not None
    picture = with_headroom(avatar.crop, avatar.face_landmarks)
    assert picture is not avatar.crop
    assert shows(avatar.look, model.encode_portrait(picture))
    assert torch.equal(avatar.look.motion, model.encode_portrait(avatar.crop).motion)


@torch.no_grad()
def test_networks_without_names_and_faces_without_landmarks_get_the_portrait_itself() -> None:
    official, model = tiny(), named()
    avatar = Avatar.from_image(hopper(), official)
    assert shows(avatar.look, official.encode_portrait(avatar.crop))
    assert shows(look_of(model, avatar.crop, None), model.encode_portrait(avatar.crop))


@torch.no_grad()
def test_a_mouth_may_be_kept_as_it_is() -> None:
    model = named()
    avatar = Avatar.from_image(hopper(), model, keep_mouth=True)
    assert avatar.face_landmarks is not None
    assert shows(avatar.look, model.encode_portrait(avatar.crop))
