"""The benchmark runs and its figures fit together."""

import pytest

from lia_live.train.throughput import Workload, measure


def test_figures_fit_together() -> None:
    work = Workload(size=32, width=0.0625, latent_dim=32, batch=2, rounds=1, steps=1)
    figures = measure(work)
    assert all(value > 0 for value in figures.values())
    assert figures["gflops"] == pytest.approx(
        figures["pairs_per_s"] * figures["gflop_per_pair"], rel=0.5
    )
