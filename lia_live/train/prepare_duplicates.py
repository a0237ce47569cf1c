"""Has this picture, or this clip, been seen before? Also re-encoded, reduced, or cropped a little differently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from lia_live.frame import Pixels

Key = NDArray[np.uint8]
"""(K, 64): for each of K pictures, 512 bits that say where brightness rises to the right and downwards."""

_CELLS: Final = 16
PICTURE_BITS: Final = 48
"""So many of the 512 bits may differ. Measured on 1,223 faces in one framing: the nearest two different ones
differ in 87, the same at 400 of 512 pixels and JPEG quality 70 in 32 at most."""
CLIP_BITS: Final = 24
"""The same for each frame of a clip that is compared; one person at two moments may differ in as little."""
CLIP_FRAMES: Final = 5
"""... hence so many of them, from the first to the last, all have to agree."""
_COUNT: Final = np.array([bin(value).count("1") for value in range(256)], np.uint16)


def key_of(pictures: Sequence[Pixels]) -> Key:
    """(K, 64) uint8 for K framed pictures (P, P, 3) uint8 RGB."""
    rows = []
    for pixels in pictures:
        grey = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
        cells = (_CELLS + 1, _CELLS + 1)
        small = np.asarray(cv2.resize(grey, cells, interpolation=cv2.INTER_AREA), np.int16)
        right = small[:_CELLS, 1:] > small[:_CELLS, :-1]
        down = small[1:, :_CELLS] > small[:-1, :_CELLS]
        rows.append(np.packbits(np.concatenate([right.ravel(), down.ravel()])))
    return np.stack(rows)


class Seen:
    """Keys of everything kept so far. Compares with all of them: 1 ms for 10,000."""

    def __init__(self, bits: int) -> None:
        """``bits``: how many of a picture's 512 may differ."""
        self._bits = bits
        self._names: list[str] = []
        self._keys = np.zeros((0, 1, 64), np.uint8)  # grows by doubling
        self._lengths = np.zeros(0, np.int64)

    def find(self, key: Key, length: int = 1) -> str | None:
        """The name under which the same was added, or None. ``length``: of a clip in frames; only clips of about
        the same length can be the same.
        """
        count = len(self._names)
        near = np.abs(self._lengths[:count] - length) <= max(2, length // 20)
        candidates = np.flatnonzero(near) if length > 1 else np.arange(count)
        if not len(candidates):
            return None
        # frame by frame, so that hardly anything is left to compare after the first
        for frame in range(key.shape[0]):
            differing = _COUNT[self._keys[candidates, frame] ^ key[frame]].sum(axis=1)
            candidates = candidates[differing <= self._bits]
        return self._names[candidates[0]] if len(candidates) else None

    def add(self, name: str, key: Key, length: int = 1) -> None:
        """Remember ``key`` (K, 64), the same K every time."""
        count = len(self._names)
        if count == len(self._keys):
            room = max(64, count)
            self._keys = np.concatenate(
                [self._keys.reshape(count, *key.shape), np.zeros((room, *key.shape), np.uint8)]
            )
            self._lengths = np.concatenate([self._lengths, np.zeros(room, np.int64)])
        self._keys[count], self._lengths[count] = key, length
        self._names.append(name)
