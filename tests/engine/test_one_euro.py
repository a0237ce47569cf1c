"""Smooth while still, prompt while moving."""

from __future__ import annotations

import numpy as np

from lia_live.engine.one_euro import OneEuro

STEP = 1 / 30


def run(smooth: float, samples: np.ndarray, scale: float = 1.0) -> np.ndarray:
    quiet = OneEuro(np.array([scale]), smooth)
    return np.array([quiet(np.array([s]), i * STEP)[0] for i, s in enumerate(samples)])


def test_zero_passes_everything_through() -> None:
    noise = np.random.default_rng(0).normal(size=50)
    np.testing.assert_array_equal(run(0.0, noise), noise)


def test_jitter_shrinks_the_more_the_stronger() -> None:
    noise = 0.05 * np.random.default_rng(0).normal(size=300)
    left = [run(smooth, noise)[50:].std() / noise[50:].std() for smooth in (0.1, 0.3, 0.6, 1.0)]
    assert left == sorted(left, reverse=True)
    assert left[1] < 0.75
    assert left[3] < 0.3


def test_a_fast_movement_is_followed_within_three_frames() -> None:
    turn = np.concatenate([np.zeros(30), np.linspace(0, 4, 6), np.full(30, 4.0)])
    out = run(0.3, turn)
    behind = next(i for i in range(len(out)) if out[i] > 2) - next(
        i for i in range(len(turn)) if turn[i] > 2
    )
    assert behind <= 3
    assert abs(out[-1] - 4) < 0.02


def test_the_unit_of_a_code_does_not_matter() -> None:
    walk = np.cumsum(np.random.default_rng(1).normal(size=100))
    np.testing.assert_allclose(run(0.5, 50 * walk, scale=50.0), 50 * run(0.5, walk), rtol=1e-9)


def test_a_gap_starts_it_afresh() -> None:
    quiet = OneEuro(np.ones(1), 1.0)
    quiet(np.zeros(1), 0.0)
    assert quiet(np.ones(1), 5.0)[0] == 1.0


def test_reset_forgets() -> None:
    quiet = OneEuro(np.ones(1), 1.0)
    quiet(np.zeros(1), 0.0)
    quiet.reset()
    assert quiet(np.ones(1), STEP)[0] == 1.0
