"""The OpenVINO engine: the network as two compiled graphs on the cpu."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from lia_live.errors import ConfigError
from lia_live.frame import Pixels
from lia_live.model.config import LIAConfig
from lia_live.model.lia import LIA, Look
from lia_live.render import graph
from lia_live.render.checks import check_alpha, check_crops, check_look, own
from lia_live.render.choice import computes_bf16
from lia_live.render.folding import Styles, constant_input, whole_head
from lia_live.render.interface import Alpha, LoadedAvatar
from lia_live.render.openvino_cache import GraphCache, key_of
from lia_live.render.openvino_int8 import (
    Int8Ops,
    Material,
    Ranges,
    WatchingOps,
    recall,
    remember,
)
from lia_live.render.openvino_ops import OpenVinoOps
from lia_live.render.openvino_runtime import core, load
from lia_live.render.sampling import BORDER, to_table

Numbers = NDArray[np.float32]

LOW = {"fp32": "f32", "bf16": "bf16", "int8": "i8"}
"""Element type of the heavy work by precision."""
HALF_GREY = 127.5


@dataclass(frozen=True)
class OpenVinoAvatar:
    """What the renderer keeps of one avatar: the inputs of its graph that no frame changes."""

    owner: object
    """The renderer that made it; no other can read it."""
    tensors: tuple[Any, ...]
    """Styles, start, features from coarse to fine, as OpenVINO reads them in place."""

    @property
    def bytes_held(self) -> int:
        return sum(int(tensor.byte_size) for tensor in self.tensors)


class OpenVinoRenderer:
    """A ``Renderer`` on the cpu. ``precision``: of ``LOW``. ``threads``: of the graphs; of several counts the first is
    in use until ``threads`` is set to another one of them.

    Batches are rendered one after the other: on a cpu a batch gains nothing.
    Raises ``ConfigError`` where openvino is missing, and for another precision.
    """

    engine = "openvino"
    device = "cpu"

    def __init__(
        self, model: LIA, *, precision: str = "fp32", threads: int | Sequence[int] = 1
    ) -> None:
        if precision not in LOW:
            raise ConfigError(
                f"the engine openvino does not compute in {precision}",
                f"take one of {', '.join(LOW)}",
            )
        self._ov = load()
        self.config: LIAConfig = model.config
        self.precision = precision
        self._counts = (threads,) if isinstance(threads, int) else tuple(threads)
        self._threads = self._counts[0]
        self.remark = ""
        """What is known of its speed; the end of ``description``."""
        self._on_stage: object = None
        with torch.inference_mode():
            self._styles = Styles(model)
            self._start = graph.by_channel(constant_input(model.dec))  # (C(4)·16, C(4))
            self._projection = graph.projection(model).float()[:, :, None, None]
            ranges = self._ranges(model) if precision == "int8" else None
            low = LOW[precision] if precision != "int8" else "bf16" if computes_bf16() else "f32"

            def encoder() -> Any:
                return encoder_graph(self._ov, OpenVinoOps(self._ov, low), model)

            def renderer() -> Any:
                ops = OpenVinoOps(self._ov, low)
                if ranges is not None:
                    ops = Int8Ops(self._ov, low, ranges.renderer)
                return renderer_graph(self._ov, ops, model, self._styles, self._start)

            self._encoders = self._requests("encoder", low, model, None, encoder)
            self._renderers = self._requests("renderer", low, model, ranges, renderer)
        self.threads = self._counts[0]

    @property
    def threads(self) -> int:
        """Of the coming frame. May be set, between two frames, to another one of those that it was opened with."""
        return self._threads

    @threads.setter
    def threads(self, count: int) -> None:
        self._encoder, self._renderer = self._encoders[count], self._renderers[count]
        self._threads, self._on_stage = count, None

    def _ranges(self, model: LIA) -> Ranges:
        ranges = recall(model)
        if ranges is None:
            ranges = self._calibrated(model)
            remember(model, ranges)
        return ranges

    def _requests(
        self, half: str, low: str, model: LIA, ranges: Ranges | None, draw: Callable[[], Any]
    ) -> dict[int, Any]:
        """A request to run the graph for each number of threads; drawn only if it is not remembered."""
        cache = GraphCache()
        key = key_of(model, self._ov, half, low, ranges and ranges.renderer)
        known = cache.get(key)
        if known is not None:
            try:
                return {count: self._read(known, count) for count in self._counts}
            except RuntimeError:  # whatever openvino finds wrong with it
                cache.discard(key)
        drawn = draw()
        compiled = {
            count: core().compile_model(drawn, "CPU", _how(count)) for count in self._counts
        }
        with suppress(RuntimeError):  # a graph that cannot be written is drawn each time
            cache.put(key, compiled[self._counts[0]].export_model().getvalue())
        return {count: one.create_infer_request() for count, one in compiled.items()}

    def _read(self, graph: bytes, threads: int) -> Any:
        return core().import_model(graph, "CPU", _how(threads)).create_infer_request()

    def _calibrated(self, model: LIA) -> Ranges:
        """The ranges that the demo clip needs."""
        material = Material.of(model)
        avatar = self.load_avatar(material.look)
        ops = WatchingOps(self._ov)
        drawn = renderer_graph(self._ov, ops, model, self._styles, self._start)
        renderer = self._watched(ops, drawn)
        for index, tensor in enumerate(avatar.tensors, start=1):
            renderer.set_input_tensor(index, tensor)
        pictures = [self._extremes(renderer, row[None]) for row in material.alpha]
        return Ranges(widest(pictures))

    def _watched(self, ops: WatchingOps, drawn: Any) -> Any:
        drawn.add_outputs(ops.extremes())
        return core().compile_model(drawn, "CPU", _how(self._threads)).create_infer_request()

    def _extremes(self, request: Any, given: NDArray[Any]) -> NDArray[np.float32]:
        """(2, convolutions): smallest and largest input of each in this run."""
        request.get_input_tensor(0).data[:] = given
        request.infer()
        found = [
            float(request.get_output_tensor(i).data) for i in range(1, len(request.model_outputs))
        ]
        return np.array(found, np.float32).reshape(2, -1)

    @property
    def description(self) -> str:
        plural = "" if self.threads == 1 else "s"
        return f"cpu, {self.threads} thread{plural}, openvino {self.precision}{self.remark}"

    @torch.inference_mode()
    def load_avatar(self, look: Look) -> OpenVinoAvatar:
        check_look(look, self.config)
        styles = self._styles.of(look.latent[0])
        start = self._start @ styles[: self._styles.sizes[0]]
        *coarse, finest = (feature.detach().float().cpu() for feature in look.features)
        inputs = (
            styles[None],
            start[None],
            *(to_table(feature) for feature in coarse),
            F.conv2d(finest, self._projection),
        )
        return OpenVinoAvatar(self, tuple(self._tensor(numbers) for numbers in inputs))

    def _tensor(self, numbers: torch.Tensor) -> Any:
        array: Numbers = numbers.float().contiguous().numpy()
        return self._ov.Tensor(array.copy())

    def encode_motion(self, crops: Pixels) -> Alpha:
        check_crops(crops, self.config)
        alpha = np.empty((len(crops), self.config.motion_dim), np.float32)
        picture, code = self._encoder.get_input_tensor().data, self._encoder.get_output_tensor
        for index, crop in enumerate(crops):
            picture[0] = crop
            self._encoder.infer()
            alpha[index] = code().data[0]
        return alpha

    def render(self, avatars: Sequence[LoadedAvatar], alpha: Alpha) -> Pixels:
        check_alpha(alpha, len(avatars), self.config)
        size = self.config.size
        pictures = np.empty((len(avatars), size, size, 3), np.uint8)
        for index, avatar in enumerate(avatars):
            self._enter(own(avatar, OpenVinoAvatar, self))
            self._renderer.get_input_tensor(0).data[0] = alpha[index]
            self._renderer.infer()
            planes = self._renderer.get_output_tensor().data[0]
            pictures[index] = planes.transpose(1, 2, 0)
        return pictures

    def _enter(self, avatar: OpenVinoAvatar) -> None:
        """Point the graph at this avatar's numbers, where they lie."""
        if avatar is not self._on_stage:
            for index, tensor in enumerate(avatar.tensors, start=1):
                self._renderer.set_input_tensor(index, tensor)
            self._on_stage = avatar


