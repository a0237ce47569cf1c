"""Times of frames: when they were captured, and when they are handed on."""

from __future__ import annotations

import pytest

from lia_live_server.media import Bunches, SourceClock


def test_frames_that_come_at_their_time_do_not_wait() -> None:
    bunches = Bunches()
    assert [bunches.wait(n / 60) for n in range(50)] == 50 * [0.0]


def test_frames_that_were_held_up_come_one_by_one() -> None:
    bunches = Bunches(step_s=0.01, most_s=0.02)
    now, waits = 5.0, []
    for _ in range(3):
        waits.append(bunches.wait(now))
        now += waits[-1]  # the next one has come already
    assert waits == pytest.approx([0.0, 0.01, 0.01])


def test_a_long_bunch_adds_no_delay() -> None:
    bunches = Bunches(step_s=0.01, most_s=0.02)
    now = 5.0
    for _ in range(100):
        now += bunches.wait(now)
    assert now == pytest.approx(5.02)
    assert bunches.wait(now + 0.04) == 0.0
    assert bunches.wait(now + 0.04) == pytest.approx(0.01)


def test_what_comes_in_a_bunch_was_not_captured_in_one() -> None:
    source = SourceClock()
    assert source.captured_at(0.0, 10.0) == 10.0
    late = [source.captured_at(0.04 * n, 10.16) for n in (1, 2, 3)]
    assert late == pytest.approx([10.04, 10.08, 10.12], abs=0.01)
