"""How much is sent, by what the far end reports."""

from __future__ import annotations

from lia_live_server.ladder import DOUBLED_BPS, FIRST_BPS, LOWEST_BPS, Ladder
from lia_live_server.media import Pace, SourceClock
from lia_live_server.peer import unsmoothed


def drive(ladder: Ladder, now: float, seconds: int, **report: float | None) -> float:
    for _ in range(seconds):
        now += 1
        given = {"loss": 0.0, "rtt_s": 0.03, "sent_bps": float(ladder.rung().bitrate_bps), **report}
        ladder.report(now, **given)
    return now


def test_a_good_link_gets_the_whole_picture_and_no_more_than_a_face_needs() -> None:
    ladder = Ladder(384, 30)
    assert ladder.rung().bitrate_bps == FIRST_BPS
    drive(ladder, 0, 20)
    rung = ladder.rung()
    assert (rung.side_px, rung.fps, rung.bitrate_bps) == (384, 30, 2_500_000)


def squeezed(ladder: Ladder, now: float, link: float, seconds: int) -> float:
    for _ in range(seconds):
        now += 1
        sent = float(ladder.rung().bitrate_bps)
        ladder.report(now, max(0.0, 1 - link / sent), 0.03, sent)
    return now


def test_a_choked_link_gets_what_it_takes_within_three_reports() -> None:
    ladder = Ladder(384, 30)
    now = squeezed(ladder, drive(ladder, 0, 10), 150_000, 3)
    rung = ladder.rung()
    assert rung.bitrate_bps <= 150_000
    assert rung.fps >= 15
    assert rung.side_px <= 256
    now = drive(ladder, now, 15)
    assert ladder.rung().fps >= 0.8 * 30
    drive(ladder, now, 30)
    assert ladder.rung().side_px == 384


def test_growing_delay_counts_before_anything_is_lost() -> None:
    ladder = Ladder(384, 30)
    now = drive(ladder, 0, 10)
    drive(ladder, now, 1, rtt_s=0.4, sent_bps=500_000.0)
    assert ladder.choked
    assert ladder.rung().bitrate_bps <= 400_000


def test_random_loss_is_answered_by_sending_twice_and_not_by_a_smaller_picture() -> None:
    ladder = Ladder(384, 30)
    now = drive(ladder, drive(ladder, 0, 10), 20, loss=0.2)
    assert ladder.doubled
    assert (ladder.rung().side_px, ladder.rung().fps) == (384, 30)
    assert ladder.rung().bitrate_bps <= DOUBLED_BPS
    drive(ladder, now, 1)
    assert not ladder.doubled


def test_a_still_picture_is_not_taken_for_a_poor_link() -> None:
    ladder = Ladder(384, 30)
    now = drive(ladder, 0, 5)
    ladder.remb(20_000)  # what receivers say who have seen little
    drive(ladder, now, 30, sent_bps=20_000.0, loss=0.4)
    assert ladder.rung().fps == 30
    assert ladder.rung().side_px == 384


def test_never_below_the_least() -> None:
    ladder = Ladder(384, 30)
    drive(ladder, 0, 50, loss=0.99)
    assert ladder.rung().bitrate_bps == LOWEST_BPS
    assert ladder.rung().side_px >= 96


def test_sizes_are_even_and_never_above_the_best() -> None:
    for side in (128, 200, 384, 512, 1024):
        ladder, now = Ladder(side, 30), 0.0
        for loss in (0.0, 0.5, 0.6, 0.5, 0.5):
            now = drive(ladder, now, 1, loss=loss)
            found = ladder.rung().side_px
            assert found % 2 == 0
            assert 96 <= found <= side


def test_the_newest_round_trip_is_taken_out_of_the_running_mean() -> None:
    mean, seen = None, []
    for rtt in (0.05, 0.05, 0.4, 0.06):
        new = rtt if mean is None else 0.85 * mean + 0.15 * rtt
        seen.append(unsmoothed(mean, new))
        mean = new
    assert [None if s is None else round(s, 3) for s in seen] in (
        [0.05, None, 0.4, 0.06],
        [0.05, 0.05, 0.4, 0.06],  # by the last digit of a float
    )
    assert unsmoothed(0.1, None) is None


def test_a_source_clock_takes_the_shortest_way_as_none() -> None:
    clock = SourceClock()
    late = [0.0, 0.03, 0.0, 0.2, 0.01]
    ages = []
    for number, delay in enumerate(late):
        arrived = 50 + number / 25 + delay
        ages.append(arrived - clock.captured_at(number / 25, arrived))
    assert [round(age, 2) for age in ages] == [0.0, 0.03, 0.0, 0.2, 0.01]


def test_a_source_clock_follows_a_new_camera_and_never_tells_the_future() -> None:
    clock = SourceClock()
    clock.captured_at(1000.0, 10.0)
    assert clock.captured_at(0.0, 10.04) == 10.04
    assert clock.captured_at(0.1, 10.05) <= 10.05


def test_the_pace_holds_in_the_long_run_and_lets_bursts_through() -> None:
    pace, now, sent = Pace(3, 0.0), 0.0, 0
    while now < 10:
        now += pace.wait(20, now)
        sent += 1
    assert 198 <= sent <= 204
    assert [pace.wait(20, 20.0) for _ in range(3)] == [0.0] * 3
    assert pace.wait(20, 20.0) > 0
