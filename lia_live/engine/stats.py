"""What the loop counts, and how it is said: a dictionary for programs, one line for people."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lia_live.engine.memory import resident_mb
from lia_live.errors import StorageError
from lia_live.timing import Percentiles

if TYPE_CHECKING:
    from lia_live.render.interface import Renderer

DriverState = Literal["starting", "face", "no face", "no camera"]
RECENT_S = 2.0
"""The rate shown live is that of the last two seconds."""


@dataclass
class Stats:
    """Counters of one run. Each is written by one thread only and read by any."""

    device: str
    engine: str
    precision: str
    began_at: float
    """When the user asked for it, seconds on the loop's clock; ``startup_s`` counts from here."""
    sink_latency_s: float

    frames_in: int = 0
    """Frames read from the source (capture thread)."""
    face_frames: int = 0
    """Frames in which a face was found (model thread)."""
    frames_out: int = 0
    """New avatar pictures handed to the sinks, counted once each (output thread)."""
    repeated: int = 0
    """Times the last picture was handed over again by the steady clock (output thread)."""
    passthrough_frames: int = 0
    """Camera pictures shown because the passthrough key was held (output thread)."""
    dropped_in: int = 0
    """Camera frames replaced by a newer one before the tracker took them."""
    dropped_tracked: int = 0
    """Tracked frames replaced by a newer one before the network took them."""
    dropped_out: int = 0
    """Avatar pictures replaced by a newer one before the output took them."""
    driver: DriverState = "starting"
    calibrated: bool = False
    neutral_score: float = 0.0
    avatar: str = ""
    age: Percentiles = field(default_factory=Percentiles)
    """Capture to first hand-over, of pictures that a camera frame drove."""
    model: Percentiles = field(default_factory=Percentiles)
    """Motion encoding and rendering of one frame."""
    track: Percentiles = field(default_factory=Percentiles)
    faults: dict[str, int] = field(default_factory=dict)
    """Survived faults by seam: "tracker", "encoder", "renderer", "compositor"."""
    notes: dict[str, str] = field(default_factory=dict)
    """Things the user should know, by topic: a sink that was lost, an avatar that could not be loaded."""
    first_out_at: float | None = None
    last_out_at: float | None = None
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=256))

    def runs_on(self, renderer: Renderer) -> None:
        """The network on stage is run by ``renderer``."""
        self.device, self.engine = renderer.device, renderer.engine
        self.precision = renderer.precision

    @property
    def dropped(self) -> int:
        """Frames and pictures that a newer one replaced, wherever it was."""
        return self.dropped_in + self.dropped_tracked + self.dropped_out

    def count_out(self, now: float, captured_at: float | None) -> None:
        """A new avatar picture is handed over at ``now``."""
        self.frames_out += 1
        if self.first_out_at is None:
            self.first_out_at = now
        self.last_out_at = now
        self.recent.append(now)
        if captured_at is not None:
            self.age.add(now - captured_at)

    def fps(self) -> float:
        """New avatar pictures a second, over the whole run."""
        if self.first_out_at is None or self.last_out_at is None or self.frames_out < 2:
            return 0.0
        return (self.frames_out - 1) / max(self.last_out_at - self.first_out_at, 1e-9)

    def fps_now(self, now: float) -> float:
        """The same over the last two seconds before ``now``."""
        since = now - RECENT_S
        if self.first_out_at is not None:
            since = max(since, self.first_out_at)
        count = sum(1 for at in list(self.recent) if at > since)
        return count / max(now - since, 0.1)

    def audio_delay_ms(self) -> int:
        """What to set in OBS or Zoom so that the voice meets the lips: median age plus the sink's own."""
        return round(self.age.milliseconds(50)["p50"] + self.sink_latency_s * 1000)

    def snapshot(self) -> dict[str, Any]:
        """Everything as JSON-able values; the keys of ``--stats-json``."""
        startup = None if self.first_out_at is None else round(self.first_out_at - self.began_at, 3)
        return {
            "frames_in": self.frames_in,
            "frames_out": self.frames_out,
            "repeated": self.repeated,
            "dropped": self.dropped,
            "dropped_in": self.dropped_in,
            "dropped_tracked": self.dropped_tracked,
            "dropped_out": self.dropped_out,
            "face_frames": self.face_frames,
            "passthrough_frames": self.passthrough_frames,
            "fps": round(self.fps(), 2),
            "age_ms": self.age.milliseconds(50, 95, 99),
            "model_ms": self.model.milliseconds(50, 95, 99),
            "track_ms": self.track.milliseconds(50, 95, 99),
            "audio_delay_ms": self.audio_delay_ms(),
            "startup_s": startup,
            "rss_mb": resident_mb(),
            "device": self.device,
            "engine": self.engine,
            "precision": self.precision,
            "avatar": self.avatar,
            "driver": self.driver,
            "calibrated": self.calibrated,
            "neutral_score": round(self.neutral_score, 3),
            "faults": dict(self.faults),
            "notes": dict(self.notes),
        }

    def line(self, now: float) -> str:
        """One line for the terminal at ``now``."""
        age = self.age.milliseconds(50, 95)
        neutral = f"neutral {self.neutral_score:.2f}" if self.calibrated else "finding neutral"
        parts = [
            f"{self.avatar}: {self.driver}",
            f"{self.fps_now(now):.1f} fps",
            f"age {age['p50']:.0f}/{age['p95']:.0f} ms",
            f"model {self.model.milliseconds(50)['p50']:.0f} ms",
            f"dropped {self.dropped}",
            neutral,
            f"set audio delay {self.audio_delay_ms()} ms",
        ]
        if self.faults:
            parts.append(f"faults {sum(self.faults.values())}")
        parts.extend(self.notes.values())
        return " · ".join(parts)

    def write(self, path: Path) -> None:
        """The snapshot as a JSON file. Raises ``StorageError``."""
        try:
            path.write_text(json.dumps(self.snapshot(), indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise StorageError(
                f"cannot write {path}: {error.strerror}", "choose a writable place for --stats-json"
            ) from error
