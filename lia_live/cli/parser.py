"""Flags and commands. argparse, but a mistake is a ``ConfigError`` that names the nearest match."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from lia_live.cli.interrupts import Interrupts
from lia_live.errors import ConfigError

_FLAG = re.compile(r"-[A-Za-z]|--[A-Za-z].*")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that a person most likely meant; None where nothing is close."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """The hint for an unknown word: the nearest match, then where all of them are listed."""
    match = nearest(word, known)
    return f"did you mean {match}? {otherwise}" if match else otherwise


class Parser(argparse.ArgumentParser):
    """The flags of one command. Flags are never abbreviated; those not given leave no trace in the
    namespace, so that a configuration file can lie under them.
    """

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            allow_abbrev=False,
            argument_default=argparse.SUPPRESS,
            formatter_class=_Formatter,
        )

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse; unknown flags are reported before missing ones, since one is often the other."""
        known = self._option_string_actions
        for word in words:
            if word == "--":
                break
            flag = word.partition("=")[0]
            if _FLAG.fullmatch(flag) and flag not in known:
                raise ConfigError(
                    f"unknown flag {flag}", did_you_mean(flag, known, self._see_help())
                )
        return self.parse_args(list(words))

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message, self._see_help())

    def _see_help(self) -> str:
        return f"`{self.prog} --help` lists the flags"


class _Formatter(argparse.HelpFormatter):
    """Wide enough for a flag and its sentence; the width does not depend on the terminal in tests."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=100)


@dataclass(frozen=True)
class Command:
    """One subcommand. Its module imports nothing heavy until ``execute`` is called."""

    name: str
    """As typed: "run", "avatar build"."""
    summary: str
    """One line of help."""
    add_arguments: Callable[[Parser], None]
    execute: Callable[[argparse.Namespace, Interrupts], int]
    """Returns the exit code; raises ``LiaLiveError`` for anything a person can mend."""

    def parser(self) -> Parser:
        """The command's own parser; ``--debug`` is shown here and taken out by ``main``."""
        parser = Parser(f"lia-live {self.name}", self.summary)
        self.add_arguments(parser)
        parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
        return parser
