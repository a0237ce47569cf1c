"""Silence is for known noise only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lia_live.track.quiet import quiet

ROOT = Path(__file__).resolve().parents[2]


def test_noise_goes_and_everything_else_comes_through(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet():
        os.write(2, b"W0000 00:00:1 inference_feedback_manager.cc:114] chatter\n")
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n")
        os.write(2, b"another thread has something to say\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "another thread has something to say\nafter\n"


def test_a_failure_shows_all(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), quiet():
        os.write(2, b"W0000 what went wrong\n")
        raise ZeroDivisionError
    assert "what went wrong" in capfd.readouterr().err


def test_a_tracker_says_nothing_and_mediapipe_comes_only_with_it() -> None:
    program = """
import sys
import lia_live.track as track
assert "mediapipe" not in sys.modules, "imported before it is needed"
from tests.track.faces import hopper
from lia_live.frame import Frame
from lia_live.model.config import Framing
tracker = track.FaceTracker(Framing(), 64)
assert tracker.track(Frame(hopper(), 0.0, 0)) is not None
assert tracker.track(Frame(hopper(), 0.1, 1)) is not None
assert track.find_faces(hopper())
tracker.close()
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
