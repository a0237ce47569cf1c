"""Codes stay where the weights were trained, without a corner and without touching the avatar's own."""

from __future__ import annotations

import numpy as np

from lia_live.engine.bounds import SoftRange


def one(low: float, high: float, rest: float, code: np.ndarray) -> np.ndarray:
    soft = SoftRange(np.array([low]), np.array([high]), np.array([rest]))
    return np.array([soft(np.array([c]))[0] for c in code])


def test_inside_nothing_changes() -> None:
    code = np.linspace(-0.8, 0.8, 33)
    np.testing.assert_allclose(one(-1, 1, 0, code), code, atol=1e-12)


def test_the_end_of_the_range_is_never_passed() -> None:
    assert np.abs(one(-1, 1, 0, np.array([-1e6, -2, 2, 1e6]))).max() <= 1.0


def test_it_bends_without_a_corner() -> None:
    code = np.linspace(-3, 3, 6001)
    slope = np.diff(one(-1, 1, 0, code)) / np.diff(code)
    assert slope.min() >= 0
    assert np.abs(np.diff(slope)).max() < 0.01


def test_a_rest_outside_the_range_is_shown_as_it_is() -> None:
    assert one(-1, 1, 1.7, np.array([1.7]))[0] == 1.7
    assert one(-1, 1, 1.7, np.array([9.0]))[0] <= 1.9


def test_no_range_no_bound() -> None:
    for low, high in ((-np.inf, np.inf), (0.0, 0.0), (1.0, -1.0), (np.nan, 1.0)):
        assert one(low, high, 0.3, np.array([123.0]))[0] == 123.0
