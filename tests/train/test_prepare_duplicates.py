"""The same picture in another dress is found; another picture is not taken for it."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from lia_live.train.prepare_duplicates import CLIP_BITS, PICTURE_BITS, Seen, key_of
from tests.train import moving


def recoded(pixels: np.ndarray, side: int, quality: int) -> np.ndarray:
    data = io.BytesIO()
    Image.fromarray(pixels).resize((side, side)).save(data, "JPEG", quality=quality)
    return np.asarray(Image.open(data))


def test_the_same_reduced_and_re_encoded() -> None:
    face = moving.astronaut()
    seen = Seen(PICTURE_BITS)
    seen.add("astronaut", key_of([face]))
    assert seen.find(key_of([face])) == "astronaut"
    assert seen.find(key_of([recoded(face, 200, 60)])) == "astronaut"
    brighter = np.clip(face.astype(float) * 1.15 + 8, 0, 255).astype(np.uint8)
    assert seen.find(key_of([brighter])) == "astronaut"


def test_other_pictures_are_others() -> None:
    face = moving.astronaut()
    seen = Seen(PICTURE_BITS)
    assert seen.find(key_of([face])) is None
    seen.add("astronaut", key_of([face]))
    assert seen.find(key_of([moving.hopper()])) is None
    assert seen.find(key_of([np.ascontiguousarray(face[:, ::-1])])) is None, (
        "a mirrored face is new"
    )


def test_clips_agree_in_all_frames_and_in_length() -> None:
    frames = moving.swaying(moving.astronaut(), 24)[::5]
    seen = Seen(CLIP_BITS)
    seen.add("one", key_of(frames), 24)
    again = [recoded(frame, 240, 80) for frame in frames]
    assert seen.find(key_of(again), 25) == "one"
    assert seen.find(key_of(again), 40) is None
    assert seen.find(key_of([*again[:4], again[0]]), 24) is None


def test_many_are_kept_apart() -> None:
    """More than the store has room for at first."""
    generator = np.random.default_rng(0)
    keys = [generator.integers(0, 256, (1, 64), np.uint8) for _ in range(300)]
    seen = Seen(PICTURE_BITS)
    for number, key in enumerate(keys):
        assert seen.find(key) is None
        seen.add(str(number), key)
    assert [seen.find(key) for key in keys] == [str(number) for number in range(300)]
