"""Settings of the live loop."""

from __future__ import annotations

from dataclasses import dataclass, field

from lia_live.engine.compositor import Background
from lia_live.engine.policy import PolicyConfig
from lia_live.errors import ConfigError

FPS_LIMITS = (1.0, 120.0)


@dataclass(frozen=True)
class PipelineConfig:
    """How the loop runs. What it runs on (source, tracker, renderer, sinks) is handed to it."""

    fps: float = 30.0
    """Pictures a second handed to every sink, new or repeated; 1 to 120."""
    background: Background = "plain"
    """Beside the square avatar: "plain" dark grey or "blur", the avatar's own picture out of focus."""
    badge: bool = True
    """Draw "AI avatar" on pictures, unless an ``Output`` says otherwise."""
    mirror_in: bool = False
    """Flip the driver before the motion is encoded."""
    mirror_out: bool = False
    """Flip the picture that leaves (never the badge)."""
    allow_passthrough: bool = False
    """Let the camera picture through while a key is held. Off: nothing that could do so exists."""
    sink_latency_s: float = 1 / 30
    """From hand-over to the call program's picture, for the audio delay; 0 to 5. Virtual cameras: a frame."""
    idle_after_s: float = 0.1
    """Without a new frame for this long, the avatar is moved on without one; 0.02 to 5."""
    fault_limit_s: float = 5.0
    """A tracker, renderer or compositor that fails this long without a success ends the run; 0 to 3600."""
    join_s: float = 5.0
    """How long the end of a run waits for each thread; 0.1 to 60."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    """How the driver's motion becomes the avatar's."""

    def __post_init__(self) -> None:
        bounds = {
            "fps": FPS_LIMITS,
            "sink_latency_s": (0.0, 5.0),
            "idle_after_s": (0.02, 5.0),
            "fault_limit_s": (0.0, 3600.0),
            "join_s": (0.1, 60.0),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:  # also refuses NaN
                raise ConfigError(f"engine.{name} must be in [{low:g}, {high:g}], got {value}")
        if self.background not in ("plain", "blur"):
            raise ConfigError(
                f'engine.background must be "plain" or "blur", got {self.background!r}'
            )
