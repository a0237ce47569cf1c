"""For every test of the loop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine.live import lia_threads


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Whatever a run met, its threads have ended."""
    yield
    assert lia_threads() == []
