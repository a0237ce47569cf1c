"""Avatars ready ahead of time, without a limit on how many there are."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lia_live.engine.shelf import READY_AT_ONCE, AvatarShelf
from lia_live.engine.stats import Stats
from tests.doubles import scripted_avatar

NAMES = [f"avatar {i}" for i in range(40)]


class Workshop:
    """Prepares avatars, and remembers the order."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.broken: set[str] = set()

    def __call__(self, avatar: Any) -> Any:
        if avatar.name in self.broken:
            raise RuntimeError("broken")
        self.done.append(avatar.name)
        return avatar


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


@pytest.fixture
def shelf(workshop: Workshop) -> Iterator[AvatarShelf]:
    made = AvatarShelf(
        [scripted_avatar(name) for name in NAMES],
        workshop,
        Stats("cpu", "torch", "fp32", began_at=0.0, sink_latency_s=0.0),
    )
    made.first()
    thread = threading.Thread(target=made.run)
    thread.start()
    yield made
    made.close()
    thread.join(5)
    assert not thread.is_alive()


def until(condition: Any) -> None:
    """Wait for it, ten seconds at most."""
    deadline = time.perf_counter() + 10
    while not condition():
        assert time.perf_counter() < deadline
        time.sleep(0.002)


def taken(shelf: AvatarShelf) -> Any:
    found: list[Any] = []
    until(lambda: (avatar := shelf.due()) is not None and not found.append(avatar))
    return found[0]


def test_the_nearest_are_made_ready_first(shelf: AvatarShelf, workshop: Workshop) -> None:
    until(lambda: len(workshop.done) == READY_AT_ONCE)
    assert workshop.done == NAMES[:READY_AT_ONCE]


def test_a_far_one_is_made_when_asked_for_and_makes_the_far_ones_go(
    shelf: AvatarShelf, workshop: Workshop
) -> None:
    shelf.ask(30)
    assert shelf.current == 30
    assert taken(shelf).name == "avatar 30"
    assert shelf.due() is None
    until(lambda: "avatar 25" in workshop.done and "avatar 35" in workshop.done)
    until(lambda: len(shelf._ready) == READY_AT_ONCE)
    assert 0 not in shelf._ready


def test_the_last_wish_counts(shelf: AvatarShelf) -> None:
    for index in (30, 20, 3):
        shelf.ask(index)
    assert taken(shelf).name == "avatar 3"


def test_a_broken_one_is_told_and_may_be_asked_for_again(
    shelf: AvatarShelf, workshop: Workshop
) -> None:
    workshop.broken.add("avatar 30")
    shelf.ask(30)
    until(lambda: "avatar" in shelf._stats.notes)
    assert shelf._stats.notes["avatar"] == "avatar 30 cannot be used: broken"
    assert shelf.current == 0
    workshop.broken.clear()
    shelf.ask(30)
    assert taken(shelf).name == "avatar 30"
    assert "avatar" not in shelf._stats.notes
