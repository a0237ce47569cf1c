"""How ONNX draws the network: plain float32 operators, any batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lia_live.model.layers import LEAK, fir_kernel
from lia_live.render.graph import identity

OPSET = 17
"""The first with everything used here is 16 (GridSample)."""
IR_VERSION = 8
BATCH = "N"


class OnnxOps:
    """``graph.Ops`` over names of ONNX values. Collects nodes and constants; ``model`` makes a file of them."""

    def __init__(self, onnx: Any) -> None:
        self._onnx = onnx
        self._helper = onnx.helper
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._named = 0

    def parameter(self, name: str, *sides: int) -> str:
        """An input: (N, *sides) float32."""
        self._inputs.append(self._described(name, sides))
        return name

    def result(self, value: str, name: str, *sides: int) -> None:
        """An output: (N, *sides) float32."""
        self._nodes.append(self._helper.make_node("Identity", [value], [name]))
        self._outputs.append(self._described(name, sides))

    def model(self, name: str, notes: dict[str, str]) -> Any:
        """What was drawn, checked, with ``notes`` as the file's metadata."""
        graph = self._helper.make_graph(
            self._nodes, name, self._inputs, self._outputs, self._constants
        )
        opset = self._helper.make_opsetid("", OPSET)
        model = self._helper.make_model(
            graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="lia-live"
        )
        self._helper.set_model_props(model, notes)
        self._onnx.checker.check_model(model)
        return model

    # graph.Ops

    def convolution(
        self, x: str, weight: Tensor, bias: Tensor | None = None, *, stride: int = 1, padding: int = 0,
        leaky: bool = False,
    ) -> str:  # fmt: skip
        inputs = [x, self._numbers(weight), *([] if bias is None else [self._numbers(bias)])]
        x = self._node("Conv", *inputs, strides=[stride] * 2, pads=[padding] * 4)
        return self._leaky(x) if leaky else x

    def up_convolution(self, x: str, weight: Tensor) -> str:
        return self._node("ConvTranspose", x, self._numbers(weight), strides=[2, 2])

    def blur(self, x: str, kernel: Tensor, channels: int, *, stride: int, padding: int) -> str:
        weight = self._numbers(kernel.expand(channels, 1, 4, 4))
        return self._node(
            "Conv", x, weight, strides=[stride] * 2, pads=[padding] * 4, group=channels
        )

    def add(self, a: str, b: str) -> str:
        return self._node("Add", a, b)

    def styled(self, x: str, style: str) -> str:
        return self._node("Mul", x, self._node("Unsqueeze", style, self._whole([2, 3])))

    def activation(self, x: str, scale: str, bias: Tensor) -> str:
        return self._leaky(self.add(self.styled(x, scale), self._numbers(bias.view(1, -1, 1, 1))))

    def affine(self, vector: str, matrix: Tensor, offset: Tensor | None = None) -> str:
        found = self._node("MatMul", vector, self._numbers(matrix))
        return found if offset is None else self.add(found, self._numbers(offset[None]))

    def demodulation(self, style: str, energy: Tensor, eps: float) -> str:
        norm = self.affine(self._node("Mul", style, style), energy)
        norm = self.add(norm, self._constant(np.array([eps], np.float32)))
        return self._node("Reciprocal", self._node("Sqrt", norm))

    def split(self, vector: str, sizes: Sequence[int]) -> list[str]:
        names = [self._name() for _ in sizes]
        sizes_ = self._whole(list(sizes))
        self._nodes.append(self._helper.make_node("Split", [vector, sizes_], names, axis=1))
        return names

    def planes(self, x: str, weight: Tensor, bias: Tensor) -> str:
        return self._node("Conv", x, self._numbers(weight[:, :, None, None]), self._numbers(bias))

    def projected(self, sampled: str, weight: Tensor) -> str:
        return self._node("Conv", sampled, self._numbers(weight[:, :, None, None]))

    def double(self, planes: str, resolution: int) -> str:
        weight = self._numbers(
            fir_kernel(4.0).expand(3, 1, 4, 4)
        )  # always three: flow and mask, colour
        return self._node("ConvTranspose", planes, weight, strides=[2, 2], pads=[1] * 4, group=3)

    def sample(self, feature: str, raw: str, resolution: int, *, channels: int) -> str:
        """``feature``: (N, C, r, r)."""
        flow = self._node("Tanh", self._part(raw, 0, 2))
        grid = self.add(flow, self._numbers(identity(resolution)))
        grid = self._node("Transpose", grid, perm=[0, 2, 3, 1])
        return self._node(
            "GridSample", feature, grid, mode="bilinear", padding_mode="zeros", align_corners=0
        )

    def mask(self, raw: str) -> str:
        return self._node("Sigmoid", self._part(raw, 2, 3))

    def masked(self, x: str, mask: str) -> str:
        return self._node("Mul", x, mask)

    def blend(self, x: str, warped: str, mask: str) -> str:
        return self.add(x, self.masked(self._node("Sub", warped, x), mask))

    def coloured(self, planes: str, bias: Tensor, offset: Tensor) -> str:
        x = self._leaky(self.add(planes, self._numbers(bias.view(1, -1, 1, 1))))
        return self.add(x, self._numbers(offset.view(1, -1, 1, 1)))

    # Edges

    def flat(self, x: str) -> str:
        """(N, C, r, r) -> (N, C·r²)."""
        return self._node("Flatten", x, axis=1)

    def maps(self, vector: str, channels: int, resolution: int) -> str:
        """(N, C·r²) -> (N, C, r, r)."""
        return self._node("Reshape", vector, self._whole([-1, channels, resolution, resolution]))

    def _leaky(self, x: str) -> str:
        return self._node("LeakyRelu", x, alpha=LEAK)

    def _part(self, x: str, begin: int, end: int) -> str:
        """Channels from ``begin`` up to ``end``."""
        return self._node("Slice", x, *(self._whole([n]) for n in (begin, end, 1)))

    def _node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = self._name()
        self._nodes.append(self._helper.make_node(kind, inputs, [name], **attributes))
        return name

    def _name(self) -> str:
        self._named += 1
        return f"v{self._named}"

    def _numbers(self, tensor: Tensor) -> str:
        return self._constant(tensor.float().contiguous().numpy())

    def _whole(self, numbers: list[int]) -> str:
        return self._constant(np.array(numbers, np.int64))

    def _constant(self, values: NDArray[Any]) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(self._onnx.numpy_helper.from_array(values, name))
        return name

    def _described(self, name: str, sides: Sequence[int]) -> Any:
        kind = self._onnx.TensorProto.FLOAT
        return self._helper.make_tensor_value_info(name, kind, [BATCH, *sides])
