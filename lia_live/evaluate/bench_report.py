"""A bench as numbers for programs, as tables for the terminal and as a page with plots."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from lia_live.evaluate.bench import Bench
from lia_live.evaluate.bench_goals import goals
from lia_live.evaluate.bench_loop import LoopFigures
from lia_live.evaluate.bench_model import best_of
from lia_live.evaluate.page import Page
from lia_live.evaluate.table import Cell, Table
from lia_live.model.weights_file import write_atomically

HTML, JSON = "bench.html", "bench.json"
TEXT_WIDTH: Final = 100
PUBLISHED: Final = "as published"
METHOD: Final = (
    "Every engine takes its turn in every round, in a new order each time, and one frame before each turn is not "
    "counted; figures are medians and 95th percentiles of all frames. As published: plain torch in fp32, the source "
    "encoded again for each frame. Share of matmul: the multiply-adds of one driving frame over the time of a frame, "
    "against torch's own product of two large matrices on as many threads in the same run. PSNR and |Δα|: against "
    "the published network on the same frames of a real face. A live run is the program itself in a process of its "
    "own, a 720p30 file as its camera, 1280x720 out."
)


def as_json(bench: Bench) -> dict[str, Any]:
    """Everything as plain values for ``json.dumps``; what was not measured is None or empty."""
    live, beside = bench.live, bench.beside_load
    return {
        "machine": {**asdict(bench.machine), "busy": bench.machine.busy},
        "weights": bench.weights,
        "quick": bench.quick,
        "reference_ms": bench.reference_ms,
        "speedup": bench.speedup,
        "references": [asdict(one) for one in bench.references],
        "backends": [asdict(one) for one in bench.backends],
        "left_out": bench.left_out,
        "loop": None if live is None else asdict(live),
        "loop_beside_load": None if beside is None else asdict(beside),
        "startup": None
        if live is None
        else {"to_first_picture_s": [run.to_first_picture_s for run in live.runs]},
        "memory": None if live is None else {"rss_mb": max(run.rss_mb for run in live.runs)},
        "media": [asdict(one) for one in bench.media],
        "goals": [{**asdict(one), "met": one.met} for one in goals(bench)],
        "took_s": bench.took_s,
    }


def write_report(bench: Bench, folder: Path) -> tuple[Path, Path]:
    """Write the page and the numbers into ``folder``, which exists. Raises ``StorageError``."""
    page, numbers = folder / HTML, folder / JSON
    write_atomically(numbers, (json.dumps(as_json(bench), indent=1) + "\n").encode())
    build_page(bench).save(page)
    return page, numbers


def warnings(bench: Bench) -> list[str]:
    """What keeps the figures from being quoted; empty where all is well."""
    found = []
    machine = bench.machine
    if machine.busy:
        found.append(
            f"this machine was busy with other things ({machine.others_before:.1f} cores before, "
            f"{machine.others_during:.1f} of {machine.cores} on average meanwhile): close them and measure again"
        )
    if bench.quick:
        found.append("a quick look: too few rounds to be quoted")
    return found


def tables(bench: Bench) -> list[Table]:
    """All that was measured."""
    found = [_machine(bench)]
    if bench.backends:
        found.append(_backends(bench))
    if bench.live is not None and bench.beside_load is not None:
        found.append(_live(bench.live, bench.beside_load))
    if bench.media:
        rows: list[list[Cell]] = [[m.step, m.where, m.ms_p50, m.ms_p95] for m in bench.media]
        found.append(Table("media, ms a frame", ("step", "where", "p50", "p95"), rows))
    wanted: list[list[Cell]] = [
        [g.of, g.what, f"{g.measured:.4g} {g.unit}", g.goal, "met" if g.met else "short"]
        for g in goals(bench)
    ]
    if wanted:
        headers = ("", "", "measured", "goal", "")
        of = "an H200" if bench.machine.gpu else "two cores with matrix units (AMX)"
        found.append(Table(f"goals, set for {of}", headers, wanted))
    return found


def as_text(bench: Bench) -> str:
    """The tables for a terminal."""
    words = [f"Left out: {name}: {why}" for name, why in bench.left_out.items()]
    words += [f"NOTE: {text}" for text in warnings(bench)]
    parts = [table.text() for table in tables(bench)]
    return "\n\n".join([*parts, *(textwrap.fill(text, TEXT_WIDTH) for text in words)])


def build_page(bench: Bench) -> Page:
    """The page: plots, then the tables."""
    machine = bench.machine
    page = Page(
        "How fast this machine is at it",
        f"{machine.cpu}, {machine.cores} cores, {machine.device}; weights: {bench.weights}",
    )
    for text in warnings(bench):
        page.paragraph(f"Note: {text}.")
    for reference in bench.references:
        times = {f"{PUBLISHED}, fp32": reference.frame_ms}
        mine = [b for b in bench.backends if b.model == reference.model]
        times |= {f"{b.name} {b.precision}": b.frame_ms_p50 for b in mine}
        page.heading(f"A frame of the {reference.model} network")
        page.bars("encode and render, median, milliseconds", times, "ms")
        shares = {f"{b.name} {b.precision}": 100 * b.share_of_matmul for b in mine}
        page.bars("share of the machine's own matmul rate, percent", shares, "%")
    if bench.live is not None and bench.beside_load is not None:
        page.heading("Live")
        ages: dict[str, float] = {}
        for name, of in (("alone", bench.live), ("beside a busy core", bench.beside_load)):
            ages |= {f"{name}, {p}": of.age_ms[p] for p in ("p50", "p95")}
        page.bars("age of a picture at the output, milliseconds", ages, "ms")
    if bench.media:
        page.heading("Media")
        page.bars("a step, median", {m.step: m.ms_p50 for m in bench.media}, "ms")
    page.heading("Figures")
    for table in tables(bench):
        page.table(table.headers, table.rows, table.caption)
    for name, why in bench.left_out.items():
        page.paragraph(f"Left out: {name}: {why}")
    page.paragraph(METHOD)
    return page


def _machine(bench: Bench) -> Table:
    m = bench.machine
    rows: list[list[Cell]] = [
        ["processor", f"{m.cpu}, {m.cores} cores ({', '.join(m.instructions) or 'unknown'})"],
        [
            "runs on",
            f"{m.gpu or m.device}, {m.threads} threads; torch {m.torch}, Python {m.python}",
        ],
        ["matmul bf16, fp32", f"{m.matmul_bf16_tflops:.3g}, {m.matmul_fp32_tflops:.3g} TFLOP/s"],
        ["others' cores", f"{m.others_before:.2f} before, {m.others_during:.2f} meanwhile"],
        ["weights", bench.weights],
    ]
    if bench.speedup is not None:
        best = best_of(bench.backends, "full-size")
        assert best is not None
        told = f"{bench.speedup:g} × at full size ({best.name} {best.precision})"
        rows.append(["against published", told])
    return Table("machine", ("", ""), rows)


def _backends(bench: Bench) -> Table:
    rows: list[list[Cell]] = []
    for reference in bench.references:
        rows.append(
            [reference.model, PUBLISHED, "fp32", None, None, reference.frame_ms,
             None, None, None, None, None, None, None, None, 1.0]
        )  # fmt: skip
        rows += [
            [b.model, b.name, b.precision, b.encode_ms, b.render_ms, b.frame_ms_p50,
             b.frame_ms_p95, b.batch, b.batch_fps, 100 * b.batch_share_of_matmul, b.psnr_db,
             b.psnr_worst_db, 100 * b.alpha_error, 100 * b.share_of_matmul, b.speedup]
            for b in bench.backends if b.model == reference.model
        ]  # fmt: skip
    headers = (
        "network", "engine", "precision", "encode ms", "render ms", "frame p50", "p95",
        "batch", "its frames/s", "its % of matmul", "PSNR dB", "worst", "|Δα| %", "of matmul %", "speed-up ×",
    )  # fmt: skip
    return Table("the network", headers, rows)


def _live(alone: LoopFigures, beside: LoopFigures) -> Table:
    rows: list[Sequence[Cell]] = []
    for name, of in (("alone", alone), ("beside a busy core", beside)):
        rows += [
            [name, run.engine, run.fps, run.age_ms_p50, run.age_ms_p95, run.model_ms_p50,
             run.track_ms_p50, run.cores, run.to_first_picture_s, run.rss_mb]
            for run in of.runs
        ]  # fmt: skip
    headers = ("", "engine", "fps", "age p50 ms", "p95", "model ms", "track ms", "cores used",
               "first picture s", "RSS MiB")  # fmt: skip
    return Table("live, each run", headers, rows)
