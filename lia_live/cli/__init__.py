"""The command line: parse, build dataclasses, call the library, print. One thin module a subcommand."""

from lia_live.cli.main import main

__all__ = ["main"]
