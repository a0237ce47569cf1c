"""The picture that leaves: the avatar's square on a fixed-size canvas, with background and badge."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from lia_live.frame import Pixels

Background = Literal["plain", "blur"]

Share = NDArray[np.float64]

PLAIN_COLOUR = (24, 26, 30)
"""RGB of the plain background: dark, so that a call program's own frame does not show."""
BLUR_SIDE_PX = 20
"""The avatar's picture is shrunk to this side before it is blown up again: that is the blur."""
BLUR_BRIGHTNESS = 0.55
BUFFERS = 2
"""A composed picture stays untouched until the next one but one is asked for."""
BADGE_TEXT = "AI avatar"
BADGE_HEIGHT = 0.055
"""Of the avatar's square; never under ``BADGE_LEAST_PX``."""
BADGE_LEAST_PX = 12
BADGE_OPACITY = 0.55


class Compositor:
    """Letterboxes avatar squares onto (height, width, 3) pictures. One thread (output).

    ``size``: (width, height) in pixels. ``badge``: draw "AI avatar" in the square's lower left corner.
    """

    def __init__(
        self, size: tuple[int, int], background: Background = "plain", badge: bool = True
    ) -> None:
        width, height = size
        self.size = size
        self._background = background
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        self._canvases = [np.empty((height, width, 3), np.uint8) for _ in range(BUFFERS)]
        self._squares = [c[top : top + side, left : left + side] for c in self._canvases]
        self._painted: list[tuple[Pixels | None, bool] | None] = [None] * BUFFERS
        self._next = 0
        self._mirrored: Pixels | None = None
        self._badge = Badge(side) if badge else None

    def compose(
        self, pixels: Pixels, backdrop: Pixels | None = None, mirror: bool = False
    ) -> Pixels:
        """(S, S, 3) uint8 RGB in, (height, width, 3) uint8 RGB out; valid until the next but one call.

        ``backdrop``: the avatar's own picture, for the blurred background; the background is painted anew
        only when another object is passed. ``mirror`` flips the picture but not the badge.
        """
        if pixels.ndim != 3 or pixels.shape[0] != pixels.shape[1] or pixels.shape[2] != 3:
            raise ValueError(f"an avatar picture is (S, S, 3), got {pixels.shape}")
        if pixels.dtype != np.uint8:
            raise ValueError(f"an avatar picture is uint8, got {pixels.dtype}")
        turn = self._next
        canvas, square = self._canvases[turn], self._squares[turn]
        if canvas.shape != square.shape:
            self._paint(turn, backdrop, mirror)
        if mirror:
            if self._mirrored is None or self._mirrored.shape != pixels.shape:
                self._mirrored = np.empty_like(pixels)
            cv2.flip(pixels, 1, dst=self._mirrored)
            pixels = self._mirrored
        scale_into(pixels, square)
        if self._badge is not None:
            self._badge.stamp(square)
        self._next = (turn + 1) % BUFFERS  # not after a fault: what is being shown stays whole
        return canvas

    def _paint(self, turn: int, backdrop: Pixels | None, mirror: bool) -> None:
        """The background of one buffer, where it is not the wanted one already."""
        if self._background == "plain":
            backdrop, mirror = None, False
        painted = self._painted[turn]
        if painted is not None and painted[0] is backdrop and painted[1] == mirror:
            return
        if backdrop is None:
            self._canvases[turn][:] = PLAIN_COLOUR
        else:
            self._canvases[turn][:] = blurred(backdrop, self.size, mirror)
        self._painted[turn] = (backdrop, mirror)


