"""What a weights file says about itself: the text metadata of a lia-live safetensors file.

format       "lia-live/1"
config       JSON object: size, width, latent_dim, motion_dim, framing {kind, eye_distance, eye_x, eye_y}
directions   JSON list, one object a coefficient: name, low, high, neutral, scale
name, licence, dtype ("float16" or "float32"): text; anything else is kept as text
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from lia_live.errors import ConfigError, WeightsError
from lia_live.model.config import Framing, LIAConfig
from lia_live.model.directions import Direction

FORMAT = "lia-live/1"
DTYPES = ("float16", "float32")
MAX_TEXT = 10_000
"""Characters of any one text; the licence is the longest."""
REMAKE = "make the file again: lia-live weights convert, or save_weights of this version"
_OWN_KEYS = ("format", "config", "directions", "name", "licence", "dtype")


@dataclass(frozen=True)
class Header:
    """The metadata, checked."""

    config: LIAConfig
    directions: tuple[Direction, ...]
    name: str
    licence: str
    dtype: str
    """How the numbers are stored: "float16" or "float32". In memory they are always float32."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Whatever else was stored: training run, notes."""

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise WeightsError(f"dtype must be float16 or float32, got {self.dtype!r}", REMAKE)
        if len(self.directions) != self.config.motion_dim:
            raise WeightsError(
                f"{len(self.directions)} directions are named, the network has {self.config.motion_dim}",
                REMAKE,
            )

    def to_metadata(self) -> dict[str, str]:
        """The text that goes into the file."""
        return {
            **{key: text for key, text in self.extra.items() if key not in _OWN_KEYS},
            "format": FORMAT,
            "config": json.dumps(asdict(self.config), sort_keys=True),
            "directions": json.dumps([asdict(direction) for direction in self.directions]),
            "name": self.name,
            "licence": self.licence,
            "dtype": self.dtype,
        }

    @staticmethod
    def from_metadata(metadata: Mapping[str, str] | None) -> Header:
        """Read and check. Raises ``WeightsError`` that names the entry at fault."""
        text = dict(metadata or {})
        stated = text.get("format", "")
        if not stated:
            raise WeightsError(
                "it carries no lia-live header (format, config, directions)",
                "an official checkpoint is converted from its .pt: lia-live weights convert vox.pt",
            )
        if stated != FORMAT:
            raise WeightsError(
                f"it is of format {stated[:40]!r}, this version reads {FORMAT!r}",
                "update lia-live, or take weights made for this version",
            )
        for key in _OWN_KEYS:
            if key not in text:
                raise WeightsError(f"its header lacks {key!r}", REMAKE)
            if key != "directions" and len(text[key]) > MAX_TEXT:
                raise WeightsError(
                    f"its header's {key!r} is longer than {MAX_TEXT} characters", REMAKE
                )
        return Header(
            config=_config(_json(text["config"], "config")),
            directions=_directions(_json(text["directions"], "directions")),
            name=text["name"],
            licence=text["licence"],
            dtype=text["dtype"],
            extra={key: value for key, value in text.items() if key not in _OWN_KEYS},
        )


def _json(text: str, key: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"its header's {key!r} is not JSON", REMAKE) from error


def _config(value: Any) -> LIAConfig:
    entries = _entries(value, LIAConfig, "config")
    framing = _entries(entries.pop("framing"), Framing, "config.framing")
    for name in ("size", "latent_dim", "motion_dim"):
        if type(entries[name]) is not int:
            raise WeightsError(
                f"config.{name} must be a whole number, got {entries[name]!r}", REMAKE
            )
    entries["width"] = _number(entries["width"], "config.width")
    for name in ("eye_distance", "eye_x", "eye_y"):
        framing[name] = _number(framing[name], f"config.framing.{name}")
    try:
        return LIAConfig(**entries, framing=Framing(**framing))
    except ConfigError as error:
        raise WeightsError(f"its header is out of range: {error.message[:120]}", REMAKE) from error


def _directions(value: Any) -> tuple[Direction, ...]:
    if not isinstance(value, list):
        raise WeightsError("its header's 'directions' is not a list", REMAKE)
    found = []
    for index, item in enumerate(value):
        where = f"directions[{index}]"
        entries = _entries(item, Direction, where)
        name = entries.pop("name")
        if not isinstance(name, str) or not 0 < len(name) <= 80:
            raise WeightsError(f"{where}.name must be a text of 1 to 80 characters", REMAKE)
        numbers = {key: _number(number, f"{where}.{key}") for key, number in entries.items()}
        if numbers["low"] > numbers["high"] or numbers["scale"] <= 0:
            raise WeightsError(f"{where} must have low <= high and scale > 0", REMAKE)
        found.append(Direction(name, **numbers))
    return tuple(found)


def _entries(value: Any, kind: type[Any], where: str) -> dict[str, Any]:
    expected = {f.name for f in fields(kind)}
    if not isinstance(value, dict) or set(value) != expected:
        raise WeightsError(
            f"{where} must have exactly the entries {', '.join(sorted(expected))}", REMAKE
        )
    return dict(value)


def _number(value: Any, where: str) -> float:
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:  # JSON's whole numbers have no end
        number = math.inf
    if isinstance(value, bool) or not math.isfinite(number):
        raise WeightsError(f"{where} must be a finite number, got {str(value)[:40]!r}", REMAKE)
    return number
