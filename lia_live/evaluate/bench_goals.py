"""What this project wants of a two-core laptop with matrix units (AMX), or of a GPU, beside what was measured."""

from __future__ import annotations

from dataclasses import dataclass

from lia_live.evaluate.bench import Bench
from lia_live.evaluate.bench_model import ENOUGH_DB, Backend, best_of

MODEL = "the network"
LIVE = "live loop, 720p30 file as camera"


@dataclass(frozen=True)
class Goal:
    """One wish."""

    of: str
    what: str
    measured: float
    unit: str
    wanted: float
    at_most: bool
    """True: ``measured`` should be ``wanted`` or less; False: or more."""

    @property
    def met(self) -> bool:
        """Whether it is."""
        if self.at_most:
            return self.measured <= self.wanted
        return self.measured >= self.wanted

    @property
    def goal(self) -> str:
        """ "≤ 45 ms"."""
        return f"{'≤' if self.at_most else '≥'} {self.wanted:g} {self.unit}".rstrip()


def goals(bench: Bench) -> list[Goal]:
    """Those whose figure was measured."""
    found: list[Goal] = []

    def want(of: str, what: str, measured: float, unit: str, wanted: float, at_most: bool) -> None:
        found.append(Goal(of, what, measured, unit, wanted, at_most))

    if bench.machine.gpu:
        best = best_of(bench.backends, "full-size")
        if best is not None:
            name = f"{best.name} {best.precision}"
            want("full-size, best", f"frame p50 ({name})", best.frame_ms_p50, "ms", 2, True)
            want("full-size, best", f"batches of {best.batch}", best.batch_fps, "fps", 3000, False)
            want("full-size, best", "PSNR to fp32", best.psnr_db, "dB", ENOUGH_DB, False)
        return found
    exact = _exact(bench)
    if exact is not None:
        want(
            "full-size, fp32", f"faster than published ({exact.name})", exact.speedup, "×", 6, False
        )
    best = best_of(bench.backends, "full-size")
    if best is not None:
        name = f"{best.name} {best.precision}"
        want("full-size, best", f"frame p50 ({name})", best.frame_ms_p50, "ms", 40, True)
        want("full-size, best", "faster than published", best.speedup, "×", 35, False)
        want("full-size, best", "PSNR to fp32", best.psnr_db, "dB", ENOUGH_DB, False)
        share = _share_of_bf16(bench, best)
        want("full-size, best", "of the bf16 matmul rate", 100 * share, "%", 75, False)
    best = best_of(bench.backends, "default")
    if best is not None:
        name = f"{best.name} {best.precision}"
        want("default, best", f"frame p50 ({name})", best.frame_ms_p50, "ms", 12, True)
        want("default, best", "PSNR to fp32", best.psnr_db, "dB", ENOUGH_DB, False)
        want("default, best", "mean |Δα| of s.d.", 100 * best.alpha_error, "%", 2, True)
    if bench.live is not None:
        want(LIVE, "rate", bench.live.fps, "fps", 29.5, False)
        want(LIVE, "age p50", bench.live.age_ms["p50"], "ms", 45, True)
        want(LIVE, "age p95", bench.live.age_ms["p95"], "ms", 70, True)
        want(LIVE, "of all cores", 100 * bench.live.cores_share, "%", 70, True)
        first = sorted(run.to_first_picture_s for run in bench.live.runs)[len(bench.live.runs) // 2]
        want("start-up", "to the first avatar picture", first, "s", 4, True)
        memory = max(run.rss_mb for run in bench.live.runs)
        want("memory", "largest resident set", memory, "MiB", 1024, True)
    if bench.beside_load is not None:
        want("beside a busy core", "rate", bench.beside_load.fps, "fps", 20, False)
        want("beside a busy core", "age p95", bench.beside_load.age_ms["p95"], "ms", 150, True)
    return found


def _exact(bench: Bench) -> Backend | None:
    exact = [b for b in bench.backends if b.model == "full-size" and b.precision == "fp32"]
    return min(exact, key=lambda b: b.frame_ms_p50, default=None)


def _share_of_bf16(bench: Bench, backend: Backend) -> float:
    if backend.share_of == "bf16":
        return backend.share_of_matmul
    machine = bench.machine
    return backend.share_of_matmul * machine.matmul_fp32_tflops / machine.matmul_bf16_tflops
