"""A table, once for the terminal and once for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lia_live.evaluate.page import is_number, shown

Cell = str | float | None


@dataclass(frozen=True)
class Table:
    """Headers and as many cells a row."""

    caption: str
    headers: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    def text(self) -> str:
        """For a terminal: columns padded, numbers to the right."""
        lines = [list(self.headers), *([shown(cell) for cell in row] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        words = [not all(is_number(row[i]) for row in self.rows) for i in range(len(widths))]
        padded = [
            "  ".join(
                cell.ljust(width) if word else cell.rjust(width)
                for cell, width, word in zip(line, widths, words, strict=True)
            ).rstrip()
            for line in lines
        ]
        return "\n".join([self.caption, *("  " + line for line in padded)])
