"""How many pairs a second one joint training step makes, and how much of the machine that uses.

``python -m lia_live.train.throughput --size 128 --width 0.5 --threads 2`` prints one JSON object. Kinds of step
and a large bf16 matrix product take turns, and each reports its best round: ratios hold on a busy machine too.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from lia_live.model import LIA, LIAConfig
from lia_live.puppet.mesh import median_face
from lia_live.puppet.theta import THETA
from lia_live.render.memory import keep_freed_memory
from lia_live.train.growth import start
from lia_live.train.objective import joint_terms, weighted
from lia_live.train.pairs import Pairs
from lia_live.train.performer import Performer
from lia_live.train.plain import PlainTeacher
from lia_live.train.portraits import Portraits
from lia_live.train.schedule import Stage
from lia_live.train.teacher import Teacher

MATMUL = 2048
"""Side of the matrices whose product is taken for the machine's speed."""
CLIP_NORM = 5.0


@dataclass(frozen=True)
class Workload:
    """What is timed."""

    size: int = 128
    width: float = 0.5
    latent_dim: int = 512
    batch: int = 8
    device: str = "cpu"
    rounds: int = 3
    """Each kind of step takes so many turns; the best one counts."""
    steps: int = 3
    """Steps a turn."""

    @property
    def model(self) -> LIAConfig:
        return LIAConfig(size=self.size, width=self.width, latent_dim=self.latent_dim)


class JointStep:
    """One joint step on given pairs: forward, losses, backward, gradient clipping, Adam."""

    def __init__(self, teacher: Teacher, work: Workload) -> None:
        self.teacher = teacher.to(work.device)
        self.stage = Stage(size=work.size, joint_steps=1, batch=work.batch)
        self.device = torch.device(work.device)
        self.optimiser = torch.optim.Adam(
            self.teacher.parameters(), lr=1e-4, betas=(0.9, 0.99), fused=True
        )

    def loss(self, pairs: Pairs) -> Tensor:
        """What the step descends."""
        oracle = torch.arange(len(pairs), device=self.device) % 4 == 0
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            out = self.teacher(
                pairs.source, pairs.driver, pairs.theta_source, pairs.theta_target, oracle
            )
        terms = joint_terms(out, pairs, self.stage, self.teacher.labels, None)
        return weighted(terms, self.stage.losses)

    def __call__(self, pairs: Pairs) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        self.loss(pairs).backward()
        torch.nn.utils.clip_grad_norm_(self.teacher.parameters(), CLIP_NORM)
        self.optimiser.step()


def measure(work: Workload, portraits: Portraits | None = None) -> dict[str, float]:
    """Run ``work``. Speeds in pairs and 10^9 operations a second; ``share`` of the matrix product's."""
    device = torch.device(work.device)
    performer = Performer(portraits or drawn_portraits(), device)
    generator = torch.Generator(device).manual_seed(1)
    index = torch.arange(work.batch) % len(performer)

    def perform() -> Pairs:
        return Pairs.of_performance(performer.pairs(index, generator, work.size))

    torch.manual_seed(0)
    fast = JointStep(Teacher(start(LIA(work.model)), len(THETA)), work)
    plain = JointStep(PlainTeacher(copy.deepcopy(fast.teacher.model), len(THETA)), work)
    pairs = perform()
    with FlopCounterMode(display=False) as counter:
        fast.loss(pairs).backward()
    gflop = counter.get_total_flops() / work.batch / 1e9
    matrix = torch.randn(MATMUL, MATMUL, device=device, dtype=torch.bfloat16)
    seconds = _best(
        {
            "step": lambda: fast(pairs),
            "plain": lambda: plain(pairs),
            "fed": lambda: fast(perform()),
            "perform": perform,
            "matmul": lambda: matrix @ matrix,
        },
        work,
        device,
    )
    rate = 2 * MATMUL**3 / seconds["matmul"] / 1e9
    achieved = gflop * work.batch / seconds["step"]
    return {
        "pairs_per_s": round(work.batch / seconds["step"], 2),
        "pairs_per_s_performing": round(work.batch / seconds["fed"], 2),
        "performer_pairs_per_s": round(work.batch / seconds["perform"], 1),
        "plain_pairs_per_s": round(work.batch / seconds["plain"], 2),
        "faster_than_plain": round(seconds["plain"] / seconds["step"], 2),
        "gflop_per_pair": round(gflop, 2),
        "gflops": round(achieved, 1),
        "matmul_bf16_gflops": round(rate, 1),
        "share": round(achieved / rate, 3),
    }


def drawn_portraits(count: int = 8, side: int = 256) -> Portraits:
    """The median face on smooth random pictures: as much work as real portraits."""
    generator = torch.Generator().manual_seed(3)
    face = torch.from_numpy(median_face()).float()
    left, right = face[33], face[263]  # outer corners of the eyes
    framed = (face - (left + right) / 2) / (right - left).norm() * 0.34 * side
    framed = framed + torch.tensor([0.5 * side, 0.47 * side, 0.0])
    coarse = torch.rand(count, 3, 16, 16, generator=generator)
    pictures = F.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)
    return Portraits(
        (pictures * 255).round().to(torch.uint8),
        framed.expand(count, -1, -1).contiguous(),
        tuple(f"{number}.png" for number in range(count)),
        ("P1",) * count,
        torch.zeros(count, dtype=torch.bool),
    )


def _best(
    kinds: dict[str, Callable[[], object]], work: Workload, device: torch.device
) -> dict[str, float]:
    """Seconds of one call of each kind in its best turn."""
    best = dict.fromkeys(kinds, float("inf"))
    for turn in range(work.rounds + 1):
        for name, call in kinds.items():
            _settle(device)
            began = time.perf_counter()
            for _ in range(work.steps):
                call()
            _settle(device)
            if turn:  # the first warms up
                best[name] = min(best[name], (time.perf_counter() - began) / work.steps)
    return best


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    """Print the figures of one workload as JSON."""
    parser = argparse.ArgumentParser(description="Speed of the joint training step.")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--latent", type=int, default=512)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=None, help="of the CPU")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--portraits", type=Path, default=None, help="prepared; default: drawn")
    arguments = parser.parse_args()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    work = Workload(
        arguments.size, arguments.width, arguments.latent, arguments.batch, arguments.device,
        arguments.rounds,
    )  # fmt: skip
    portraits = Portraits.load(arguments.portraits) if arguments.portraits else None
    figures = measure(work, portraits)
    told = {
        name: getattr(work, name) for name in ("device", "size", "width", "latent_dim", "batch")
    }
    print(json.dumps({**told, "threads": torch.get_num_threads(), **figures}))


if __name__ == "__main__":
    main()
