"""Whether an engine computes what the model does, closely enough to be chosen without asking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from lia_live.frame import Pixels
from lia_live.model.directions import Direction
from lia_live.model.lia import LIA, Look
from lia_live.model.pixels import to_pixels, to_tensor
from lia_live.render.demo_clip import demo_crops
from lia_live.render.interface import Alpha, Renderer

WORST_PSNR_DB = 38.0
"""A precision is taken only where its picture is at least this close to fp32's."""
WORST_ALPHA = 0.02
"""... and its coefficients off by no more than this fraction of their standard deviations, on average."""
CROPS = 4
"""Real ones to compare coefficients on; the picture is compared on a drawn one."""


@dataclass(frozen=True)
class Trial:
    """A picture and a few crops, and what the plain model makes of them in fp32. Computed once, compared with many."""

    model: LIA
    picture: Pixels
    """(S, S, 3)."""
    look: Look
    alpha: Alpha
    """(1, motion_dim)."""
    expected: Pixels
    """(1, S, S, 3): the picture as its own driver."""
    crops: Pixels
    """(N, S, S, 3): real ones."""
    codes: Alpha
    """(N, motion_dim): of the crops."""

    @staticmethod
    @torch.inference_mode()
    def of(model: LIA) -> Trial:
        """Where the model is; the look comes to the cpu."""
        device = model.dec.direction.weight.device
        picture = probe(model.config.size)
        there = model.encode_portrait(picture)
        expected = to_pixels(model.render(there, there.motion))
        look = there.to("cpu")
        alpha: Alpha = look.motion.float().numpy()
        crops = demo_crops(model.config.size, CROPS)
        codes: Alpha = model.encode_motion(to_tensor(crops, device)).float().cpu().numpy()
        return Trial(model, picture, look, alpha, expected, crops, codes)

    def accepts(self, renderer: Renderer) -> bool:
        """Whether ``renderer`` stays within the bounds."""
        deviation = np.abs(renderer.encode_motion(self.crops) - self.codes)
        spread = np.array([standard_deviation(direction) for direction in self.model.directions])
        if not float((deviation / spread).mean()) <= WORST_ALPHA:  # not a number is no agreement
            return False
        avatar = renderer.load_avatar(self.look)
        return psnr_db(renderer.render([avatar], self.alpha), self.expected) >= WORST_PSNR_DB

    def frame(self, renderer: Renderer) -> Frames:
        """Frames to measure ``renderer`` with."""
        return Frames(renderer, self)


class Frames:
    """The work of one live frame, on demand."""

    def __init__(self, renderer: Renderer, trial: Trial) -> None:
        self._renderer, self._crop = renderer, trial.picture[None]
        self._avatar = renderer.load_avatar(trial.look)

    def __call__(self) -> None:
        self._renderer.render([self._avatar], self._renderer.encode_motion(self._crop))


def standard_deviation(direction: Direction) -> float:
    """Of a coefficient over people's faces: a sixth of all that was seen, which official weights know too."""
    return (direction.high - direction.low) / 6


def psnr_db(found: Pixels, expected: Pixels) -> float:
    """Of two pictures or batches, in dB; infinite where they are the same."""
    error = float(np.square(found.astype(np.float64) - expected).mean())
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def probe(size: int) -> Pixels:
    """A picture to try an engine on, roughly a head before a wall: (size, size, 3) uint8."""
    y, x = np.mgrid[0:size, 0:size] / size
    head = ((x - 0.5) / 0.26) ** 2 + ((y - 0.5) / 0.36) ** 2
    eyes = np.minimum((x - 0.4) ** 2, (x - 0.6) ** 2) / 0.04**2 + ((y - 0.45) / 0.025) ** 2
    mouth = ((x - 0.5) / 0.09) ** 2 + ((y - 0.68) / 0.03) ** 2
    picture = np.stack((90 + 60 * x, 110 + 50 * y, 130 + 0 * x), axis=-1)
    shade = 1 - 0.3 * np.clip(head, 0, 1)[..., None]
    picture = np.where(head[..., None] < 1, np.array([215, 170, 150]) * shade, picture)
    picture = np.where(eyes[..., None] < 1, np.array([50, 35, 30]), picture)
    picture = np.where(mouth[..., None] < 1, np.array([150, 70, 70]), picture)
    pixels: Pixels = picture.astype(np.uint8)
    return pixels
