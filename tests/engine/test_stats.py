"""What is counted and how it is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lia_live.engine.memory import resident_mb
from lia_live.engine.stats import Stats
from lia_live.errors import StorageError


def stats() -> Stats:
    return Stats("cpu", "torch", "fp32", began_at=10.0, sink_latency_s=0.033)


def test_the_snapshot_has_every_promised_key() -> None:
    snapshot = stats().snapshot()
    promised = (
        "frames_in frames_out repeated dropped face_frames fps age_ms model_ms track_ms startup_s "
        "device engine precision rss_mb"
    )
    assert set(promised.split()) <= set(snapshot)
    assert set(snapshot["age_ms"]) == {"p50", "p95", "p99"}
    assert set(snapshot["model_ms"]) == set(snapshot["track_ms"]) == {"p50", "p95", "p99"}
    json.dumps(snapshot)


def test_rates_ages_and_start_are_what_happened() -> None:
    counted = stats()
    for index in range(61):
        now = 12.0 + index / 30
        counted.count_out(now, now - 0.050 if index % 2 else None)
    snapshot = counted.snapshot()
    assert snapshot["frames_out"] == 61
    assert snapshot["fps"] == 30.0
    assert snapshot["startup_s"] == 2.0
    assert snapshot["age_ms"] == {"p50": 50.0, "p95": 50.0, "p99": 50.0}
    assert len(counted.age) == 30  # those that no frame drove have no age
    assert counted.fps_now(14.0) == pytest.approx(30, rel=0.05)
    assert counted.fps_now(100.0) == 0.0
    assert counted.audio_delay_ms() == 83


def test_the_line_says_what_to_set_and_what_was_lost() -> None:
    counted = stats()
    counted.avatar, counted.driver = "me", "face"
    counted.count_out(12.0, 11.9)
    counted.notes["out.mp4"] = "out.mp4 lost: no space"
    line = counted.line(12.1)
    assert "me: face" in line
    assert "audio delay 133 ms" in line
    assert "out.mp4 lost: no space" in line
    assert "\n" not in line


def test_the_file_is_the_snapshot(tmp_path: Path) -> None:
    counted = stats()
    counted.write(tmp_path / "stats.json")
    assert json.loads((tmp_path / "stats.json").read_text())["device"] == "cpu"
    with pytest.raises(StorageError, match="nowhere"):
        counted.write(tmp_path / "nowhere" / "stats.json")


def test_the_process_has_a_size() -> None:
    size = resident_mb()
    assert size is None or 10 < size < 100_000
