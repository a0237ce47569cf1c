"""What makes a portrait or a clip fit for training, and how it is stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, get_args

from lia_live.errors import ConfigError
from lia_live.model.config import Framing
from lia_live.train.prepared_file import Store

_OFTEN: Final = 240.0
"""No camera that matters here is faster, frames a second."""


@dataclass(frozen=True)
class ClipConfig:
    """How a video, or a folder of frames, becomes clips."""

    side: int = 256
    """Side of the stored frames in pixels; 64 to 1024."""
    fps: float = 12.5
    """Frames a second that are kept; slower videos keep their own rate. 1 to 60."""
    frames_fps: float = 25.0
    """Rate at which a folder of frames was taken (VoxCeleb: 25); 1 to 240."""
    min_s: float = 0.5
    """Shorter pieces are left out, seconds; 0.1 to 10."""
    max_s: float = 10.0
    """Longer shots are cut into clips of this length, seconds; ``min_s`` to 60."""
    max_video_s: float = 120.0
    """So much of one video is used, from its beginning, seconds; ``max_s`` to 86,400."""
    min_eye_px: float = 36.0
    """Smallest distance of the outer eye corners in the video, pixels (median of a clip); >= 1."""
    max_border: float = 0.25
    """Largest share of the square that may lie outside the video's picture; 0 to 1."""
    max_lost: float = 0.1
    """Largest share of a clip's frames in which the face may be lost; 0 to 0.5."""

    def __post_init__(self) -> None:
        _check(self, "prepare.clips", "side", 64, 1024)
        _check(self, "prepare.clips", "fps", 1, 60)
        _check(self, "prepare.clips", "frames_fps", 1, _OFTEN)
        _check(self, "prepare.clips", "min_s", 0.1, 10)
        _check(self, "prepare.clips", "max_s", self.min_s, 60)
        _check(self, "prepare.clips", "max_video_s", self.max_s, 86_400)
        _check(self, "prepare.clips", "min_eye_px", 1, 4096)
        _check(self, "prepare.clips", "max_border", 0, 1)
        _check(self, "prepare.clips", "max_lost", 0, 0.5)


@dataclass(frozen=True)
class PrepareConfig:
    """What makes a portrait fit for training, and what holds for everything that is prepared."""

    side: int = 320
    """Side of the stored portraits in pixels; 64 to 1024."""
    framing: Framing = field(default_factory=Framing)
    """Where the eyes lie in the stored pictures."""
    keep_framing: bool = False
    """Leave pictures and frames as they were cropped (their centred square); only their size changes."""
    max_border: float = 0.12
    """Largest share of the crop that may lie outside the picture (replicated there); 0 to 1."""
    max_yaw_deg: float = 25.0
    """Faces turned further than this smear when they are turned back; 0 to 90."""
    min_eye_px: float = 50.0
    """Smallest distance of the outer eye corners in the original picture, pixels; >= 1."""
    held_out_every: int = 15
    """Every such file is kept from training, by the number in its name where names are one beginning and a
    counter, else by its place in the order of names; 0 keeps none. Where folders ``train`` and ``test`` lie side
    by side, those decide."""
    held_out: tuple[str, ...] = ()
    """Names of more files or videos to keep from training, with or without folder and suffix."""
    group: str = ""
    """Licence group of files that no index.csv names."""
    max_bad: float = 0.2
    """Larger share of files that cannot be read at all ends the preparation; 0 to 1."""
    store: Store = "raw"
    """How pictures are kept."""
    shard_mb: int = 128
    """Size of one file in 2^20 bytes, about; 1 to 1024."""
    clips: ClipConfig = field(default_factory=ClipConfig)
    """For videos."""

    def __post_init__(self) -> None:
        _check(self, "prepare", "side", 64, 1024)
        _check(self, "prepare", "max_border", 0, 1)
        _check(self, "prepare", "min_eye_px", 1, 4096)
        _check(self, "prepare", "held_out_every", 0, 1_000_000)
        _check(self, "prepare", "max_bad", 0, 1)
        _check(self, "prepare", "shard_mb", 1, 1024)
        if not 0 < self.max_yaw_deg <= 90:
            raise ConfigError(f"prepare.max_yaw_deg must be in (0, 90], got {self.max_yaw_deg}")
        if self.framing.kind != "face":
            raise ConfigError('prepare.framing.kind must be "face"', "keep_framing needs no crop")
        if self.store not in get_args(Store):
            raise ConfigError(f'prepare.store must be "raw" or "jpeg", got {self.store!r}')


def _check(
    config: ClipConfig | PrepareConfig, home: str, name: str, low: float, high: float
) -> None:
    value = getattr(config, name)
    if not low <= value <= high:  # NaN is out of every range
        raise ConfigError(f"{home}.{name} must be in [{low:g}, {high:g}], got {value:g}")
