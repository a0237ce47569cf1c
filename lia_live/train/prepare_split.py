"""What is held out: a folder ``test`` beside ``train``, names on a list, or every so many."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from itertools import accumulate
from pathlib import PurePosixPath
from typing import Final

from lia_live.errors import ConfigError
from lia_live.io.names import natural
from lia_live.train.prepare_config import PrepareConfig

SPLITS: Final = ("train", "test")
"""Folders of the VoxCeleb, TaichiHD and TED layout: what is in the second is held out."""
_COUNTED: Final = re.compile(r"(\D*)(\d+)")


def held_out(names: Sequence[str], config: PrepareConfig) -> set[str]:
    """Those of ``names`` that are kept from training. Names are paths with / between their parts; folders (of
    frames) end with /. Raises ``ConfigError`` if ``config.held_out`` names what is not there.
    """
    held = _listed(names, config.held_out)
    every = config.held_out_every
    paths = {name: _folders(name) for name in names}
    pairs = _pairs(paths)
    free = []
    for name, folders in paths.items():
        homes = [home for home in ("", *folders) if home in pairs]
        if any(f"{home}{SPLITS[1]}/" in folders for home in homes):
            held.add(name)
        elif not homes:
            free.append(name)
    if every:
        held |= {name for name, count in _counts(free, every).items() if count % every == 0}
    return held


def _folders(name: str) -> list[str]:
    """a/b/c.jpg -> a/, a/b/"""
    return list(accumulate(f"{part}/" for part in name.split("/")[:-1]))


def _pairs(paths: dict[str, list[str]]) -> set[str]:
    """Folders in which there is something under train/ and something under test/; "" is the input itself."""
    every = {folder for folders in paths.values() for folder in folders}
    train, test = ({f[: -len(s) - 1] for f in every if f"/{f}".endswith(f"/{s}/")} for s in SPLITS)
    return train & test


def _counts(names: Sequence[str], every: int) -> dict[str, int]:
    """What each name is counted by: its number, where names are one beginning and a counter (in all of the input,
    or in a folder of ``every`` or more); else its place among the others, 2 before 10.
    """
    counts = _counters(names)
    if not counts:
        inside: dict[str, list[str]] = {}
        for name in names:
            inside.setdefault(str(PurePosixPath(name).parent), []).append(name)
        for here in inside.values():
            counts |= _counters(here) if len(here) >= every else {}
    others = sorted((name for name in names if name not in counts), key=natural)
    return counts | {name: place for place, name in enumerate(others, 1)}


def _counters(names: Sequence[str]) -> dict[str, int]:
    """The counter in each name; nothing if they are not all one beginning and a number of their own."""
    found = [_COUNTED.fullmatch(PurePosixPath(name).stem) for name in names]
    numbers = {name: int(one[2]) for name, one in zip(names, found, strict=True) if one}
    beginnings = {one[1] for one in found if one}
    alone = len(names) < 2 or len(beginnings) != 1
    return {} if alone or len(set(numbers.values())) != len(names) else numbers


def _listed(names: Sequence[str], wanted: Sequence[str]) -> set[str]:
    """Which of ``names`` a list means: path, path without suffix, file name, or file name without suffix; with
    the wildcards of a shell.
    """
    known: dict[str, set[str]] = {}
    for name in names:
        path = PurePosixPath(name)
        for form in (str(path), str(path).rpartition(".")[0], path.name, path.stem):
            known.setdefault(form, set()).add(name)
    held: set[str] = set()
    for pattern in wanted:
        matched = set(known.get(pattern, ()))
        if not matched and any(sign in pattern for sign in "*?["):
            forms = fnmatch.filter(known, pattern)
            matched = {name for form in forms for name in known[form]}
        if not matched:
            raise ConfigError(
                f"held out is {pattern}, which is not in the input",
                "correct the list: what it misses would be trained on",
            )
        held |= matched
    return held
