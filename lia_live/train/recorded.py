"""The gradients of a step as one CUDA graph: recorded once, replayed at every step.

A joint step launches some three thousand small kernels, and launching them takes a CPU longer than a large GPU takes
to run them. A graph is launched as a whole. What is compiled before has fewer of them: most only read and write
memory, and a fused one reads and writes it once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from lia_live.render.cuda_graphs import warm_up

WORTH_COMPILING = 5000
"""Steps of a stage that win back the time which compiling takes: on an H200 79 s, for 15 ms a step."""
OPTIONS: dict[str, str | int | bool | Callable[..., object]] = {
    "shape_padding": False  # would time every matrix product, and those here are thin
}

P = ParamSpec("P")
R = TypeVar("R")


def is_worth_compiling(wish: Literal["auto", "always", "never"], steps: int) -> bool:
    """Whether a stage of so many joint steps is compiled; ``wish``: ``TrainConfig.compiled``."""
    return wish == "always" or (wish == "auto" and steps >= WORTH_COMPILING)


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """The same from fused kernels, its backward too; made at its first call, which raises what stands against it.

    Shapes and strides are those of that call. ``Recorded`` makes its calls before it records.
    """
    return torch.compile(function, fullgraph=True, dynamic=False, options=OPTIONS)


class Recorded:
    """``compute`` on inputs of fixed shapes: figures (n,), and a gradient of each parameter of ``module``."""

    def __init__(
        self, compute: Callable[..., Tensor], inputs: Sequence[Tensor], module: nn.Module
    ) -> None:
        """``compute(*inputs)`` runs backward from no gradients and must not wait for the GPU."""
        self._compute = compute  # keeps the kernels that the graph launches
        self._inputs = [value.clone() for value in inputs]
        self._parameters = list(module.parameters())

        def once() -> None:
            module.zero_grad(set_to_none=True)
            compute(*self._inputs)

        warm_up(once, inputs[0].device)
        module.zero_grad(set_to_none=True)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._figures = compute(*self._inputs)
        self._gradients = [parameter.grad for parameter in self._parameters]

    def __call__(self, inputs: Sequence[Tensor]) -> Tensor:
        """The figures; the parameters' gradients are there until the next call."""
        for kept, value in zip(self._inputs, inputs, strict=True):
            kept.copy_(value)
        self._graph.replay()
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        return self._figures
