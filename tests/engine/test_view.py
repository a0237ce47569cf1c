"""One tracker's squares, cut again for networks of other framings and sizes."""

from __future__ import annotations

import numpy as np
import pytest

from lia_live.engine.view import View, reframed
from lia_live.errors import ConfigError
from lia_live.frame import Box, Crop, Face, Frame
from lia_live.model import Framing, LIAConfig
from lia_live.track import crop_square, framed_box, full_frame_box

RNG = np.random.default_rng(1)
NEAR = Framing(eye_distance=0.45, eye_x=0.48, eye_y=0.4)
FULL = Framing(kind="full")


def config(framing: Framing | None = None, size: int = 64) -> LIAConfig:
    return LIAConfig(size=size, width=0.0625, latent_dim=32, framing=framing or Framing())


@pytest.fixture
def frame() -> Frame:
    return Frame(RNG.integers(0, 256, (720, 1280, 3), dtype=np.uint8), 3.5, 7)


def tracked(frame: Frame, box: Box, size: int = 64) -> Crop:
    face = Face(np.zeros((478, 3), np.float32), box, 1.0)
    return Crop(crop_square(frame.pixels, box, size), box, face, frame.captured_at, frame.number)


def test_the_other_framings_square_is_the_one_its_tracker_would_take() -> None:
    points = np.zeros((478, 3), np.float32)
    points[33], points[263] = (300, 200, 0), (380, 205, 10)
    for one, other in ((Framing(), NEAR), (NEAR, Framing())):
        found = reframed(framed_box(points, one), one, other)
        wanted = framed_box(points, other)
        assert (found.x, found.y, found.side) == pytest.approx((wanted.x, wanted.y, wanted.side))


def test_the_same_framing_costs_nothing(frame: Frame) -> None:
    crop = tracked(frame, Box(400, 100, 300))
    assert View(config(), config()).cut(frame, crop) is crop


def test_another_size_is_cut_from_the_frame_itself(frame: Frame) -> None:
    """Not enlarged from the small crop."""
    box = Box(400.5, 100.25, 300)
    found = View(config(size=128), config()).cut(frame, tracked(frame, box))
    assert found is not None and found.face is not None
    assert (found.box, found.captured_at, found.number) == (box, 3.5, 7)
    assert (found.pixels == crop_square(frame.pixels, box, 128)).all()


def test_another_framing(frame: Frame) -> None:
    crop = tracked(frame, Box(400, 100, 300))
    found = View(config(NEAR), config()).cut(frame, crop)
    assert found is not None
    assert found.box.side == pytest.approx(300 * 0.34 / 0.45)
    assert found.face is crop.face
    assert View(config(NEAR), config()).cut(frame, None) is None


def test_the_whole_frame_needs_no_face(frame: Frame) -> None:
    view = View(config(FULL), config())
    assert not view.needs_face
    for crop in (None, tracked(frame, Box(400, 100, 300))):
        found = view.cut(frame, crop)
        assert found is not None and found.face is None
        assert found.box == full_frame_box(720, 1280)


def test_a_face_cannot_be_had_from_a_tracker_that_looks_for_none() -> None:
    with pytest.raises(ConfigError, match="face tracker"):
        View(config(), config(FULL))
    assert not View(config(FULL), config(FULL)).needs_face
