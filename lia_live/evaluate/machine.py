"""What the figures were measured on: the machine's name, its own matmul rate, and whether others were using it."""

from __future__ import annotations

import os
import platform
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil
import torch

BUSY_CORES: Final = 0.15
"""Others that keep more than this many cores busy make a measurement worth little."""
LOOK_S: Final = 1.0
"""How long the machine is watched before anything is measured."""


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name() -> str:
    """The processor as the system calls it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def matrix_units() -> list[str]:
    """Of the instruction sets that bf16 and int8 want, those that this cpu has; empty where that is unknown."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return []
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    known = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
    return [name for name in known if name in line.split()]


class Watch:
    """How many cores others kept busy since it was made: the whole machine's work less our own.

    Processes that were started here must be told of (``ours``), or they count as others.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._began = time.perf_counter()
        self._own_before = self._own()
        self._all_before = _work()

    def ours(self, seconds: float) -> None:
        """So much processor time was used by a process that belongs to the measurement."""
        self._own_before -= seconds

    def others(self) -> float:
        """Cores, on average until now; 0 and up."""
        passed = time.perf_counter() - self._began
        if passed <= 0:
            return 0.0
        own = self._own() - self._own_before
        return max(0.0, (_work() - self._all_before - own) / passed)

    def _own(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


def others_now(seconds: float = LOOK_S) -> float:
    """Cores that others keep busy while this process waits."""
    watch = Watch()
    time.sleep(seconds)
    return watch.others()


def _work() -> float:
    """Processor seconds used on the whole machine since it was started, what the hypervisor took included."""
    times = psutil.cpu_times()
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # already in user
    waiting = times.idle + getattr(times, "iowait", 0.0)
    return float(sum(times) - waiting - guests)


@dataclass
class Matmul:
    """Square matrix products, torch's own, measured again and again between other things.

    ``side``: of the matrices; large enough that neither start nor memory counts.
    """

    dtype: torch.dtype
    device: torch.device
    threads: int
    side: int = 2048
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        shape = (self.side, self.side)
        self._a, self._b = (torch.randn(shape, device=self.device).to(self.dtype) for _ in range(2))
        self._out = torch.empty(shape, device=self.device, dtype=self.dtype)

    def turn(self, count: int = 3) -> None:
        """One product unmeasured, then ``count`` measured ones."""
        torch.set_num_threads(self.threads)
        for number in range(count + 1):
            began = time.perf_counter()
            torch.mm(self._a, self._b, out=self._out)
            if self.device.type != "cpu":
                self._out[0, 0].item()  # waits for the device
            if number:
                self.seconds.append(time.perf_counter() - began)

    @property
    def tflops(self) -> float:
        """Median rate in 10^12 operations a second, a multiply-add being two."""
        return 2 * self.side**3 / statistics.median(self.seconds) / 1e12