def scale_into(pixels: Pixels, target: Pixels) -> None:
    """Resize ``pixels`` (h, w, 3) to fill ``target`` (H, W, 3) in place; area mean down, cubic up."""
    if pixels.shape == target.shape:
        target[:] = pixels
        return
    shrinks = pixels.shape[0] > target.shape[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    cv2.resize(pixels, (target.shape[1], target.shape[0]), dst=target, interpolation=how)


def letterbox(pixels: Pixels, canvas: Pixels) -> None:
    """Fit a picture of any shape into ``canvas`` in place, its proportions kept, on the plain colour."""
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise ValueError(f"a picture is (H, W, 3) uint8, got {pixels.shape} {pixels.dtype}")
    height, width = canvas.shape[:2]
    scale = min(width / pixels.shape[1], height / pixels.shape[0])
    inner_w = max(1, min(width, round(pixels.shape[1] * scale)))
    inner_h = max(1, min(height, round(pixels.shape[0] * scale)))
    left, top = (width - inner_w) // 2, (height - inner_h) // 2
    canvas[:] = PLAIN_COLOUR
    scale_into(pixels, canvas[top : top + inner_h, left : left + inner_w])


def blurred(picture: Pixels, size: tuple[int, int], mirror: bool = False) -> Pixels:
    """A dim, blurred cover of (height, width, 3) made of a square picture; its middle strip is shown."""
    width, height = size
    small = cv2.resize(picture, (BLUR_SIDE_PX, BLUR_SIDE_PX), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 1.5)
    side = max(width, height)
    cover = cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)
    left, top = (side - width) // 2, (side - height) // 2
    cover = cover[top : top + height, left : left + width]
    if mirror:
        cover = cover[:, ::-1]
    dimmed: Pixels = (cover * np.float32(BLUR_BRIGHTNESS)).astype(np.uint8)
    return dimmed


class Badge:
    """The words "AI avatar", drawn once and blended onto every picture in a fraction of a millisecond.

    ``side``: of the square it is stamped on, pixels.
    """

    def __init__(self, side: int) -> None:
        cover, light = _lettering(max(BADGE_LEAST_PX, round(side * BADGE_HEIGHT)))
        height, width = min(cover.shape[0], side), min(cover.shape[1], side)
        margin = max(0, min(round(side * 0.02), side - height, side - width))
        self._rows = slice(side - margin - height, side - margin)
        self._columns = slice(margin, margin + width)
        keep = 1 - cover[:height, :width, None].repeat(3, axis=2)
        self._keep = keep.astype(np.float32)
        self._add = light[:height, :width, None].repeat(3, axis=2).astype(np.float32)
        self._work = np.empty_like(self._keep)

    def stamp(self, square: Pixels) -> None:
        """Blend the badge into (side, side, 3) uint8 in place."""
        patch = square[self._rows, self._columns]
        np.multiply(patch, self._keep, out=self._work)
        np.add(self._work, self._add, out=self._work)
        patch[:] = self._work  # both terms stay inside 0..255


def _lettering(height: int) -> tuple[Share, Share]:
    """(h, w) share of the picture to cover, and (h, w) light to add, for white letters on a dark pill."""
    zoom = 4
    font, tall = cv2.FONT_HERSHEY_DUPLEX, height * zoom
    scale = cv2.getFontScaleFromHeight(font, round(tall * 0.5), zoom)
    (text_width, text_height), _ = cv2.getTextSize(BADGE_TEXT, font, scale, zoom)
    wide = text_width + round(tall * 0.9)
    pill = np.zeros((tall, wide), np.uint8)
    radius = tall // 2
    cv2.rectangle(pill, (radius, 0), (wide - radius - 1, tall - 1), (255,), -1)
    for x in (radius, wide - radius - 1):
        cv2.circle(pill, (x, radius), radius - 1, (255,), -1)
    text = np.zeros((tall, wide), np.uint8)
    where = ((wide - text_width) // 2, (tall + text_height) // 2)
    cv2.putText(text, BADGE_TEXT, where, font, scale, (255,), max(zoom, tall // 18), cv2.LINE_AA)
    fine = (round(wide / zoom), height)
    shade = cv2.resize(pill, fine, interpolation=cv2.INTER_AREA) / 255 * BADGE_OPACITY
    ink = cv2.resize(text, fine, interpolation=cv2.INTER_AREA) / 255
    cover = np.maximum(shade, ink)
    return cover, ink * 250
