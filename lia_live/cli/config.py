"""What a run may be told: frozen dataclasses, filled by a TOML file, then by flags.

An unknown key is an error that names the nearest match; a range is checked where the field lives.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from lia_live.cli.parser import did_you_mean
from lia_live.errors import ConfigError

Device = Literal["auto", "cpu", "cuda", "mps"]
Engine = Literal["auto", "torch", "openvino"]
Mode = Literal["relative", "absolute"]
Mirror = Literal["none", "in", "out", "both"]
Background = Literal["plain", "blur"]
ConsentAnswer = Literal["me", "permission", "not-a-person"]

MOTION_DIM = 20
"""Length of ``edits``: the number of motion directions of every published LIA."""
OUTPUTS = ("virtual", "preview", "none")
RECORDINGS = (".mp4", ".m4v", ".mov")
ZOOM_SAFE_FPS = 55
"""Above this rate Zoom hangs on a virtual camera."""


def in_range(name: str, value: float, low: float, high: float) -> None:
    """Raise unless low <= value <= high; NaN is out of every range."""
    if not low <= value <= high:
        raise ConfigError(
            f"{name} must be in [{low:g}, {high:g}], got {value:g}", _range_hint(name)
        )


def _range_hint(name: str) -> str:
    return f"give {name} a value inside that range, or leave it out for the default"


@dataclass(frozen=True)
class MotionSettings:
    """How the face of the user moves the avatar; shared by live and offline work."""

    mode: Mode = "relative"
    """"relative": movement since the neutral face. "absolute": the pose itself, as it is."""
    strength: float = 1.0
    """Multiplies the movement; 0 to 2."""
    smooth: float = 0.3
    """Smoothing of the motion codes, 0 (none, least delay) to 1 (calmest)."""
    edits: tuple[float, ...] = ()
    """Added to the motion directions, in their order; 20 numbers at most, each in [-10, 10]."""

    def __post_init__(self) -> None:
        in_range("strength", self.strength, 0, 2)
        in_range("smooth", self.smooth, 0, 1)
        if len(self.edits) > MOTION_DIM:
            raise ConfigError(
                f"edits has {len(self.edits)} numbers, there are {MOTION_DIM} directions",
                "leave the surplus out",
            )
        for value in self.edits:
            in_range("edits", value, -10, 10)


@dataclass(frozen=True)
class ModelSettings:
    """Which network, and what it runs on."""

    weights: str = "default"
    """"default" (shipped), a .safetensors file, or an official LIA .pt."""
    device: Device = "auto"
    """"auto" takes a GPU where there is one and says what it took."""
    engine: Engine = "auto"
    """What runs the network. "auto" measures once which is the fastest here, and remembers it."""


@dataclass(frozen=True)
class PictureSettings:
    """The picture that goes out."""

    width: int = 1280
    """Pixels, even, 64 to 3840; fixed for the life of the virtual camera."""
    height: int = 720
    """Pixels, even, 64 to 2160."""
    fps: float = 30.0
    """Frames a second of the output and asked of the camera; 1 to 60."""
    background: Background = "plain"
    """What fills the picture beside the avatar's square."""
    badge: bool | None = None
    """The "AI avatar" badge; None: on where a file is recorded, off otherwise."""

    def __post_init__(self) -> None:
        in_range("fps", self.fps, 1, 60)
        in_range("width", self.width, 64, 3840)
        in_range("height", self.height, 64, 2160)
        for name, value in (("width", self.width), ("height", self.height)):
            if value % 2:
                raise ConfigError(
                    f"{name} must be even, got {value}", f"take {value - 1} or {value + 1}"
                )