def _how(threads: int) -> dict[str, Any]:
    """One frame at a time."""
    return {
        "INFERENCE_PRECISION_HINT": "f32",  # the graph itself says where it is less
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # a core that something else keeps busy must not be waited for
    }


def encoder_graph(openvino: Any, ops: OpenVinoOps, model: LIA) -> Any:
    """Crop (1, S, S, 3) uint8 -> coefficients (1, motion_dim) float32."""
    size = model.config.size
    crop = ops.parameter("crop", (1, size, size, 3), "u8")
    x, _ = graph.encoder(ops, model, ops.picture(crop, HALF_GREY), HALF_GREY)
    head, offset = whole_head(model)
    alpha = ops.affine(ops.flat(x), head.flatten(1).T, offset)
    return openvino.Model([ops.result(alpha)], [crop], "encoder")


def renderer_graph(
    openvino: Any, ops: OpenVinoOps, model: LIA, styles: Styles, start: torch.Tensor
) -> Any:
    """Coefficients (1, motion_dim) and an avatar's tensors -> picture (1, 3, S, S) uint8."""
    config = model.config
    alpha = ops.parameter("alpha", (1, config.motion_dim))
    own_styles = ops.parameter("styles", (1, sum(styles.sizes)))
    own_start = ops.parameter("start", (1, start.shape[0]))
    *coarse, finest = config.resolutions()
    features = [
        *(ops.parameter(f"features {r}", ((r + BORDER) ** 2, config.channels(r))) for r in coarse),
        ops.parameter("colours", (1, 3, finest, finest)),
    ]
    first = styles.response[: styles.sizes[0]]
    moved_styles = ops.add(own_styles, ops.affine(alpha, styles.response.T))
    moved_start = ops.add(own_start, ops.affine(alpha, (start @ first).T))
    picture = graph.synthesis(ops, model, moved_styles, ops.maps(moved_start, 4), features)
    inputs = [alpha, own_styles, own_start, *features]
    return openvino.Model([ops.result(ops.pixels(picture))], inputs, "renderer")


def widest(seen: Sequence[NDArray[np.float32]]) -> tuple[tuple[float, float], ...]:
    """(2, C) of several runs -> C pairs that hold them all."""
    lows, highs = np.min([low for low, _ in seen], 0), np.max([high for _, high in seen], 0)
    return tuple(zip(lows.tolist(), highs.tolist(), strict=True))
