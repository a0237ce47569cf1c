"""The tables of a report, once for the terminal and once for the page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lia_live.evaluate.cases import Case
from lia_live.evaluate.evaluation import MOVING_AKD_PX, Evaluation
from lia_live.evaluate.movement import LEAST_SD, MOVEMENTS, UNITS
from lia_live.evaluate.published import CROSS, CROSS_HEADERS, SAME, SAME_HEADERS
from lia_live.evaluate.summary import flat, groups, means
from lia_live.evaluate.table import Cell, Table

GROUPS = {
    "moving": f"moving clips (static copy off by {MOVING_AKD_PX:g} px or more)",
    "still": f"nearly still clips (static copy off by less than {MOVING_AKD_PX:g} px)",
}


def same_tables(evaluation: Evaluation) -> list[Table]:
    """Same identity: quality beside the static copy, then following; moving and nearly still clips apart."""
    tables = []
    for name, cases in groups(evaluation, evaluation.same).items():
        if cases:
            tables.append(_quality(f"same identity, {GROUPS[name]}: {len(cases)}", cases))
            tables.append(
                _following(
                    f"same identity, {name} clips: {len(cases)}. Output against driver", cases
                )
            )
    return tables + _fid("same identity, all clips", evaluation.same_fid)


def cross_tables(evaluation: Evaluation) -> list[Table]:
    """Cross identity: following, then what is left of the portrait."""
    tables = []
    for name, cases in groups(evaluation, evaluation.cross).items():
        if cases:
            caption = f"cross identity, transfers by {name} clips: {len(cases)}"
            tables.append(_following(f"{caption}. Output against driver", cases))
            tables.append(_kept(f"{caption}. The portrait kept", cases))
    return tables + _fid("cross identity, against the drivers' frames", evaluation.cross_fid)


def clip_table(evaluation: Evaluation) -> Table:
    """Same identity, clip by clip."""
    rows: list[list[Cell]] = []
    for case in evaluation.same:
        of = flat(case)
        names = ("l1", "static_l1", "akd", "static_akd", "sharpness", "neutral_l1", "jitter_px")
        kind = "moving" if evaluation.moving(case.clip) else "nearly still"
        rows.append([case.clip, kind, case.figures.frames, case.faceless, *map(of.get, names)])
    headers = ("clip", "", "frames", "without a face", "L1", "static", "AKD px", "static",
               "sharpness", "neutral L1", "jitter px")  # fmt: skip
    return Table("figures", headers, rows)


def pair_table(cases: Sequence[Case], caption: str) -> Table:
    """Correlation and slope of each movement, one case a row."""
    rows: list[list[Cell]] = []
    for case in cases:
        told: list[Cell] = []
        for name in MOVEMENTS:
            movement = case.figures.movements[name]
            told.append(
                f"{movement.correlation:.2f} ({movement.slope:.2f})" if movement.judged else "–"
            )
        rows.append([case.clip, case.source, *told, case.figures.face_found])
    headers = ("driver", "source", *MOVEMENTS, "face found")
    if all(case.clip == case.source for case in cases):  # the same identity: one name is enough
        return Table(caption, headers[1:], [row[1:] for row in rows])
    return Table(caption, headers, rows)


def missing_table(evaluation: Evaluation) -> Table | None:
    """What was not measured, and how to get it; None where nothing is missing."""
    if not evaluation.missing:
        return None
    rows = [[name, how] for name, how in evaluation.missing.items()]
    return Table("not measured", ("missing", "how to get it"), rows)


def skipped_table(evaluation: Evaluation) -> Table | None:
    """What was given and not used; None where all was."""
    if not evaluation.skipped:
        return None
    rows = [[one.name, one.reason] for one in evaluation.skipped]
    return Table("left out", ("file", "why"), rows)


def published_tables() -> list[Table]:
    """The rows of others."""
    return [
        Table("published, for orientation only", SAME_HEADERS, SAME),
        Table("published, for orientation only", CROSS_HEADERS, CROSS),
    ]


def _quality(caption: str, cases: Sequence[Case]) -> Table:
    mean = means(cases)
    known = math.isfinite(mean["identity"])
    headers = ("", "L1", "AKD px", "AED", "LPIPS", "identity", "head shape %", "sharpness",
               "face found", "neutral L1", "jitter px")  # fmt: skip
    rows: list[list[Cell]] = [
        ["this model", mean["l1"], mean["akd"], mean["aed"], mean["lpips"], mean["identity"],
         mean["shape_distance"], mean["sharpness"], mean["face_found"], mean["neutral_l1"],
         mean["jitter_px"]],
        ["static copy", mean["static_l1"], mean["static_akd"], mean["static_aed"],
         mean["static_lpips"], 1.0 if known else None, 0.0, None, 1.0, 0.0, 0.0],
        ["real frames", 0.0, 0.0, 0.0 if known else None,
         0.0 if math.isfinite(mean["lpips"]) else None, mean["driver_identity"],
         mean["driver_shape_distance"], 1.0, 1.0, None, mean["driver_jitter_px"]],
    ]  # fmt: skip
    return Table(caption, headers, rows)


def _kept(caption: str, cases: Sequence[Case]) -> Table:
    mean = means(cases)
    known = math.isfinite(mean["identity"])
    headers = (
        "", "identity", "head shape %", "sharpness", "face found", "neutral L1", "jitter px"
    )  # fmt: skip
    rows: list[list[Cell]] = [
        ["this model", mean["identity"], mean["shape_distance"], mean["sharpness"],
         mean["face_found"], mean["neutral_l1"], mean["jitter_px"]],
        ["static copy", 1.0 if known else None, 0.0, 1.0, 1.0, 0.0, 0.0],
        ["the driver", mean["driver_identity"], mean["driver_shape_distance"], None, 1.0, None,
         mean["driver_jitter_px"]],
    ]  # fmt: skip
    return Table(caption, headers, rows)


def _following(caption: str, cases: Sequence[Case]) -> Table:
    mean = means(cases)
    rows: list[list[Cell]] = [
        ["correlation", *(mean[f"{name}_correlation"] for name in MOVEMENTS)],
        ["slope", *(mean[f"{name}_slope"] for name in MOVEMENTS)],
        ["static copy, both", *(0.0 if mean[f"{n}_judged"] else None for n in MOVEMENTS)],
        ["judged in", *(int(mean[f"{name}_judged"]) for name in MOVEMENTS)],
        [
            "judged from s.d.",
            *(f"{least:g}{unit}" for least, unit in zip(LEAST_SD, UNITS, strict=True)),
        ],
    ]
    return Table(caption, ("", *MOVEMENTS), rows)


def _fid(caption: str, fid: tuple[float, float]) -> list[Table]:
    if not math.isfinite(fid[0]):
        return []
    return [Table(caption, ("", "FID"), [["this model", fid[0]], ["static copy", fid[1]]])]
