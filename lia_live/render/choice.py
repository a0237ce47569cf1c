"""The ways to run the network that this machine has."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from lia_live.render import openvino_runtime
from lia_live.render.kernels import onednn_works

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
"""Of the convolutions: whatever moves pixels is fp32 in all of them."""
MOST_THREADS = 8


@dataclass(frozen=True)
class Choice:
    """One engine in one precision."""

    engine: str
    """A key of ``engines.ENGINES``."""
    precision: str
    """One of ``PRECISIONS``."""

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}"


def available(device: str | torch.device = "cpu") -> tuple[Choice, ...]:
    """Every engine and precision that runs on ``device`` here, and gains by it; the quicker ones usually first.

    Emulated arithmetic is left out (bf16 on a cpu without it), and engines whose package is not installed.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return tuple(Choice("torch", precision) for precision in ("fp16", "bf16", "fp32"))
    if kind != "cpu":
        return (Choice("torch", "fp32"),)
    engines = ("openvino", "torch") if openvino_runtime.installed() else ("torch",)
    int8 = [Choice("openvino", "int8")] if "openvino" in engines and computes_int8() else []
    low = ("bf16",) if computes_bf16() else ()
    return (
        *(Choice(engine, precision) for precision in (*low, "fp32") for engine in engines),
        *int8,
    )


def computes_bf16() -> bool:
    """Whether the cpu has bf16 arithmetic: without it, bf16 is emulated and slower than fp32."""
    if not onednn_works(torch.device("cpu"), torch.bfloat16):
        return False
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def computes_int8() -> bool:
    """Whether the cpu multiplies bytes faster than it does floats."""
    return torch.cpu._is_vnni_supported() or torch.cpu._is_amx_tile_supported()


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_counts() -> list[int]:
    """Those worth trying, the fewest first."""
    return [count for count in (1, 2, 4, MOST_THREADS) if count <= usable_cores()]
