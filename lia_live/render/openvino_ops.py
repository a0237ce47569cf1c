"""How OpenVINO draws the network: heavy work in the precision asked for, float32 wherever pixels move.

The types are written into the graph, conversions and all, rather than left to the plugin's precision hint: the hint
would take sampling positions along, and bf16 has eight bits for 256 pixels. Numbers are rounded to bf16 here: where
OpenVINO converts constants it cuts bits off, which makes every weight 0.14 % too small, and layers add that up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lia_live.model.layers import LEAK
from lia_live.render.graph import identity
from lia_live.render.sampling import BORDER, FAR_AND_NEAR, doubling_matrix

SMALL = 12
"""Maps narrower than this are computed in float32: next to nothing of the time, and a third of the error of bf16, since
everything comes out of them: the codes at the encoder's end, the picture at the decoder's beginning."""

Node = Any
"""A node of OpenVINO's graph, or one of its outputs. Batch is 1 throughout."""


class OpenVinoOps:
    """``graph.Ops`` over OpenVINO nodes. ``low``: element type name of the heavy work, "f32" or "bf16"."""

    def __init__(self, openvino: Any, low: str) -> None:
        self._ov = openvino
        self._op = openvino.opset13
        self._low = low

    def parameter(self, name: str, shape: Sequence[int], kind: str = "f32") -> Node:
        """An input."""
        return self._op.parameter(list(shape), getattr(self._ov.Type, kind), name=name)

    def result(self, x: Node) -> Node:
        """An output."""
        return self._op.result(x)

    def convolution(
        self, x: Node, weight: Tensor, bias: Tensor | None = None, *, stride: int = 1, padding: int = 0,
        leaky: bool = False,
    ) -> Node:  # fmt: skip
        x = self._lowered(x)
        weights, around = self._like(weight, x), [padding] * 2
        x = self._op.convolution(x, weights, [stride] * 2, around, around, [1, 1])
        if bias is not None:
            x = self._op.add(x, self._like(bias.view(1, -1, 1, 1), x))
        return self._leaky(x) if leaky else x

    def up_convolution(self, x: Node, weight: Tensor) -> Node:
        x = self._lowered(x)
        return self._op.convolution_backprop_data(
            x, self._like(weight, x), [2, 2], None, [0, 0], [0, 0], [1, 1], "explicit"
        )

    def blur(self, x: Node, kernel: Tensor, channels: int, *, stride: int, padding: int) -> Node:
        x = self._lowered(x)
        weights, around = self._like(kernel.expand(channels, 1, 1, 4, 4), x), [padding] * 2
        return self._op.group_convolution(x, weights, [stride] * 2, around, around, [1, 1])

    def add(self, a: Node, b: Node) -> Node:
        if _kind(a) != _kind(b):
            a, b = self._exact(a), self._exact(b)
        return self._op.add(a, b)

    def styled(self, x: Node, style: Node) -> Node:
        return self._op.multiply(self._exact(x), self._reshaped(style, (1, -1, 1, 1)))

    def activation(self, x: Node, scale: Node, bias: Tensor) -> Node:
        x = self._op.multiply(self._exact(x), self._reshaped(scale, (1, -1, 1, 1)))
        x = self._leaky(self._op.add(x, self._numbers(bias.view(1, -1, 1, 1))))
        return self._lowered(x)

    def affine(self, vector: Node, matrix: Tensor, offset: Tensor | None = None) -> Node:
        found = self._op.matmul(vector, self._numbers(matrix), False, False)
        return found if offset is None else self._op.add(found, self._numbers(offset[None]))

    def demodulation(self, style: Node, energy: Tensor, eps: float) -> Node:
        norm = self.affine(self._op.multiply(style, style), energy)
        norm = self._op.add(norm, self._numbers(torch.tensor([[eps]])))
        return self._op.power(norm, self._numbers(torch.tensor([[-0.5]])))

    def split(self, vector: Node, sizes: Sequence[int]) -> list[Node]:
        parts = self._op.variadic_split(vector, self._whole(1), self._whole(list(sizes)))
        return [parts.output(index) for index in range(len(sizes))]

    def planes(self, x: Node, weight: Tensor, bias: Tensor) -> Node:
        """As a product of matrices: three channels beside each other would leave most of each register empty."""
        _, channels, side, _ = self._shape(x)
        rows = self._op.transpose(self._exact(x), self._whole([0, 2, 3, 1]))
        planes = self._planes_of_rows(self._reshaped(rows, (side**2, channels)), weight, side)
        return self._op.add(planes, self._numbers(bias.view(1, -1, 1, 1)))

    def projected(self, sampled: Node, weight: Tensor) -> Node:
        """From the rows that ``sample`` gathered, before they were called a map."""
        map_of_rows = sampled.input_value(0).get_node()
        return self._planes_of_rows(map_of_rows.input_value(0), weight, self._shape(sampled)[2])

    def _planes_of_rows(self, rows: Node, weight: Tensor, side: int) -> Node:
        """(side², C), (P, C) -> (1, P, side, side)."""
        planes = self._op.matmul(self._numbers(weight), rows, False, True)
        return self._reshaped(planes, (1, -1, side, side))

    def double(self, planes: Node, resolution: int) -> Node:
        """Across by a product, down by whole rows (``sampling.double``)."""
        r, (_, count, _, _) = resolution, self._shape(planes)
        across = self._numbers(doubling_matrix(r, torch.device("cpu")))
        wide = self._op.matmul(planes, across, False, False)  # (1, P, r, 2r)
        far, near = (
            self._op.multiply(wide, self._numbers(torch.tensor([f]))) for f in FAR_AND_NEAR
        )
        nothing = self._numbers(torch.zeros(1, count, 1, 2 * r))
        above = self._op.concat([nothing, self._part(far, 0, r - 1, axis=2)], 2)
        below = self._op.concat([self._part(far, 1, r, axis=2), nothing], 2)
        rows = [
            self._reshaped(self._op.add(near, other), (1, count, r, 1, 2 * r))
            for other in (above, below)
        ]
        return self._reshaped(self._op.concat(rows, 3), (1, count, 2 * r, 2 * r))

    def sample(self, feature: Node, raw: Node, resolution: int, *, channels: int) -> Node:
        """``feature``: ``sampling.to_table`` of it, or three plain channels."""
        flow = self._op.tanh(self._part(raw, 0, 2))
        if channels == 3:
            grid = self._op.add(flow, self._numbers(identity(resolution)))
            grid = self._op.transpose(grid, self._whole([0, 2, 3, 1]))
            how = {"align_corners": False, "mode": "bilinear", "padding_mode": "zeros"}
            return self._op.grid_sample(feature, grid, how)
        index, weight = self._corners(flow, resolution)
        rows = self._op.embedding_bag_packed_sum(feature, index, weight)  # (r², C)
        rows = self._reshaped(rows, (1, resolution, resolution, channels))
        # A change of name and not of place, as long as whoever reads it likes channels last.
        return self._op.transpose(rows, self._whole([0, 3, 1, 2]))

    def _corners(self, flow: Node, resolution: int) -> tuple[Node, Node]:
        """Which four rows of the table each place reads, (r², 4) int32, and how much of each, (r², 4)."""
        r, stride = resolution, resolution + BORDER
        # ((grid + flow + 1) · r - 1) / 2 pixels (align_corners=False), plus one for the table's border
        base = ((identity(r) + 1) * r + 1) / 2
        position = self._op.multiply(flow, self._numbers(torch.tensor([r / 2])))
        position = self._op.add(position, self._numbers(base))
        position = self._op.clamp(position, 0.0, r + 1.0)  # farther out is zero all the same
        corner = self._op.floor(position)
        rest = self._op.subtract(position, corner)
        rows = self._op.multiply(self._part(corner, 1, 2), self._numbers(torch.tensor([stride])))
        first = self._op.add(rows, self._part(corner, 0, 1))  # exact below 2^24
        steps = np.array([[0, 1, stride, stride + 1]], np.int32)
        index = self._op.convert(self._reshaped(first, (-1, 1)), "i32")
        index = self._op.add(index, self._op.constant(steps))
        x = self._reshaped(self._part(rest, 0, 1), (-1, 1))
        y = self._reshaped(self._part(rest, 1, 2), (-1, 1))

        def share(z: Node, ends: list[float]) -> Node:
            """1 - z where ``ends`` is 0, z where it is 1."""
            at = torch.tensor([ends], dtype=torch.float64)
            scaled = self._op.multiply(z, self._numbers(2 * at - 1))
            return self._op.add(scaled, self._numbers(1 - at))

        return index, self._op.multiply(share(x, [0, 1, 0, 1]), share(y, [0, 0, 1, 1]))

    def mask(self, raw: Node) -> Node:
        return self._op.sigmoid(self._part(raw, 2, 3))

    def masked(self, x: Node, mask: Node) -> Node:
        return self._op.multiply(x, mask)

    def blend(self, x: Node, warped: Node, mask: Node) -> Node:
        x = self._exact(x)
        return self._op.add(x, self._op.multiply(mask, self._op.subtract(warped, x)))

    def coloured(self, planes: Node, bias: Tensor, offset: Tensor) -> Node:
        x = self._leaky(self._op.add(planes, self._numbers(bias.view(1, -1, 1, 1))))
        return self._op.add(x, self._numbers(offset.view(1, -1, 1, 1)))

    # Edges of the graph: uint8 pictures in and out

    def picture(self, crop: Node, middle: float) -> Node:
        """(1, S, S, 3) uint8 -> (1, 3, S, S) about [-middle, middle]; exact in bf16 too."""
        x = self._op.subtract(self._exact(crop), self._numbers(torch.tensor([middle])))
        return self._op.transpose(x, self._whole([0, 3, 1, 2]))

    def pixels(self, picture: Node) -> Node:
        """(1, 3, S, S) about [-1, 1] -> uint8, planes."""
        half = self._numbers(torch.tensor([127.5]))
        x = self._op.clamp(self._op.add(self._op.multiply(picture, half), half), 0.0, 255.0)
        return self._op.convert(self._op.round(x, "half_to_even"), "u8")

    def flat(self, x: Node) -> Node:
        """(1, C, 4, 4) -> (1, C·16), float32."""
        return self._exact(self._reshaped(x, (1, -1)))

    def maps(self, vector: Node, resolution: int) -> Node:
        """(1, C·r²) -> (1, C, r, r)."""
        return self._reshaped(vector, (1, -1, resolution, resolution))

    def _leaky(self, x: Node) -> Node:
        return self._op.prelu(x, self._like(torch.tensor([LEAK]), x))

    def _part(self, x: Node, begin: int, end: int, axis: int = 1) -> Node:
        """Channels (or what else lies along ``axis``) from ``begin`` up to ``end``."""
        limits = (self._whole([number]) for number in (begin, end, 1, axis))
        return self._op.slice(x, *limits)

    def _shape(self, x: Node) -> list[int]:
        return [int(side) for side in x.get_output_shape(0)]

    def _reshaped(self, x: Node, shape: tuple[int, ...]) -> Node:
        return self._op.reshape(x, self._whole(list(shape)), False)

    def _lowered(self, x: Node) -> Node:
        """A map in the type that maps of its size are computed in."""
        return self._typed(x, "f32" if self._shape(x)[-1] < SMALL else self._low)

    def _exact(self, x: Node) -> Node:
        return self._typed(x, "f32")

    def _typed(self, x: Node, kind: str) -> Node:
        return x if _kind(x) == kind else self._op.convert(x, kind)

    def _numbers(self, tensor: Tensor) -> Node:
        values: NDArray[np.float32] = tensor.float().contiguous().numpy()
        return self._op.constant(values)

    def _like(self, tensor: Tensor, x: Node) -> Node:
        """Numbers in the type of ``x``, rounded to the nearest."""
        kind = _kind(x)
        return self._typed(self._numbers(tensor.bfloat16() if kind == "bf16" else tensor), kind)

    def _whole(self, numbers: int | list[int]) -> Node:
        return self._op.constant(np.array(numbers, np.int64))


def _kind(x: Node) -> str:
    name: str = x.get_element_type().get_type_name()
    return name
