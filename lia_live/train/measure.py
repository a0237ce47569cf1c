"""How a network in training does on pairs it never saw: the gates of the schedule, and a sheet to look at."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lia_live.model import load_model
from lia_live.puppet.theta import THETA
from lia_live.train.pairs import Pairs
from lia_live.train.performer import Performer
from lia_live.train.prepared import Prepared
from lia_live.train.reporting import FolderReporter
from lia_live.train.teacher import ALPHA_GAIN, Teacher, in_label_units
from lia_live.train.trainee import is_labelled

PAIRS = 96
BATCH = 16
ROWS = 12
SEED = 7
"""Of the held-out pairs: the same every time."""

MakePairs = Callable[[int, torch.Generator, int], Pairs]
"""(part, generator, size) -> ``BATCH`` pairs."""


def performed(performer: Performer) -> MakePairs:
    """Pairs of every portrait in turn."""

    def make(part: int, generator: torch.Generator, size: int) -> Pairs:
        index = torch.arange(part * BATCH, part * BATCH + BATCH) % len(performer)
        return Pairs.of_performance(performer.pairs(index, generator, size))

    return make


@torch.no_grad()
def performance(
    teacher: Teacher, make: MakePairs, size: int, pairs: int = PAIRS
) -> tuple[dict[str, Any], Tensor]:
    """Figures, and rows (N, 6, 3, S, S): source, driver, target, output, output when told, mask.

    l1 (static: copying the source) in [0, 1] units; epe: flow error in pixels of a 128-pixel picture where the
    flow is known (oracle: with the true motion told); r2 of each label.
    """
    device = teacher.term.device
    generator = torch.Generator(device=device).manual_seed(SEED)
    sums = dict.fromkeys(("l1", "static", "epe", "epe_oracle", "epe_still"), 0.0)
    read: list[Tensor] = []
    truth: list[Tensor] = []
    known: list[Tensor] = []
    rows: list[Tensor] = []
    parts = max(1, pairs // BATCH)
    for part in range(parts):
        batch = make(part, generator, size)
        no = torch.zeros(len(batch), dtype=torch.bool, device=device)
        given = (batch.source, batch.driver, batch.theta_source, batch.theta_target)
        out, told = teacher(*given, no), teacher(*given, ~no)
        flow, valid = batch.flow_at(size), batch.valid_at(size)
        sums["l1"] += float((out.image.clamp(-1, 1) - batch.target).abs().mean()) / 2
        sums["static"] += float((batch.source - batch.target).abs().mean()) / 2
        sums["epe"] += _epe(torch.tanh(out.raws[-1][:, :2]), flow, valid)
        sums["epe_oracle"] += _epe(torch.tanh(told.raws[-1][:, :2]), flow, valid)
        sums["epe_still"] += _epe(torch.zeros_like(flow), flow, valid)
        read.append(out.alpha_driver[:, : teacher.labels] / ALPHA_GAIN)
        truth.append(batch.theta_target[:, : teacher.labels])
        known.append(batch.known[:, : teacher.labels])
        mask = torch.sigmoid(out.raws[-1][:, 2:3]).expand(-1, 3, -1, -1) * 2 - 1
        rows.append(
            torch.stack((batch.source, batch.driver, batch.target, out.image, told.image, mask), 1)
        )
    figures: dict[str, Any] = {name: round(total / parts, 4) for name, total in sums.items()}
    figures["r2"] = _r2(torch.cat(read), torch.cat(truth), torch.cat(known))
    return figures, torch.cat(rows)[:: max(1, parts * BATCH // ROWS)]


def _r2(read: Tensor, truth: Tensor, known: Tensor) -> dict[str, float]:
    """Share of each label's variance that is explained; labels that nobody knows are left out."""
    out = {}
    for index, label in enumerate(THETA[: read.shape[1]]):
        here = known[:, index] > 0
        if int(here.sum()) > 1:
            error = (read[here, index] - truth[here, index]).square().mean()
            spread = truth[here, index].var().clamp(min=1e-6)
            out[label.name] = round(float(1 - error / spread), 3)
    return out


def _epe(flow: Tensor, truth: Tensor, known: Tensor) -> float:
    distance = ((flow - truth) * 64.0).square().sum(1, keepdim=True).sqrt()
    return float((distance * known).sum() / known.sum().clamp(min=1.0))


def main() -> None:
    """Print the figures of finished weights on the held-out portraits of prepared data."""
    parser = argparse.ArgumentParser(description="Figures of weights on held-out portraits.")
    parser.add_argument("data", type=Path, help="made by lia-live train prepare")
    parser.add_argument("--weights", default="default")
    parser.add_argument("--out", type=Path, help="folder for sheet.png, what it looks like")
    arguments = parser.parse_args()
    model = load_model(arguments.weights, device="cpu")
    if is_labelled(model):
        model = in_label_units(model)
    teacher = Teacher(model, len(THETA))
    with torch.no_grad():
        teacher.term.zero_()  # finished weights carry it folded in
    portraits = Prepared.load(arguments.data).portraits
    if portraits is None:
        parser.error(f"{arguments.data} holds no portraits")
    performer = Performer(portraits.select(portraits.held_out), looks=True)
    figures, rows = performance(teacher, performed(performer), model.config.size)
    if arguments.out is not None:
        FolderReporter(arguments.out, print).pictures(0, rows)
    del figures["epe_oracle"]  # the source's own motion can no longer be told
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
