"""Means over clips: each clip counts once, channels that did not move are left out of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from lia_live.evaluate.cases import Case
from lia_live.evaluate.evaluation import MOVING_AKD_PX, Evaluation
from lia_live.evaluate.figures import Figures
from lia_live.evaluate.movement import MOVEMENTS
from lia_live.evaluate.published import CROSS, DIFFERENCE, SAME
from lia_live.evaluate.transfer import NOISE_SD

PLAIN = tuple(one.name for one in fields(Figures) if one.name not in ("frames", "movements"))


def flat(case: Case) -> dict[str, float]:
    """The numbers of one case by name; NaN where not defined."""
    numbers = {name: getattr(case.figures, name) for name in PLAIN}
    numbers |= {
        "neutral_l1": case.neutral_l1,
        "jitter_px": case.jitter_px,
        "driver_jitter_px": case.driver_jitter_px,
    }
    for name in MOVEMENTS:
        movement = case.figures.movements[name]
        numbers[f"{name}_correlation"] = movement.correlation
        numbers[f"{name}_slope"] = movement.slope
    return numbers


def means(cases: Sequence[Case]) -> dict[str, float]:
    """The mean of each number over cases, and how many cases each movement was judged in."""
    rows = [flat(case) for case in cases]
    out: dict[str, float] = {}
    for name in rows[0] if rows else ():
        values = [row[name] for row in rows if np.isfinite(row[name])]
        out[name] = float(np.mean(values)) if values else float("nan")
    for name in MOVEMENTS:
        out[f"{name}_judged"] = sum(case.figures.movements[name].judged for case in cases)
    return out


def groups(evaluation: Evaluation, cases: Sequence[Case]) -> dict[str, list[Case]]:
    """The cases of moving clips and of nearly still ones, apart."""
    return {
        "moving": [case for case in cases if evaluation.moving(case.clip)],
        "still": [case for case in cases if not evaluation.moving(case.clip)],
    }


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Everything as plain values for ``json.dumps``; what is not defined is None."""
    return {
        "weights": {
            "name": evaluation.weights,
            "fingerprint": evaluation.fingerprint,
            "licence": evaluation.licence,
            "size": evaluation.size,
        },
        "engine": evaluation.engine,
        "protocol": {
            "limit_frames": evaluation.config.limit_frames,
            "sources": evaluation.config.sources,
            "moving_akd_px": MOVING_AKD_PX,
            "noise_sd": NOISE_SD,
            "l1_range": [0, 1],
            "pixels_at": 256,
            "landmarks": "mediapipe face mesh, 468 points",
        },
        "same_identity": _section(evaluation, evaluation.same, evaluation.same_fid),
        "cross_identity": _section(evaluation, evaluation.cross, evaluation.cross_fid),
        "missing": dict(evaluation.missing),
        "skipped": [{"name": one.name, "reason": one.reason} for one in evaluation.skipped],
        "published": {
            "same_identity": [
                dict(zip(("name", "l1", "akd", "aed", "lpips"), row, strict=True)) for row in SAME
            ],
            "cross_identity": [
                dict(zip(("name", "voxceleb", "german_audio"), row, strict=True)) for row in CROSS
            ],
            "note": DIFFERENCE,
        },
        "took_s": round(evaluation.took_s, 1),
    }


def _section(
    evaluation: Evaluation, cases: Sequence[Case], fid: tuple[float, float]
) -> dict[str, Any]:
    section: dict[str, Any] = {
        name: {"count": len(some), **_plain(means(some))}
        for name, some in groups(evaluation, cases).items()
    }
    section["all"] = {
        "count": len(cases),
        **_plain(means(cases)),
        **_plain({"fid": fid[0], "static_fid": fid[1]}),
    }
    section["cases"] = [
        {
            "clip": case.clip,
            "source": case.source,
            "moving": evaluation.moving(case.clip),
            "frames": case.figures.frames,
            "faceless": case.faceless,
            **_plain(flat(case)),
            **_plain(
                {f"{name}_driver_sd": case.figures.movements[name].driver_sd for name in MOVEMENTS}
            ),
        }
        for case in cases
    ]
    return section


def _plain(numbers: dict[str, float]) -> dict[str, float | None]:
    """Five digits; JSON knows no NaN."""
    return {
        name: float(f"{value:.5g}") if np.isfinite(value) else None
        for name, value in numbers.items()
    }
