"""How a network in training does on portraits it never saw: the gates of the schedule, and a sheet to look at."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from lia_live.model import load_model, to_pixels
from lia_live.train.motion import THETA
from lia_live.train.performer import Performer
from lia_live.train.portraits import Portraits
from lia_live.train.teacher import ALPHA_GAIN, Teacher

PAIRS = 96
ROWS = 12


@torch.no_grad()
def performance(
    teacher: Teacher, performer: Performer, size: int, sheet: Path
) -> dict[str, object]:
    """Figures on the same held-out pairs every time; writes ``sheet`` (source, driver, target, output, mask).

    l1 (static: copying the source) in [0, 1] units; epe: flow error in pixels of a 128-pixel picture where the
    flow is known (oracle: with the true motion told); r2 of each label.
    """
    generator = torch.Generator(device=teacher.term.device).manual_seed(7)
    device = teacher.term.device
    totals: dict[str, float] = dict.fromkeys(
        ("l1", "static", "epe", "epe_oracle", "epe_still"), 0.0
    )
    read: list[Tensor] = []
    truth: list[Tensor] = []
    rows: list[Tensor] = []
    for part in range(PAIRS // 16):
        index = torch.arange(part * 16, part * 16 + 16) % len(performer)
        batch = performer.pairs(index, generator, size)
        no = torch.zeros(16, dtype=torch.bool, device=device)
        out = teacher(batch.source, batch.driver, batch.theta_source, batch.theta_target, no)
        told = teacher(batch.source, batch.driver, batch.theta_source, batch.theta_target, ~no)
        flow, known = batch.flow_at(size), batch.valid_at(size)
        totals["l1"] += float((out.image.clamp(-1, 1) - batch.target).abs().mean()) / 2
        totals["static"] += float((batch.source - batch.target).abs().mean()) / 2
        totals["epe"] += _epe(torch.tanh(out.raws[-1][:, :2]), flow, known)
        totals["epe_oracle"] += _epe(torch.tanh(told.raws[-1][:, :2]), flow, known)
        totals["epe_still"] += _epe(torch.zeros_like(flow), flow, known)
        read.append(out.alpha_driver[:, : teacher.labels] / ALPHA_GAIN)
        truth.append(batch.theta_target)
        mask = torch.sigmoid(out.raws[-1][:, 2:3]).expand(-1, 3, -1, -1) * 2 - 1
        rows.append(
            torch.stack((batch.source, batch.driver, batch.target, out.image, told.image, mask), 1)
        )
    _write_sheet(torch.cat(rows)[:: max(1, PAIRS // ROWS)], sheet)
    error = (torch.cat(read) - torch.cat(truth)).square().mean(0)
    r2 = 1 - error / torch.cat(truth).var(0).clamp(min=1e-6)
    figures: dict[str, object] = {k: round(v / (PAIRS // 16), 4) for k, v in totals.items()}
    figures["r2"] = {
        label.name: round(float(value), 2) for label, value in zip(THETA, r2.tolist(), strict=True)
    }
    return figures


def _epe(flow: Tensor, truth: Tensor, known: Tensor) -> float:
    distance = ((flow - truth) * 64.0).square().sum(1, keepdim=True).sqrt()
    return float((distance * known).sum() / known.sum().clamp(min=1.0))


def _write_sheet(rows: Tensor, path: Path) -> None:
    """``rows`` (N, K, 3, S, S): one portrait a row."""
    count, columns, _, size, _ = rows.shape
    pixels = to_pixels(rows.flatten(0, 1)).reshape(count, columns, size, size, 3)
    picture = pixels.transpose(0, 2, 1, 3, 4).reshape(count * size, columns * size, 3)
    Image.fromarray(picture).save(path)


def main() -> None:
    """Print the figures of finished weights on the held-out portraits of a prepared file."""
    parser = argparse.ArgumentParser(description="Figures of weights on held-out portraits.")
    parser.add_argument("portraits", type=Path, help="made by the preparation")
    parser.add_argument("--weights", default="default")
    parser.add_argument("--sheet", type=Path, default=Path("sheet.png"))
    arguments = parser.parse_args()
    model = load_model(arguments.weights, device="cpu")
    teacher = Teacher(model, len(THETA))
    with torch.no_grad():
        teacher.term.zero_()  # finished weights carry it folded in
    portraits = Portraits.load(arguments.portraits)
    performer = Performer(portraits.select(portraits.held_out))
    figures = performance(teacher, performer, model.config.size, arguments.sheet)
    del figures["epe_oracle"]  # the source's own motion can no longer be told
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
