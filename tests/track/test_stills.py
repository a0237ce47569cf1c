"""Faces in still pictures: sizes, several, none."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest
import skimage.data

from lia_live.frame import Face
from lia_live.model.config import Framing, LIAConfig
from lia_live.track import face_box, find_faces, framed_box
from lia_live.track.detect import MeshModel, _coordinates
from tests.track.faces import ASTRONAUT_FACE, HOPPER_FACE, astronaut, hopper, paste, room


def assert_face(face: Face, x: float, y: float, side: float) -> None:
    assert face.landmarks.shape == (478, 3)
    assert face.landmarks.dtype == np.float32
    assert face.box.side == pytest.approx(side, rel=0.15)
    assert face.box.centre == pytest.approx((x, y), abs=0.1 * side)
    assert 0.3 < face.score <= 1


@pytest.mark.parametrize("share", [0.02, 0.08, 0.3])
def test_faces_of_a_12_megapixel_photo(share: float) -> None:
    photo = paste(room(4000, 3000), 1300, 1200, share * 4000)
    (face,) = find_faces(photo)
    assert_face(face, 1300, 1200, share * 4000)


def test_a_face_that_fills_the_picture() -> None:
    x, y, side = ASTRONAUT_FACE
    reach = int(0.4 * side)
    close = astronaut()[int(y) - reach : int(y) + reach, int(x) - reach : int(x) + reach]
    (face,) = find_faces(cv2.resize(close, (800, 800), interpolation=cv2.INTER_CUBIC))
    assert face.box.side == pytest.approx(1000, rel=0.15)


def test_two_faces_come_largest_first() -> None:
    frame = paste(room(1200, 700), 300, 300, 120)
    frame = paste(frame, 850, 350, 230, hopper(), HOPPER_FACE)
    large, small = find_faces(frame)
    assert_face(large, 850, 350, 230)
    assert_face(small, 300, 300, 120)
    assert len(find_faces(frame, max_faces=1)) == 1


@pytest.mark.parametrize(
    "pixels",
    [
        skimage.data.coffee(),
        skimage.data.chelsea(),  # a cat
        np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8),
        np.zeros((3, 5, 3), np.uint8),
        np.zeros((20, 4000, 3), np.uint8),
    ],
    ids=["coffee", "cat", "noise", "tiny", "thin"],
)
def test_no_face_is_an_empty_list(pixels: np.ndarray) -> None:
    assert find_faces(pixels) == []


def test_threads_may_ask_at_once() -> None:
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(len(find_faces(hopper())))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1, 1, 1]


class Sized:
    """As much of a model as ``face_box`` asks for."""

    def __init__(self, framing: Framing) -> None:
        self.config = LIAConfig(framing=framing)


def test_face_box() -> None:
    framing = Framing(eye_distance=0.3)
    (face,) = find_faces(hopper())
    assert face_box(hopper(), Sized(framing)) == framed_box(face.landmarks, framing)
    nobody = room(640, 480)
    assert face_box(nobody, Sized(framing)) is None
    full = face_box(nobody, Sized(Framing(kind="full")))
    assert full is not None
    assert (full.x, full.y, full.side) == (80, 0, 480)


def test_landmarks_read_off_the_wire_are_the_landmarks() -> None:
    mesh = MeshModel(still=True)
    head = np.ascontiguousarray(hopper()[30:430, 60:460])
    (one,) = mesh._solution.process(head).multi_face_landmarks
    slow = np.array([[p.x, p.y, p.z] for p in one.landmark], np.float32)
    assert (_coordinates(one) == slow).all()
    del one.landmark[470:]  # another length: the slow way
    assert len(_coordinates(one)) == 470
    mesh.close()
    mesh.close()
