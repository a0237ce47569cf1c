"""An evaluation as text for the terminal and as a page with pictures."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path

from lia_live.evaluate.cases import Case
from lia_live.evaluate.evaluation import MOVING_AKD_PX, Evaluation
from lia_live.evaluate.movement import MOVEMENTS, UNITS
from lia_live.evaluate.page import Page, make_folder
from lia_live.evaluate.published import DIFFERENCE
from lia_live.evaluate.summary import as_json
from lia_live.evaluate.table import Table
from lia_live.evaluate.tables import (
    clip_table,
    cross_tables,
    missing_table,
    pair_table,
    published_tables,
    same_tables,
    skipped_table,
)
from lia_live.evaluate.transfer import NOISE_SD
from lia_live.model.weights_file import write_atomically

HTML, JSON = "report.html", "figures.json"
PLOTTED = ("yaw", "mouth")
"""Movements drawn over time: one of the head, one of the face."""

TEXT_WIDTH = 100

NO_CROSS = (
    "No portrait was moved: with one clip there is no other face. --portraits DIR names some."
)

LEGEND = (
    "L1: mean absolute difference, in [0, 1].",
    "AKD: mean distance of MediaPipe's 468 landmarks, pixels at 256.",
    "AED: mean distance of unit face-recognition vectors; identity: their cosine with the source's.",
    "Head shape: what is left of the distance of stable landmarks once pose, place and size are taken out, in percent "
    "of the distance of the eyes; real frames of one person show how far MediaPipe alone is off.",
    "Sharpness: gradient energy inside the face over the reference's (the real frame, or the portrait); 1 is as sharp.",
    "Face found: share of outputs in which MediaPipe sees a face. Neutral L1: the source driven by itself.",
    "Jitter: standard deviation of the landmarks while the driver is one frame under fresh noise of "
    f"{NOISE_SD:g} grey levels; the driver's own row is MediaPipe's error.",
    "A movement is judged where the driver's standard deviation passes the limit in the table.",
)


def write_report(evaluation: Evaluation, folder: Path) -> tuple[Path, Path]:
    """Write the page and the numbers into ``folder``, made if need be. Raises ``StorageError``."""
    make_folder(folder)
    page, numbers = folder / HTML, folder / JSON
    write_atomically(numbers, (json.dumps(as_json(evaluation), indent=1) + "\n").encode())
    build_page(evaluation).save(page)
    return page, numbers


def as_text(evaluation: Evaluation) -> str:
    """The tables for a terminal."""
    tables = [*same_tables(evaluation), *cross_tables(evaluation)]
    skipped = skipped_table(evaluation)
    if skipped is not None:
        tables.append(skipped)
    parts = [table.text() for table in [*tables, *published_tables()]]
    words = [DIFFERENCE, *(f"Not measured: {how}." for how in evaluation.missing.values())]
    if not evaluation.cross:
        words.append(NO_CROSS)
    return "\n\n".join([*parts, *(textwrap.fill(text, TEXT_WIDTH) for text in words)])


def build_page(evaluation: Evaluation) -> Page:
    """The page: tables, then every clip with its pictures and curves."""
    moving = sum(evaluation.moving(case.clip) for case in evaluation.same)
    page = Page(
        f"Evaluation of {evaluation.weights}",
        f"{evaluation.size} pixels, fingerprint {evaluation.fingerprint}, {evaluation.engine}; "
        f"clips: {len(evaluation.same)}, of which {moving} moving; transfers to other faces: {len(evaluation.cross)}; "
        f"{evaluation.took_s:.0f} s. Outputs shown here are synthetic.",
    )
    page.heading("Same identity")
    page.paragraph(
        "Source: the clip's first frame. Every frame is reconstructed from it, absolute transfer, the network alone. "
        "The static copy shows the source all the time; on a clip in which little moves it is hard to beat, so "
        f"clips whose static copy is off by less than {MOVING_AKD_PX:g} px stand apart."
    )
    _tables(page, same_tables(evaluation))
    page.paragraph(" ".join(LEGEND))
    page.heading("Cross identity")
    if evaluation.cross:
        page.paragraph(
            "Another face moved by the clip on the product's own path: tracked, neutral learned from the first two "
            "seconds, relative transfer, smoothed. The first second is not judged."
        )
        _tables(page, cross_tables(evaluation))
    else:
        page.paragraph(NO_CROSS)
    missing, skipped = missing_table(evaluation), skipped_table(evaluation)
    if missing is not None:
        page.heading("Not measured")
        _tables(page, [missing])
    if skipped is not None:
        page.heading("Left out")
        _tables(page, [skipped])
    page.heading("Published")
    page.paragraph(DIFFERENCE)
    _tables(page, published_tables())
    page.heading("Same identity, clip by clip")
    _tables(page, [clip_table(evaluation)])
    _tables(page, [pair_table(evaluation.same, "following: correlation (slope)")])
    for case in evaluation.same:
        _show_same(page, case)
    if evaluation.cross:
        page.heading("Cross identity, pair by pair")
        _tables(page, [pair_table(evaluation.cross, "following: correlation (slope)")])
        for case in evaluation.cross:
            _strips(page, f"{case.source} moved by {case.clip}", case, "at rest")
    return page


def _tables(page: Page, tables: Sequence[Table]) -> None:
    for table in tables:
        page.table(table.headers, table.rows, table.caption)


def _show_same(page: Page, case: Case) -> None:
    figures = case.figures
    _strips(
        page,
        f"{case.clip}: L1 {figures.l1:.3f} (static {figures.static_l1:.3f}), "
        f"AKD {figures.akd:.2f} px (static {figures.static_akd:.2f})",
        case,
        "driven by itself",
    )
    for name in PLOTTED:
        column = MOVEMENTS.index(name)
        if figures.movements[name].judged:
            page.plot(
                f"{case.clip}: {name}, frame by frame",
                {
                    "driver": case.traces.driver[:, column].tolist(),
                    "output": case.traces.output[:, column].tolist(),
                },
                unit=f"{name}, {UNITS[column].strip()}".strip(", "),
            )


def _strips(page: Page, caption: str, case: Case, rest: str) -> None:
    """Driver above output, frame by frame; before them the source, and the source driven by itself."""
    drivers, outputs = [case.source_picture, *case.drivers], [case.rest_picture, *case.outputs]
    page.strip(f"{caption}: source, then driver", drivers)
    page.strip(f"source {rest}, then output", outputs)