@dataclass(frozen=True)
class RunConfig:
    """Everything ``lia-live run`` may be told. Files and flags use these names, flat."""

    avatar: tuple[str, ...] = ()
    """Pictures, bundles or folders of them, in the order of keys 1 to 9."""
    camera: str = "0"
    """A number, a device path, a video file, a picture or a URL."""
    output: tuple[str, ...] = ("virtual",)
    """"virtual", "preview", "none" or a file name ending in .mp4; several at once."""
    model: ModelSettings = ModelSettings()
    motion: MotionSettings = MotionSettings()
    picture: PictureSettings = PictureSettings()
    mirror: Mirror = "none"
    """"in": the avatar moves as a looking glass would; "out": the finished picture is mirrored."""
    loop: bool = False
    """Begin a file again when it ends."""
    stats_json: str | None = None
    """Where the counters are written at the end."""
    duration: float | None = None
    """Stop after that many seconds."""
    consent: ConsentAnswer | None = None
    """Whose the portrait is, where it has not been answered before."""
    allow_passthrough: bool = False
    """Let the held key P show the real camera picture. Nothing else ever does."""

    def __post_init__(self) -> None:
        if self.duration is not None and not 0 < self.duration <= 7 * 86400:
            raise ConfigError(
                f"duration must be above 0 and at most 604800 s, got {self.duration:g}",
                _range_hint("duration"),
            )
        for output in self.output:
            if is_file(output) and not output.lower().endswith(RECORDINGS):
                raise ConfigError(
                    f"{output!r} is no output",
                    did_you_mean(output, OUTPUTS, "use virtual, preview, none or a file.mp4"),
                )
        if not self.output:
            raise ConfigError(
                "output is empty", 'name one: "virtual", "preview", "none" or a file.mp4'
            )

    def badge(self, output: str) -> bool:
        """Whether this output carries the badge: as told, else only where it is a recording."""
        return is_file(output) if self.picture.badge is None else self.picture.badge


def is_file(output: str) -> bool:
    """Whether an output names a file and not one of the words."""
    return output.partition(":")[0] != "virtual" and output not in OUTPUTS


Config = TypeVar("Config", RunConfig, MotionSettings, ModelSettings, PictureSettings)
_GROUPS = (MotionSettings, ModelSettings, PictureSettings)


def read_toml(path: Path) -> dict[str, Any]:
    """The keys of a configuration file. Raises ``ConfigError`` with the line of a mistake."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise ConfigError(
            f"no configuration file {path}", "check the path after --config"
        ) from None
    except (IsADirectoryError, UnicodeDecodeError):
        raise ConfigError(
            f"{path} is not a configuration file", "--config takes a TOML text file"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{path}: {error}", 'write one `key = value` a line, text in "quotes"'
        ) from None


def overlay(base: Config, values: Mapping[str, object], where: str) -> Config:
    """``base`` with ``values`` laid over it; keys are field names, of the groups too, with - or _.

    ``where`` begins the message of a mistake: a file name, or "" for flags.
    """
    groups = {
        field.name: getattr(base, field.name)
        for field in fields(base)
        if isinstance(getattr(base, field.name), _GROUPS)
    }
    homes = {field.name: "" for field in fields(base) if field.name not in groups}
    for group, settings in groups.items():
        homes.update({field.name: group for field in fields(settings)})
    prefix = f"{where}: " if where else ""
    changes: dict[str, dict[str, Any]] = {"": {}}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in homes:
            known = [known.replace("_", "-") if "-" in key else known for known in homes]
            raise ConfigError(
                f"{prefix}unknown key {key}",
                did_you_mean(key, known, "the keys are the long flags of `lia-live run --help`"),
            )
        home = homes[name]
        wanted = get_type_hints(type(groups[home] if home else base))[name]
        changes.setdefault(home, {})[name] = _fitted(value, wanted, f"{prefix}{key}")
    try:
        top = changes.pop("")
        for group, inner in changes.items():
            top[group] = replace(groups[group], **inner)
        return replace(base, **top)
    except ConfigError as error:
        raise ConfigError(f"{prefix}{error.message}", error.hint) from None


def _fitted(value: object, wanted: Any, name: str) -> object:
    """``value`` as the field wants it, or a ``ConfigError`` that says what it must be."""
    origin = get_origin(wanted)
    if origin in (UnionType, Union):  # the second where a Literal is part of it
        wanted = next(kind for kind in get_args(wanted) if kind is not NoneType)
        return _fitted(value, wanted, name)
    if origin is Literal:
        choices = get_args(wanted)
        if value not in choices:
            raise ConfigError(
                f"{name} must be one of {', '.join(choices)}, got {value!r}",
                did_you_mean(str(value), choices, "choose one of these"),
            )
        return value
    if origin is tuple:
        item = get_args(wanted)[0]
        many = value if isinstance(value, list | tuple) else [value]
        return tuple(_fitted(one, item, name) for one in many)
    if wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) else value
    if type(value) is wanted:
        return value
    if wanted is str and isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # camera = 0
    kinds = {
        float: "a number",
        int: "a whole number",
        str: "a text in quotes",
        bool: "true or false",
    }
    raise ConfigError(f"{name} must be {kinds[wanted]}, got {value!r}", "correct the value")
