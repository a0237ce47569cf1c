"""Which way to run on a GPU is the fastest, and where its time goes: tables for a person who decides.

Times of graphs alone (events on the device) and through the renderer's door (numpy in, numpy out).
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from lia_live.evaluate.recipe import fill_by_recipe
from lia_live.model import LIA, LIAConfig, to_tensor
from lia_live.render.agreement import probe
from lia_live.render.torch_renderer import TorchRenderer

PROFILED = ((1, 18), (32, 18))
"""(batch, rows)"""
DEVICE = torch.device(sys.argv[1] if len(sys.argv) > 1 else "cuda")
CONFIG = LIAConfig() if DEVICE.type == "cuda" else LIAConfig(size=32, width=0.0625)


def main() -> None:
    began = time.perf_counter()
    network = fill_by_recipe(LIA(CONFIG)).to(DEVICE)
    crop = probe(CONFIG.size)
    with torch.inference_mode():
        look = network.encode_appearance(to_tensor(crop, DEVICE))
    print(
        f"{torch.cuda.get_device_name() if DEVICE.type == 'cuda' else 'cpu'}, torch {torch.__version__}"
    )
    if DEVICE.type == "cuda":
        convolutions()
    print(f"weights drawn and convolutions timed: {time.perf_counter() - began:.1f} s")
    print(
        "kernels type batch opening s | door: encode ms, render ms, frames/s | graphs: the same, GB"
    )
    for kernels, precision, sizes in (
        ("triton", "fp16", (1, 32, 8)), ("plain", "fp16", (1,)), ("triton", "bf16", (1, 32)),
        ("triton", "fp32", (1,)),
    ):  # fmt: skip
        os.environ["LIA_LIVE_GPU"] = kernels
        try:
            renderer = TorchRenderer(network, precision=precision, device=DEVICE)
            avatar = renderer.load_avatar(look)
            for size in sizes:
                row(kernels, renderer, avatar, crop, size)
            if (kernels, precision) == ("triton", "fp16"):
                for size, rows in PROFILED:
                    profile(renderer, avatar, crop, size, rows)
            del renderer, avatar
        except Exception as error:
            print(f"{kernels} {precision}: {type(error).__name__}: {str(error)[:600]}")
    print(f"{time.perf_counter() - began:.1f} s")


def row(kernels: str, renderer: TorchRenderer, avatar: object, crop: np.ndarray, size: int) -> None:
    crops, avatars = np.repeat(crop[None], size, axis=0), [avatar] * size
    began = time.perf_counter()
    alpha = renderer.encode_motion(crops)
    renderer.render(avatars, alpha)
    opening = time.perf_counter() - began
    encode = typical(lambda: renderer.encode_motion(crops))
    render = typical(lambda: renderer.render(avatars, alpha))
    inner = ""
    if renderer._graphs is not None:
        one = on_device(renderer._graphs[0]._recorded[size][1])
        two = on_device(renderer._graphs[1]._stages[size]._run)
        gb = torch.cuda.memory_reserved() / 2**30
        inner = f"{one:7.3f} {two:7.3f} {1e3 * size / (one + two):8.0f} {gb:6.1f}"
    print(
        f"{kernels:7s} {renderer.precision:5s} {size:4d} {opening:8.1f} {encode:14.3f} {render:8.3f} "
        f"{1e3 * size / (encode + render):9.0f}        {inner}",
        flush=True,
    )


def typical(run: Callable[[], object]) -> float:
    """Median, ms."""
    spent: list[float] = []
    while len(spent) < 5 or (sum(spent) < 0.3 and len(spent) < 300):
        began = time.perf_counter()
        run()
        spent.append(time.perf_counter() - began)
    return 1e3 * statistics.median(spent[1:])


def on_device(run: Callable[[], object]) -> float:
    """ms of the device."""
    times: list[float] = []
    for _ in range(15):
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        run()
        last.record()
        last.synchronize()
        times.append(first.elapsed_time(last))
    return statistics.median(times[3:])


def profile(
    renderer: TorchRenderer, avatar: object, crop: np.ndarray, size: int, rows: int
) -> None:
    """Where a batch's time goes, kernel by kernel."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    crops, avatars = np.repeat(crop[None], size, axis=0), [avatar] * size
    with profiler(activities=[ProfilerActivity.CUDA]) as seen:
        for _ in range(5):
            renderer.render(avatars, renderer.encode_motion(crops))
    events = sorted(seen.key_averages(), key=lambda e: -e.self_device_time_total)
    total = sum(e.self_device_time_total for e in events)
    print(
        f"batch {size}: {total / 5e3:.3f} ms on the device, {sum(e.count for e in events) / 5:.0f} kernels"
    )
    for event in events[:rows]:
        share = 100 * event.self_device_time_total / total
        print(
            f"  {share:5.1f} %  {event.self_device_time_total / 5:9.1f} us  {event.count / 5:4.0f} x  {event.key[:90]}"
        )


def convolutions() -> None:
    """Rates of the biggest ones by cuDNN, batch 32, fp16: what the rest can hope for."""
    print("convolution, batch 32 fp16: TFLOP/s")
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, benchmark=True):
        for r, inputs, outputs, kind in (
            (256, 64, 64, "3x3"), (128, 128, 128, "3x3"), (64, 256, 256, "3x3"), (32, 512, 512, "3x3"),
            (257, 64, 128, "down"), (129, 128, 256, "down"), (128, 128, 64, "up"), (64, 256, 128, "up"),
            (128, 128, 256, "3x3"), (64, 256, 512, "3x3"),
        ):  # fmt: skip
            x = torch.randn(32, inputs, r, r, device="cuda", dtype=torch.float16)
            x = x.contiguous(memory_format=torch.channels_last)
            shape = (inputs, outputs, 3, 3) if kind == "up" else (outputs, inputs, 3, 3)
            weight = torch.randn(shape, device="cuda", dtype=torch.float16) / 50
            weight = weight.contiguous(memory_format=torch.channels_last)
            if kind == "up":
                run = lambda: torch.nn.functional.conv_transpose2d(x, weight, stride=2)  # noqa: B023, E731
            else:
                run = lambda: torch.nn.functional.conv2d(  # noqa: E731
                    x, weight, stride=2 if kind == "down" else 1, padding=int(kind == "3x3")  # noqa: B023
                )  # fmt: skip
            for _ in range(3):
                run()
            ms = on_device(run)
            places = 32 * ((r - 1) // 2 if kind == "down" else r) ** 2
            rate = 2 * 9 * places * inputs * outputs / ms / 1e9
            print(
                f"  {kind:5s} {inputs:3d} -> {outputs:3d} at {r:3d}: {ms:6.3f} ms {rate:6.0f}",
                flush=True,
            )


main()
