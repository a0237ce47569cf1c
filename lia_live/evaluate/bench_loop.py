"""The whole program on a file paced as a camera: rate, age, processor, start-up, memory; alone and beside a load.

Each run is a process of its own, the very command that a user types, so that what is measured is what they get.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from lia_live.errors import DeviceError
from lia_live.evaluate.machine import Watch, usable_cores

SETTLED_S: Final = 2.0
"""The first seconds of a run find the neutral and fill caches: processor time is counted after them."""
SAMPLED_S: Final = 0.1
PATIENCE_S: Final = 120.0
"""A run that takes so much longer than it should is given up."""
_LOAD = "while True: pass"

Say = Callable[[str], None]


@dataclass(frozen=True)
class LoopRun:
    """One run of the program."""

    fps: float
    """New avatar pictures a second."""
    age_ms_p50: float
    """Capture to hand-over."""
    age_ms_p95: float
    model_ms_p50: float
    track_ms_p50: float
    cores: float
    """Kept busy by the program once it runs, on average."""
    to_first_picture_s: float
    """From the start of the process to the first avatar picture at the output."""
    rss_mb: float
    """Largest resident set, MiB."""
    frames: int
    dropped: int
    engine: str
    """What ran the network: engine and precision, as the program chose."""


@dataclass(frozen=True)
class LoopFigures:
    """Medians over the runs of one kind."""

    fps: float
    age_ms: dict[str, float]
    """{"p50", "p95"}: median over runs."""
    cores_share: float
    """Of all usable cores."""
    runs: list[LoopRun]


def loop_figures(runs: Sequence[LoopRun]) -> LoopFigures:
    """Raises ``ValueError`` for no runs."""
    if not runs:
        raise ValueError("there must be a run")
    ages = {
        "p50": round(statistics.median(run.age_ms_p50 for run in runs), 1),
        "p95": round(statistics.median(run.age_ms_p95 for run in runs), 1),
    }
    return LoopFigures(
        fps=round(statistics.median(run.fps for run in runs), 2),
        age_ms=ages,
        cores_share=round(statistics.median(run.cores for run in runs) / usable_cores(), 3),
        runs=list(runs),
    )


def measure_loop(
    bundle: Path,
    clip: Path,
    model_flags: Sequence[str],
    seconds: float,
    repeats: int,
    watch: Watch,
    say: Say = lambda text: None,
) -> tuple[LoopFigures, LoopFigures]:
    """``repeats`` runs alone and as many beside a process that keeps one core busy, in turns.

    ``bundle``: the avatar; ``clip``: played over and over as the camera. Raises ``DeviceError`` when the
    program fails.
    """

    def run() -> LoopRun:
        try:
            return run_once(bundle, clip, model_flags, seconds, start_s, watch)
        except DeviceError:
            say("live")  # Ctrl-C ends the run too, and then that is what has happened
            raise

    start_s = interpreter_s(watch)
    alone: list[LoopRun] = []
    beside: list[LoopRun] = []
    for number in range(repeats):
        say(f"live: run {number + 1} of {repeats}")
        alone.append(run())
        say(f"live beside a busy core: run {number + 1} of {repeats}")
        with busy_core(watch):
            beside.append(run())
    return loop_figures(alone), loop_figures(beside)


def interpreter_s(watch: Watch) -> float:
    """What python and the command line take before the program itself begins to count; the better of two."""
    best = float("inf")
    for _ in range(2):
        began = time.perf_counter()
        process = psutil.Popen(
            [sys.executable, "-m", "lia_live", "--version"], stdout=subprocess.DEVNULL
        )
        process.wait()
        took = time.perf_counter() - began
        watch.ours(took)  # about: one thread, nothing to wait for
        best = min(best, took)
    return best


def run_once(
    bundle: Path,
    clip: Path,
    model_flags: Sequence[str],
    seconds: float,
    start_s: float,
    watch: Watch,
) -> LoopRun:
    """One run without a sink that costs anything, 1280x720 out. Raises ``DeviceError`` when it fails."""
    with tempfile.TemporaryDirectory() as folder:
        stats_file = Path(folder, "stats.json")
        began = time.perf_counter()
        process = psutil.Popen(
            [
                sys.executable, "-m", "lia_live", "run",
                "--avatar", str(bundle), "--camera", str(clip), "--loop", "--output", "none",
                "--duration", f"{seconds:g}", "--stats-json", str(stats_file), *model_flags,
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            samples = _sampled(process, began + seconds + PATIENCE_S)
            _, told = process.communicate()
        finally:
            if process.poll() is None:  # the user has had enough: nothing is left running
                process.kill()
        if samples:
            watch.ours(samples[-1][1])
        if process.returncode != 0 or not stats_file.is_file():
            raise DeviceError(
                f"the live loop ended with code {process.returncode}: {(told or '').strip()[-300:]}",
                "try the same without the bench: lia-live demo",
            )
        stats: dict[str, Any] = json.loads(stats_file.read_text(encoding="utf-8"))
    first = start_s + (stats["startup_s"] or 0.0)
    return LoopRun(
        fps=stats["fps"],
        age_ms_p50=stats["age_ms"]["p50"],
        age_ms_p95=stats["age_ms"]["p95"],
        model_ms_p50=stats["model_ms"]["p50"],
        track_ms_p50=stats["track_ms"]["p50"],
        cores=_cores(samples, began + first),
        to_first_picture_s=round(first, 2),
        rss_mb=round(max((sample[2] for sample in samples), default=0.0), 1),
        frames=stats["frames_out"],
        dropped=stats["dropped"],
        engine=f"{stats['engine']} {stats['precision']}",
    )


@contextmanager
def busy_core(watch: Watch) -> Iterator[None]:
    """Another process that computes without end, ended at the end of the block."""
    process = psutil.Popen([sys.executable, "-c", _LOAD])
    try:
        yield
    finally:
        times = process.cpu_times()
        watch.ours(times.user + times.system)
        process.kill()
        process.wait()


def _sampled(process: psutil.Popen, deadline: float) -> list[tuple[float, float, float]]:
    """(time, processor seconds so far, resident MiB) until the process ends; it is killed at ``deadline``."""
    samples: list[tuple[float, float, float]] = []
    while process.poll() is None:
        try:
            with process.oneshot():
                times, memory = process.cpu_times(), process.memory_info()
        except psutil.Error:  # it ended this moment
            break
        now = time.perf_counter()
        samples.append((now, times.user + times.system, memory.rss / 2**20))
        if now > deadline:
            process.kill()
        time.sleep(SAMPLED_S)
    return samples


def _cores(samples: Sequence[tuple[float, float, float]], first_picture: float) -> float:
    """Cores kept busy from shortly after the first picture to the end."""
    steady = [sample for sample in samples if sample[0] >= first_picture + SETTLED_S]
    if len(steady) < 2:
        steady = [sample for sample in samples if sample[0] >= first_picture]
    if len(steady) < 2:
        return 0.0
    passed = steady[-1][0] - steady[0][0]
    return round((steady[-1][1] - steady[0][1]) / passed, 3)
