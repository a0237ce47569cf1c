"""What a network sees of a portrait: itself, and with its lips apart in other ways; and which is shown when."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lia_live.avatar import Avatar
from lia_live.avatar.headroom import with_headroom
from lia_live.avatar.look import looks_of
from lia_live.avatar.mouths import HELD, Mouth, Mouths
from lia_live.frame import Pixels
from lia_live.model import LIA, Direction, Look, load_model, to_pixels
from lia_live.puppet.lips import GAPS, SWITCH, moved_apart
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


@torch.no_grad()
def test_a_portrait_is_encoded_as_it_is_below_a_dome_of_hair() -> None:
    model = named()
    for picture in (hopper(), astronaut()):
        avatar = Avatar.from_image(picture, model)
        assert avatar.face_landmarks is not None
        shown = with_headroom(avatar.crop, avatar.face_landmarks)
        assert shows(avatar.look, model.encode_portrait(shown))
        assert torch.equal(avatar.look.motion, model.encode_portrait(avatar.crop).motion)


@pytest.mark.parametrize("scale", [2.5, -2.5])
@torch.no_grad()
def test_its_mouth_has_other_looks_that_are_told_what_moves_them_back(scale: float) -> None:
    model = named(scale)
    avatar = Avatar.from_image(hopper(), model)
    assert avatar.face_landmarks is not None
    picture = with_headroom(avatar.crop, avatar.face_landmarks)
    lips = moved_apart(picture, avatar.face_landmarks, model.config.framing)
    assert [mouth.by for mouth in avatar.mouths] == [one.by for one in lips if one.by]
    assert len(avatar.mouths) == len(GAPS) - 1
    for mouth, one in zip(avatar.mouths, lips[1:], strict=True):
        seen = model.encode_portrait(one.picture)
        halves = tuple(level.half() for level in seen.features)
        assert shows(mouth.look, replace(seen, features=halves))
        read = model.encode_portrait(one.picture).motion
        expected = avatar.look.motion.clone()
        expected[0, 1] = read[0, 1] - one.by * scale  # of its own mouth, less what moved it
        expected[0, 2] = read[0, 2]
        expected[0, 0] = mouth.look.motion[0, 0]  # the pose: below
        assert torch.allclose(mouth.look.motion, expected, atol=1e-5)


def test_heads_do_not_move_when_looks_take_turns() -> None:
    """By the shipped weights: told its pose as it was read, the widest would nod."""
    model = load_model("default", "cpu")
    avatar = Avatar.from_image(hopper(), model)
    looks = Mouths(avatar.look, avatar.mouths, model.directions)
    wide = avatar.mouths[-1]
    with torch.no_grad():
        nodding = replace(
            wide.look,
            motion=torch.cat([avatar.look.motion[:, :6], wide.look.motion[:, 6:]], 1),
        )
    unaligned = Mouths(
        avatar.look, (*avatar.mouths[:-1], Mouth(wide.by, nodding)), model.directions
    )
    before = avatar.mouths[-2].by
    code = avatar.look.motion[0].numpy().copy()
    code[6] += (before + SWITCH * (wide.by - before)) * model.directions[6].scale

    def eyes(mouths: Mouths, number: int) -> Pixels:
        with torch.no_grad():
            told = torch.tensor(mouths.told(code, number))[None]
            return to_pixels(model.render(mouths.look(number), told))[0][60:140].astype(float)

    there = eyes(looks, 3)
    moved, jumped = (np.abs(eyes(one, 4) - there).mean() for one in (looks, unaligned))
    assert moved < 3
    assert moved < 0.8 * jumped


@torch.no_grad()
def test_networks_without_names_and_faces_without_landmarks_get_the_portrait_itself() -> None:
    official, model = tiny(), named()
    avatar = Avatar.from_image(hopper(), official)
    assert shows(avatar.look, official.encode_portrait(avatar.crop))
    assert avatar.mouths == ()
    look, mouths = looks_of(model, avatar.crop, None)
    assert shows(look, model.encode_portrait(avatar.crop))
    assert mouths == ()


@torch.no_grad()
def test_a_mouth_may_be_kept_as_it_is() -> None:
    model = named()
    avatar = Avatar.from_image(hopper(), model, keep_mouth=True)
    assert avatar.face_landmarks is not None
    assert shows(avatar.look, model.encode_portrait(avatar.crop))
    assert avatar.mouths == ()


@torch.no_grad()
def test_networks_that_open_no_mouth_have_one_look() -> None:
    model = named()
    model.directions = (Direction("yaw"), *model.directions[1:][::-1][:-2], *tiny().directions[:2])
    avatar = Avatar.from_image(hopper(), model)
    assert avatar.mouths == ()
    assert model.names_motions


def three(scale: float) -> Mouths:
    """Of portraits whose own lips are apart by 0, in looks that are -1, 0 and 2 further apart."""

    def look(rest: float) -> Look:
        return Look(torch.zeros(1, 4), torch.tensor([[rest, 0.0]]), ())

    directions = (Direction("mouth open", scale=scale), Direction("yaw"))
    return Mouths(look(5.0), [Mouth(2.0, look(-1.0)), Mouth(-1.0, look(6.0))], directions)


@pytest.mark.parametrize("scale", [2.0, -2.0])
def test_the_nearest_look_shows_a_motion(scale: float) -> None:
    mouths = three(scale)
    assert mouths.own == 1
    for by, number in ((-3.0, 0), (-0.7, 0), (-0.6, 1), (0.0, 1), (0.65, 1), (0.75, 2), (9.0, 2)):
        assert mouths.showing(np.array([5 + by * scale, 0.0], np.float32)) == number, by


def test_each_look_is_told_a_motion_in_its_own_terms() -> None:
    mouths = three(2.0)
    code = np.array([6.5, 3.0], np.float32)
    told = [mouths.told(code, number).tolist() for number in range(3)]
    assert told == [[7.5, 3.0], [6.5, 3.0], [0.5, 3.0]]


def test_a_look_is_held_while_lips_tremble_at_its_end() -> None:
    mouths = three(1.0)
    end = 5 + SWITCH * 2
    beyond, below = (np.array([end + 0.9 * sign * HELD, 0.0], np.float32) for sign in (1, -1))
    assert mouths.showing(beyond, 1) == 1
    assert mouths.showing(below, 2) == 2
    assert mouths.showing(beyond, None) == 2
    far = np.array([end + 1.1 * HELD, 0.0], np.float32)
    assert mouths.showing(far, 1) == 2
    assert mouths.showing(far, 0) == 2, "over more than one at once"
