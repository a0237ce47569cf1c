"""Newest wins, one item, counted drops, and nobody sleeps through the end."""

from __future__ import annotations

import threading
import time

from lia_live.engine.slot import Slot


def test_the_newest_item_wins_and_the_old_one_is_a_counted_drop() -> None:
    slot: Slot[int] = Slot()
    assert slot.put(1) is False
    assert slot.put(2) is True
    assert slot.put(3) is True
    assert (len(slot), slot.drops) == (1, 2)
    assert slot.take(0) == 3
    assert (len(slot), slot.take(0), slot.drops) == (0, None, 2)


def test_take_waits_no_longer_than_told() -> None:
    slot: Slot[int] = Slot()
    began = time.perf_counter()
    assert slot.take(0.05) is None
    assert 0.04 < time.perf_counter() - began < 1


def test_a_put_wakes_the_taker() -> None:
    slot: Slot[int] = Slot()
    taken: list[int | None] = []
    taker = threading.Thread(target=lambda: taken.append(slot.take(10)))
    taker.start()
    slot.put(7)
    taker.join(5)
    assert taken == [7]


def test_close_wakes_every_taker() -> None:
    slot: Slot[int] = Slot()
    takers = [threading.Thread(target=slot.take) for _ in range(3)]
    for taker in takers:
        taker.start()
    slot.close()
    for taker in takers:
        taker.join(5)
    assert not any(taker.is_alive() for taker in takers)


def test_what_waits_at_the_close_can_still_be_taken_once() -> None:
    slot: Slot[int] = Slot()
    slot.put(1)
    slot.close()
    assert slot.put(2) is False
    assert not slot.finished
    assert slot.take(0) == 1
    assert slot.finished
    assert slot.take(5) is None  # at once


def test_nothing_is_lost_or_doubled_between_two_threads() -> None:
    slot: Slot[int] = Slot()
    taken: list[int] = []

    def take() -> None:
        while (item := slot.take(5)) is not None:
            taken.append(item)

    taker = threading.Thread(target=take)
    taker.start()
    for item in range(5000):
        slot.put(item)
    slot.close()
    taker.join(10)
    assert taken == sorted(set(taken))
    assert taken[-1] == 4999
    assert len(taken) + slot.drops == 5000
