"""Pictures to avatars: which face, cut how, encoded once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lia_live.avatar import ANSWERS, SENTENCES, Avatar
from lia_live.errors import AvatarError, ConfigError, MediaError
from lia_live.track import find_faces, framed_box
from tests.avatar.pictures import portrait, tiny, write
from tests.track.faces import ASTRONAUT_FACE, HOPPER_FACE, astronaut, hopper, paste, room


def test_an_avatar_is_a_framed_face_encoded_once() -> None:
    model = tiny()
    avatar = Avatar.from_image(hopper(), model, name="Grace")
    assert avatar.name == "Grace"
    assert avatar.crop.shape == (64, 64, 3)
    assert avatar.thumbnail.shape == (128, 128, 3)
    assert avatar.fingerprint == model.fingerprint
    assert avatar.consent is None
    assert avatar.notes == ()
    with torch.no_grad():
        look = model.encode_portrait(avatar.crop)
    assert torch.equal(avatar.look.latent, look.latent)
    assert torch.equal(avatar.look.motion, look.motion)
    assert len(avatar.look.features) == len(look.features) == 4
    for kept, fresh in zip(avatar.look.features, look.features, strict=True):
        assert torch.equal(kept, fresh)
        assert kept.dtype == torch.float32
        assert not kept.requires_grad


def test_the_eyes_lie_where_the_framing_says() -> None:
    model = tiny()
    framing = model.config.framing
    avatar = Avatar.from_image(hopper(), model)
    assert avatar.face_landmarks is not None
    corners = avatar.face_landmarks[[33, 263]]
    assert corners[:, :2].mean(axis=0) / 64 == pytest.approx(
        (framing.eye_x, framing.eye_y), abs=0.01
    )
    assert np.linalg.norm(corners[1] - corners[0]) / 64 == pytest.approx(
        framing.eye_distance, abs=0.01
    )
    # And the face that a tracker sees in the crop lies there too.
    large = Avatar.from_image(hopper(), tiny(size=256))
    (seen,) = find_faces(large.crop)
    assert large.face_landmarks is not None
    assert np.abs(seen.landmarks - large.face_landmarks)[:468, :2].mean() < 3
    assert seen.box.side == pytest.approx(256 * 0.34 / 0.34 * 0.58, rel=0.2)


def test_files_and_their_names(tmp_path: Path) -> None:
    path = write(tmp_path / "Grace\tHopper .portrait.png", portrait(), "PNG")
    assert Avatar.from_image(path, tiny()).name == "Grace Hopper .portrait"
    assert Avatar.from_image(str(path), tiny(), name="x" * 500).name == "x" * 120


def crowd() -> np.ndarray:
    frame = paste(room(1200, 700), 300, 300, 130)
    return paste(frame, 850, 350, 230, hopper(), HOPPER_FACE)


def test_of_two_faces_the_largest_with_a_note() -> None:
    avatar = Avatar.from_image(crowd(), tiny())
    (note,) = avatar.notes
    assert "2 faces" in note and "--face 2" in note
    same = Avatar.from_image(crowd(), tiny(), face=1)
    assert same.notes == ()
    assert (same.crop == avatar.crop).all()
    other = Avatar.from_image(crowd(), tiny(), face=2)
    assert np.abs(other.crop.astype(int) - avatar.crop).mean() > 10


@pytest.mark.parametrize("face", [0, 3, -1])
def test_a_face_that_is_not_there(face: int) -> None:
    with pytest.raises(AvatarError, match=f"no face {face}: 2 faces were found") as caught:
        Avatar.from_image(crowd(), tiny(), face=face)
    assert "1 to 2" in caught.value.hint


def test_no_face(tmp_path: Path) -> None:
    path = write(tmp_path / "room.png", Image.fromarray(room(400, 300)), "PNG")
    with pytest.raises(AvatarError, match=r"room\.png: no face found"):
        Avatar.from_image(path, tiny())


def test_a_face_too_small() -> None:
    with pytest.raises(AvatarError, match=r"too small: [45][0-9] pixels"):
        Avatar.from_image(paste(room(800, 600), 400, 300, 50), tiny())


def test_few_pixels_are_remarked() -> None:
    (note,) = Avatar.from_image(paste(room(800, 600), 400, 300, 90), tiny(size=256)).notes
    assert "blur" in note


def test_a_cut_off_head_is_remarked() -> None:
    x, y, side = (int(value) for value in ASTRONAUT_FACE)
    reach = int(0.55 * side)
    notes = Avatar.from_image(
        astronaut()[y - reach : y + reach, x - reach : x + reach], tiny()
    ).notes
    assert any("cut off" in note for note in notes)


def test_the_full_frame_needs_no_face() -> None:
    model = tiny(kind="full")
    avatar = Avatar.from_image(room(640, 480), model)
    assert avatar.face_landmarks is None
    assert avatar.crop.shape == (64, 64, 3)
    centre = room(640, 480)[:, 80:560].mean(axis=(0, 1))
    assert avatar.crop.mean(axis=(0, 1)) == pytest.approx(centre, abs=1)


def test_the_notes_of_the_file_come_along(tmp_path: Path) -> None:
    path = write(
        tmp_path / "me.gif", portrait(), "GIF", save_all=True, append_images=[portrait().rotate(9)]
    )
    assert any("animation" in note for note in Avatar.from_image(path, tiny()).notes)


def test_no_picture_is_a_media_error(tmp_path: Path) -> None:
    with pytest.raises(MediaError):
        Avatar.from_image(tmp_path, tiny())


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_arrays_that_are_no_picture(pixels: np.ndarray) -> None:
    with pytest.raises(AvatarError, match="uint8 RGB"):
        Avatar.from_image(pixels, tiny())


def test_consent() -> None:
    avatar = Avatar.from_image(hopper(), tiny())
    for answer in ANSWERS:
        given = avatar.with_consent(answer)
        assert given.consent == answer
        assert given.look is avatar.look
        assert SENTENCES[answer].endswith(".")
    assert avatar.consent is None
    with pytest.raises(ConfigError, match="me, permission, not-a-person"):
        avatar.with_consent("sure")


def test_the_square_is_the_trackers() -> None:
    (face,) = find_faces(hopper())
    box = framed_box(face.landmarks, tiny().config.framing)
    avatar = Avatar.from_image(hopper(), tiny())
    x, y = (int(value) for value in box.centre)
    assert (
        np.abs(
            avatar.crop[32, 32].astype(int)
            - hopper()[y - 3 : y + 4, x - 3 : x + 4].mean(axis=(0, 1))
        ).max()
        < 40
    )
