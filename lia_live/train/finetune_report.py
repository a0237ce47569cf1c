"""Before and after on one page: figures of held-out frames, how training went, pictures side by side."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

import numpy as np

from lia_live.evaluate import Figures, Page
from lia_live.evaluate.picture_measures import l1
from lia_live.model import LIA
from lia_live.model.weights_file import write_atomically
from lia_live.train.finetune import Outcome
from lia_live.train.material import Material

STRIPS: Final = 6
ROWS: Final = (
    ("l1", "L1 to the real frame, [0, 1]", 4),
    ("akd", "AKD, MediaPipe landmarks, px at 256", 2),
    ("mouth_correlation", "mouth opening, correlation with the real one", 2),
    ("eye_correlation", "eye opening, correlation with the real one", 2),
    ("sharpness", "gradient energy in the face, output over real", 2),
    ("shape_distance", "head shape against the picture, % of the eyes' distance", 2),
    ("face_found", "share of frames with a face", 3),
)
"""What is shown: name, words, decimals."""


def write_report(
    folder: Path, outcome: Outcome, material: Material, command: str, base: LIA
) -> Path:
    """``report.html`` and ``report.json`` in ``folder``; returns the page. Raises ``StorageError``."""
    folder.mkdir(parents=True, exist_ok=True)
    kept, held = outcome.network is not None, material.held_out
    page = Page("Fine-tuning: before and after", command)
    page.paragraph(
        f"{'The tuned network is in the bundle' if kept else 'The base was kept'}: {outcome.reason}."
    )
    page.paragraph(
        f"Base: {base.name}, fingerprint {base.fingerprint}, licence {base.licence or 'not said'}."
    )
    page.paragraph(
        f"Material: {material.kind}. {outcome.steps} steps in {outcome.minutes:.1f} minutes, "
        f"{outcome.pairs_per_s:.1f} pairs/s. Tested on {outcome.before.frames} frames: {material.tested_on}."
    )
    page.heading("Before and after")
    page.table(
        ["", "copying the picture", "base", "tuned"],
        [
            [words, *(_number(value, decimals) for value in _values(outcome, name))]
            for name, words, decimals in ROWS
        ],
        "Absolute transfer: the picture is driven by the real frames, which it should then equal.",
    )
    page.heading("Training")
    page.plot(
        "L1 on the validation frames, step by step",
        {"validation": [check.l1 for check in outcome.checks]},
        x=[float(check.step) for check in outcome.checks],
    )
    page.plot(
        "L1 of each held-out frame",
        {
            name: [l1(output, real) for output, real in zip(outputs, held.real, strict=True)]
            for name, outputs in zip(("base", "tuned"), outcome.pictures, strict=True)
        },
    )
    page.heading("Side by side")
    for index in np.linspace(0, len(held.real) - 1, STRIPS).round().astype(int):
        page.strip(
            f"frame {index + 1}",
            [
                held.source,
                held.real[index],
                outcome.pictures[0][index],
                outcome.pictures[1][index],
            ],
            ["picture", "real", "base", "tuned"],
        )
    path = folder / "report.html"
    page.save(path)
    figures = {
        "kept": "tuned" if kept else "base",
        "reason": outcome.reason,
        "command": command,
        "base": base.fingerprint,
        "material": material.kind,
        "tested_on": material.tested_on,
        "steps": outcome.steps,
        "minutes": outcome.minutes,
        "pairs_per_s": outcome.pairs_per_s,
        "before": _plain(outcome.before),
        "after": _plain(outcome.after),
        "checks": [asdict(check) for check in outcome.checks],
    }
    write_atomically(folder / "report.json", json.dumps(figures, indent=1).encode())
    return path


def _values(outcome: Outcome, name: str) -> list[float]:
    static = getattr(outcome.before, f"static_{name}", math.nan)
    return [static, getattr(outcome.before, name), getattr(outcome.after, name)]


def _number(value: float, decimals: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{decimals}f}"


def _plain(figures: Figures) -> dict[str, Any]:
    """Figures as JSON has them: what is not defined is null."""
    found: dict[str, Any] = {}
    for name in [field.name for field in fields(figures)] + [
        "mouth_correlation",
        "eye_correlation",
    ]:
        value = getattr(figures, name)
        if isinstance(value, int | float):
            found[name] = None if math.isnan(value) else value
    return found
