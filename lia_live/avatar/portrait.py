"""From a picture to the square that a model sees: which face, how large, cut how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from lia_live.avatar.surroundings import continued
from lia_live.errors import AvatarError
from lia_live.frame import Box, Face, Pixels
from lia_live.model.config import LIAConfig
from lia_live.track import crop_square, find_faces, framed_box, full_frame_box

THUMBNAIL: Final = 128
"""Side of a thumbnail, pixels."""
SMALLEST_FACE: Final = 64.0
"""A face of fewer pixels is refused: there is nothing in it to animate."""
_MISSING_SHARE: Final = 0.2
"""A square of which more than this lies outside the picture is worth a remark."""
_SUPERSAMPLING: Final = 4


@dataclass(frozen=True)
class Portrait:
    """What an avatar is built from."""

    crop: Pixels
    """(S, S, 3) uint8 RGB in the model's framing."""
    thumbnail: Pixels
    """(128, 128, 3) uint8 RGB: the same square."""
    landmarks: NDArray[np.float32] | None
    """(478, 3) in pixels of ``crop``; None where the framing needs no face."""
    notes: tuple[str, ...]
    """One-line remarks for the person: several faces, few pixels, head cut off."""


def portrait(pixels: Pixels, config: LIAConfig, face: int | None = None) -> Portrait:
    """Cut a picture (H, W, 3) uint8 RGB as ``config.framing`` asks.

    ``face``: which one, counted from 1, largest first; None takes the largest and says so if there are several.
    Raises ``AvatarError`` where there is no such face or it is too small.
    """
    height, width = pixels.shape[:2]
    if config.framing.kind == "full":
        box = full_frame_box(height, width)
        notes = _few_pixels(box, config, "picture")
        return Portrait(*_cuts(pixels, box, config.size), None, notes)
    found, notes = _chosen(find_faces(pixels), face)
    if found.box.side < SMALLEST_FACE:
        raise AvatarError(
            f"the face is too small: {found.box.side:.0f} pixels, at least {SMALLEST_FACE:.0f} are needed",
            "use a larger picture, or one where the face fills more of it",
        )
    box = framed_box(found.landmarks, config.framing)
    notes += _few_pixels(box, config, "face's square") + _cut_off(box, height, width)
    landmarks = (found.landmarks - np.array([box.x, box.y, 0.0])) * (config.size / box.side)
    return Portrait(*_cuts(pixels, box, config.size), landmarks.astype(np.float32), notes)


def _chosen(faces: list[Face], face: int | None) -> tuple[Face, tuple[str, ...]]:
    if not faces:
        raise AvatarError(
            "no face found",
            "use a picture that shows one face from the front, well lit and not covered",
        )
    count = len(faces)
    if face is None:
        if count == 1:
            return faces[0], ()
        return faces[0], (f"{count} faces found: the largest is used (--face 2 takes the next)",)
    if not 1 <= face <= count:
        seen = "1 face was" if count == 1 else f"{count} faces were"
        raise AvatarError(f"it has no face {face}: {seen} found", f"choose --face 1 to {count}")
    return faces[face - 1], ()


def _few_pixels(box: Box, config: LIAConfig, what: str) -> tuple[str, ...]:
    if box.side >= config.size:
        return ()
    return (
        f"the {what} has {box.side:.0f} pixels, the model works with {config.size}: expect blur",
    )


def _cut_off(box: Box, height: int, width: int) -> tuple[str, ...]:
    across = min(box.x + box.side, width) - max(box.x, 0)
    down = min(box.y + box.side, height) - max(box.y, 0)
    if across * down >= (1 - _MISSING_SHARE) * box.side**2:
        return ()
    return ("the head is cut off by the picture's border: what is missing is made up, blurred",)


def _cuts(pixels: Pixels, box: Box, size: int) -> tuple[Pixels, Pixels]:
    height, width = pixels.shape[:2]
    crop, thumbnail = (
        continued(_sharp(pixels, box, side), box, height, width) for side in (size, THUMBNAIL)
    )
    return crop, thumbnail


def _sharp(pixels: Pixels, box: Box, size: int) -> Pixels:
    """``crop_square`` without its last trace of blur: this picture is cut once and seen for ever."""
    if box.side <= size:
        return crop_square(pixels, box, size)
    fine = crop_square(pixels, box, _SUPERSAMPLING * size)
    return cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
