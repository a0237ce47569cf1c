"""The renderer's wide convolutions in int8: what range each of their inputs has, and how it is written into the graph.

Ranges come from the shipped demo clip, run once through the network in fp32; afterwards they are read from the
cache. What stays as it is was measured on the parity weights, where everything in int8 left 28 dB: the encoder (its
last layers cost 9 dB each, and no set of them kept 38), maps narrower than ``WIDE``, transposed convolutions (they
take steps only around zero: 6 dB), colours, flow and blurs. What is left saves a fifth of the renderer's time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from lia_live.model.config import LIAConfig
from lia_live.model.lia import LIA, Look
from lia_live.model.pixels import to_tensor
from lia_live.render.demo_clip import demo_crops
from lia_live.render.interface import Alpha
from lia_live.render.openvino_ops import Node, OpenVinoOps
from lia_live.render.remembered import JsonCache, version

CACHE = "int8.json"
WIDE = 64
"""Of maps, pixels: convolutions of narrower ones stay as they are."""
CALIBRATION_CROPS = 8
REACH = 1.25
"""Coefficients are exaggerated by this much: a live driver goes farther than the clip."""

Range = tuple[float, float]


@dataclass(frozen=True)
class Ranges:
    """Smallest and largest input of every convolution of the renderer, in the order they are drawn."""

    renderer: tuple[Range, ...]

    @staticmethod
    def read(entry: Any, config: LIAConfig) -> Ranges | None:
        """From the cache; None for anything that does not fit the network."""
        levels = len(config.resolutions())
        try:
            renderer = tuple((float(low), float(high)) for low, high in entry["renderer"])
        except (TypeError, ValueError, KeyError, OverflowError):
            return None
        sound = all(
            math.isfinite(low) and math.isfinite(high) and low <= high for low, high in renderer
        )
        return Ranges(renderer) if len(renderer) == levels and sound else None


class WatchingOps(OpenVinoOps):
    """Draws in fp32, and remembers the inputs of convolutions."""

    def __init__(self, openvino: Any) -> None:
        super().__init__(openvino, "f32")
        self._watched: list[Node] = []

    def convolution(
        self, x: Node, weight: Tensor, bias: Tensor | None = None, *, stride: int = 1, padding: int = 0,
        leaky: bool = False,
    ) -> Node:  # fmt: skip
        self._watched.append(x)
        return super().convolution(x, weight, bias, stride=stride, padding=padding, leaky=leaky)

    def extremes(self) -> list[Node]:
        """Nodes that hold the smallest, and then the largest number of each watched input."""
        axes = self._whole([0, 1, 2, 3])
        reduce = (self._op.reduce_min, self._op.reduce_max)
        return [how(x, axes).output(0) for how in reduce for x in self._watched]


class Int8Ops(OpenVinoOps):
    """Draws the wide convolutions in int8, all else as ``low`` does."""

    def __init__(self, openvino: Any, low: str, ranges: Sequence[Range]) -> None:
        super().__init__(openvino, low)
        self._ranges: Iterator[Range] = iter(ranges)

    def convolution(
        self, x: Node, weight: Tensor, bias: Tensor | None = None, *, stride: int = 1, padding: int = 0,
        leaky: bool = False,
    ) -> Node:  # fmt: skip
        bounds = next(self._ranges)
        if self._shape(x)[-1] < WIDE:
            return super().convolution(x, weight, bias, stride=stride, padding=padding, leaky=leaky)
        steps, weights = self._stepped(x, bounds), self._stepped_weight(weight)
        around = [[stride] * 2, [padding] * 2, [padding] * 2, [1, 1]]
        x = self._op.convolution(steps, weights, *around)
        if bias is not None:
            x = self._op.add(x, self._numbers(bias.view(1, -1, 1, 1)))
        return self._leaky(x) if leaky else x

    def _stepped(self, x: Node, bounds: Range) -> Node:
        """``x`` rounded to 256 steps of its range, one of which is zero."""
        low, high = bounds
        low, high = min(low, 0.0), max(high, 1e-6)
        step = (high - low) / 255
        zero = round(-low / step)
        ends = [
            self._numbers(torch.full((1, 1, 1, 1), end))
            for end in (-zero * step, (255 - zero) * step)
        ]
        return self._op.fake_quantize(self._exact(x), *ends, *ends, 256)

    def _stepped_weight(self, weight: Tensor) -> Node:
        """Each output channel in 255 steps of its own, rounded here: OpenVINO takes seconds to do it."""
        step = weight.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-9) / 127
        steps = (weight / step).round().to(torch.int8).contiguous().numpy()
        return self._op.multiply(
            self._op.convert(self._op.constant(steps), "f32"), self._numbers(step)
        )


@dataclass(frozen=True)
class Material:
    """What calibration runs through the graph."""

    look: Look
    """Of the first crop."""
    alpha: Alpha
    """(N, motion_dim), exaggerated."""

    @staticmethod
    @torch.inference_mode()
    def of(model: LIA) -> Material:
        crops = demo_crops(model.config.size, CALIBRATION_CROPS)
        device = model.dec.direction.weight.device
        look = model.encode_portrait(crops[:1])
        codes = model.encode_motion(to_tensor(crops, device)).float().cpu()
        alpha: Alpha = (codes * REACH).numpy()
        return Material(look, alpha)


def recall(model: LIA) -> Ranges | None:
    """What an earlier start measured for these weights."""
    return Ranges.read(JsonCache(CACHE).get(_key(model)), model.config)


def remember(model: LIA, ranges: Ranges) -> None:
    """For the next start."""
    JsonCache(CACHE).put(_key(model), asdict(ranges))


def _key(model: LIA) -> str:
    return f"{model.fingerprint} {version('lia-live')} portraits as avatars are"
