"""The messages of a session (docs/protocol.md): what may come in, and how the answers are made."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

VERSION: Final = 1
MESSAGE_BYTES: Final = 65_536
SDP_CHARACTERS: Final = 60_000
TOKEN_CHARACTERS: Final = 512
RESUME_CHARACTERS: Final = 128
NAME_CHARACTERS: Final = 200
EDIT_LIMIT: Final = 100.0
MOST_EDITS: Final = 512

CLOSE_CODES: Final[dict[str, int]] = {
    "bad_message": 1008,
    "too_big": 1009,
    "rate": 1008,
    "token": 1008,
    "late": 1008,
    "busy": 1013,
    "stopping": 1012,
    "replaced": 4001,
    "failed": 1011,
}
"""Errors after which the socket is closed, and with what."""


class ProtocolError(Exception):
    """The peer gets ``code``, ``message`` and ``hint``; whether the socket is closed depends on the code."""

    def __init__(
        self, code: str, message: str, hint: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint
        self.retry_after = retry_after

    @property
    def fatal(self) -> bool:
        """The socket is closed after it."""
        return self.code in CLOSE_CODES

    def payload(self) -> dict[str, Any]:
        """As an ``error`` message."""
        found: dict[str, Any] = {
            "type": "error",
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "fatal": self.fatal,
        }
        if self.retry_after is not None:
            found["retry_after"] = round(self.retry_after, 1)
        return found


@dataclass(frozen=True)
class Join:
    token: str | None = None
    resume: str | None = None


@dataclass(frozen=True)
class Offer:
    sdp: str


@dataclass(frozen=True)
class Choose:
    name: str


@dataclass(frozen=True)
class Settings:
    """Each None: stays as it is."""

    strength: float | None = None
    mode: Literal["relative", "absolute"] | None = None
    mirror: bool | None = None
    smooth: float | None = None
    edits: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Calibrate:
    pass


@dataclass(frozen=True)
class Ping:
    t: float


@dataclass(frozen=True)
class Bye:
    pass


Message = Join | Offer | Choose | Settings | Calibrate | Ping | Bye


def parse(text: str) -> Message:
    """One message of a client. Raises ``ProtocolError`` for whatever is not exactly one."""
    # A character has up to four bytes, so the cheap test comes first.
    if len(text) > MESSAGE_BYTES or len(text.encode("utf-8", "surrogatepass")) > MESSAGE_BYTES:
        raise ProtocolError("too_big", f"a message has at most {MESSAGE_BYTES} bytes")
    try:
        found = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise _bad("a message is one JSON object") from None
    if not isinstance(found, dict):
        raise _bad("a message is one JSON object")
    kind = found.pop("type", None)
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise _bad(f"unknown type; known are {', '.join(_READERS)}")
    fields = _Fields(found)
    message = reader(fields)
    fields.finish()
    return message


def _no_constant(name: str) -> float:
    raise ValueError(name)  # NaN and Infinity are no JSON


def _bad(message: str) -> ProtocolError:
    return ProtocolError(
        "bad_message", message, "see docs/protocol.md; reload the page if it is one"
    )


class _Fields:
    """The fields of one message, taken out one by one; what is left is a mistake."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def text(self, name: str, longest: int) -> str:
        found = self.optional_text(name, longest)
        if found is None:
            raise _bad(f"{name} is missing")
        return found

    def optional_text(self, name: str, longest: int) -> str | None:
        found = self._fields.pop(name, None)
        if found is None:
            return None
        if not isinstance(found, str) or len(found) > longest:
            raise _bad(f"{name} must be a text of at most {longest} characters")
        try:
            found.encode("utf-8")
        except UnicodeEncodeError:  # half a surrogate pair
            raise _bad(f"{name} must be valid Unicode") from None
        return found

    def number(self, name: str, low: float = -math.inf, high: float = math.inf) -> float | None:
        if name not in self._fields:
            return None
        return _number(name, self._fields.pop(name), low, high)

    def flag(self, name: str) -> bool | None:
        found = self._fields.pop(name, None)
        if found is not None and not isinstance(found, bool):
            raise _bad(f"{name} must be true or false")
        return found

    def numbers(self, name: str) -> tuple[float, ...] | None:
        found = self._fields.pop(name, None)
        if found is None:
            return None
        if not isinstance(found, list) or len(found) > MOST_EDITS:
            raise _bad(f"{name} must be a list of numbers")
        return tuple(_number(name, value, -EDIT_LIMIT, EDIT_LIMIT) for value in found)

    def finish(self) -> None:
        if self._fields:
            raise _bad(f"unknown field {sorted(self._fields)[0][:40]!r}")


def _number(name: str, value: object, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _bad(f"{name} must be a number")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found) or not low <= found <= high:
        raise _bad(f"{name} must be a finite number in [{low:g}, {high:g}]")
    return found


def _join(fields: _Fields) -> Join:
    return Join(
        fields.optional_text("token", TOKEN_CHARACTERS),
        fields.optional_text("resume", RESUME_CHARACTERS),
    )


def _settings(fields: _Fields) -> Settings:
    mode = fields.optional_text("mode", 20)
    if mode not in (None, "relative", "absolute"):
        raise _bad('mode must be "relative" or "absolute"')
    return Settings(
        strength=fields.number("strength", 0, 2),
        mode=mode,  # type: ignore[arg-type]  # checked above
        mirror=fields.flag("mirror"),
        smooth=fields.number("smooth", 0, 1),
        edits=fields.numbers("edits"),
    )


def _ping(fields: _Fields) -> Ping:
    t = fields.number("t")
    if t is None:
        raise _bad("t is missing")
    return Ping(t)


_READERS: Final[dict[str, Callable[[_Fields], Message]]] = {
    "join": _join,
    "offer": lambda fields: Offer(fields.text("sdp", SDP_CHARACTERS)),
    "avatar": lambda fields: Choose(fields.text("name", NAME_CHARACTERS)),
    "settings": _settings,
    "calibrate": lambda fields: Calibrate(),
    "ping": _ping,
    "bye": lambda fields: Bye(),
}
