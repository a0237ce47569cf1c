"""Settings as text: a TOML file over the defaults, ``key=value`` over that, and what differs between two."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from lia_live.errors import ConfigError

Config = TypeVar("Config")


def overlay(base: Config, values: Mapping[str, Any], where: str = "") -> Config:
    """``base`` (a frozen dataclass) with nested ``values`` laid over it.

    Keys are field names; a list of tables replaces a tuple of dataclasses, whose missing fields come from
    the place they replace. Raises ``ConfigError`` with the dotted name of what is unknown or does not fit.
    """
    hints = get_type_hints(type(base))
    changes: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{where}{key}"
        if key not in hints:
            raise ConfigError(f"unknown key {name}", _nearest(key, hints))
        changes[key] = _fitted(getattr(base, key), value, hints[key], name)
    return replace(base, **changes)  # type: ignore[type-var]


def read_toml(base: Config, path: Path) -> Config:
    """``base`` with a TOML file over it. Raises ``ConfigError``."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"no configuration file {path}", "check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} is not a configuration file: {error}", "give a TOML file"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{path}: {error}", 'write one `key = value` a line, text in "quotes"'
        ) from None
    try:
        return overlay(base, values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}", error.hint) from None


def assign(base: Config, words: Sequence[str]) -> Config:
    """``base`` with ``stages.0.batch=8`` and the like applied in order. Raises ``ConfigError``."""
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise ConfigError(f"{word!r} is no setting", "write it as key=value")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text  # a word without quotes
        base = _assigned(base, key.split("."), value, key)
    return base


def differences(old: Any, new: Any) -> list[str]:
    """One line for each leaf that is not the same, ``key: old -> new``; both as from ``plain``."""
    before, after = dict(_leaves(old, "")), dict(_leaves(new, ""))
    keys = [*before, *(key for key in after if key not in before)]
    return [
        f"{key}: {before.get(key, 'absent')} -> {after.get(key, 'absent')}"
        for key in keys
        if before.get(key, "absent") != after.get(key, "absent")
    ]


def plain(config: Any) -> dict[str, Any]:
    """A dataclass as what JSON can hold: dicts, lists, numbers, words."""

    def as_json(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: as_json(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [as_json(inner) for inner in value]
        return value

    whole: dict[str, Any] = as_json(asdict(config))
    return whole


def _leaves(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{where}.{index}")
    else:
        yield where, value


def _assigned(base: Any, keys: list[str], value: Any, whole: str) -> Any:
    key, *rest = keys
    if isinstance(base, tuple):
        if not key.isdigit() or int(key) >= len(base):
            raise ConfigError(f"unknown key {whole}", f"{key!r} must be a number below {len(base)}")
        index = int(key)
        return (*base[:index], _assigned(base[index], rest, value, whole), *base[index + 1 :])
    if not is_dataclass(base) or isinstance(base, type):
        raise ConfigError(f"unknown key {whole}", "it goes deeper than the settings do")
    hints = get_type_hints(type(base))
    if key not in hints:
        raise ConfigError(f"unknown key {whole}", _nearest(key, hints))
    now = getattr(base, key)
    if now is None and rest:
        now = _begun(hints[key])
    changed = _assigned(now, rest, value, whole) if rest else _fitted(now, value, hints[key], whole)
    return replace(base, **{key: changed})


def _fitted(now: Any, value: Any, wanted: Any, name: str) -> Any:
    """``value`` as a field of type ``wanted``, whose present value is ``now``."""
    origin = get_origin(wanted)
    if is_dataclass(wanted):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name} must be a table", f"its keys: {_keys(wanted)}")
        return overlay(now, value, f"{name}.")
    if origin in (Union, UnionType):
        if value is None:
            return None
        if now is None:
            now = _begun(wanted)
        return _fitted(now, value, _inner(wanted), name)
    if origin is Literal:
        if value not in get_args(wanted):
            raise ConfigError(
                f"{name} must be one of {', '.join(map(str, get_args(wanted)))}, got {value!r}",
                "choose one of these",
            )
        return value
    if origin is tuple:
        return _fitted_tuple(now, value, get_args(wanted), name)
    if wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if type(value) is not wanted:
        kinds = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
        raise ConfigError(
            f"{name} must be {kinds.get(wanted, wanted)}, got {value!r}", "correct the value"
        )
    return value


def _inner(optional: Any) -> Any:
    """The type beside None of a field that may be None."""
    return next(kind for kind in get_args(optional) if kind is not NoneType)


def _begun(optional: Any) -> Any:
    """What keys are laid over where such a field is None: its dataclass's defaults; None if it is no dataclass."""
    inner = _inner(optional)
    return inner() if isinstance(inner, type) and is_dataclass(inner) else None


def _fitted_tuple(now: Any, value: Any, kinds: tuple[Any, ...], name: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{name} must be a list, got {value!r}", "write it in [brackets]")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        under = [now[min(i, len(now) - 1)] if now else None for i in range(len(value))]
        if is_dataclass(kinds[0]):
            make: Any = kinds[0]
            under = [place if place is not None else make() for place in under]
        return tuple(
            _fitted(place, one, kinds[0], f"{name}.{i}")
            for i, (place, one) in enumerate(zip(under, value, strict=True))
        )
    if len(value) != len(kinds):
        raise ConfigError(f"{name} must hold {len(kinds)} values, got {len(value)}", "correct it")
    return tuple(
        _fitted(None, one, kind, f"{name}.{i}")
        for i, (one, kind) in enumerate(zip(value, kinds, strict=True))
    )


def _nearest(key: str, known: Mapping[str, Any]) -> str:
    found = difflib.get_close_matches(key, list(known), n=1)
    return f"did you mean {found[0]}?" if found else f"known here: {', '.join(known)}"


def _keys(kind: Any) -> str:
    return ", ".join(field.name for field in fields(kind))
