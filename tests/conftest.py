"""For every test: one torch thread, and no trace in the user's own folders.

Two threads on two busy cores wait for each other, a hundred times longer.
"""

import os
from collections.abc import Iterator

import pytest

# Before torch is imported; child processes inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is measured about engines is remembered for this run of the tests only; child processes share it."""
    before = os.environ.get("LIA_LIVE_CACHE")
    os.environ["LIA_LIVE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["LIA_LIVE_CACHE"]
    else:
        os.environ["LIA_LIVE_CACHE"] = before
