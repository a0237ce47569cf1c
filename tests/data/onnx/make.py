"""Made the three .onnx files beside it, once: `python make.py` with the onnx package (1.19), which no test needs.

identity.onnx: (x - 127.5) / 127.5, means over 28 x 28 blocks, flattened: 48 numbers of a 112-pixel picture.
distance.onnx: mean squared difference of two pictures of any one size.
features.onnx: mean red, green and blue of a 299-pixel picture.
"""

from __future__ import annotations

from pathlib import Path

import onnx  # type: ignore[import-not-found, import-untyped, unused-ignore]
from onnx import TensorProto, helper

HERE = Path(__file__).resolve().parent


def picture(name: str, side: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, side, side])


def number(name: str, value: float) -> onnx.TensorProto:
    return helper.make_tensor(name, TensorProto.FLOAT, [1], [value])


def save(
    name: str,
    inputs: list[onnx.ValueInfoProto],
    nodes: list[onnx.NodeProto],
    weights: list[onnx.TensorProto],
    shape: list[int],
) -> None:
    output = helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, name, inputs, [output], weights)
    model = helper.make_model(
        graph, producer_name="lia-live tests", opset_imports=[helper.make_opsetid("", 13)]
    )
    model.ir_version = 8
    onnx.save(model, str(HERE / f"{name}.onnx"))


save(
    "identity",
    [picture("face", 112)],
    [
        helper.make_node("Sub", ["face", "half"], ["centred"]),
        helper.make_node("Div", ["centred", "half"], ["scaled"]),
        helper.make_node(
            "AveragePool", ["scaled"], ["blocks"], kernel_shape=[28, 28], strides=[28, 28]
        ),
        helper.make_node("Flatten", ["blocks"], ["out"]),
    ],
    [number("half", 127.5)],
    [1, 48],
)
save(
    "distance",
    [picture("a", "side"), picture("b", "side")],
    [
        helper.make_node("Sub", ["a", "b"], ["apart"]),
        helper.make_node("Mul", ["apart", "apart"], ["squared"]),
        helper.make_node("GlobalAveragePool", ["squared"], ["by_colour"]),
        helper.make_node("ReduceMean", ["by_colour"], ["out"], axes=[1], keepdims=1),
    ],
    [],
    [1, 1, 1, 1],
)
save(
    "features",
    [picture("picture", 299)],
    [
        helper.make_node("GlobalAveragePool", ["picture"], ["means"]),
        helper.make_node("Flatten", ["means"], ["out"]),
    ],
    [],
    [1, 3],
)
