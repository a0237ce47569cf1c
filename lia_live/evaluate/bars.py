"""Lengths side by side as inline SVG, its colours those of the page around it."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Final

ROW, GAP, LEFT, WIDTH, RIGHT = 22, 6, 210, 640, 90
"""Of the drawing, in its own units: bar and space between, room for names, whole width, room for numbers."""
LEAST: Final = 1.5
"""No bar is shorter: it would not be seen."""


def bars(values: Mapping[str, float], unit: str, title: str) -> str:
    """One bar a name, from the top; a value that is not finite has none. Values must not be negative."""
    longest = max((v for v in values.values() if v == v and v != float("inf")), default=1.0) or 1.0
    rows = []
    for number, (name, value) in enumerate(values.items()):
        top = GAP + number * (ROW + GAP)
        known = value == value and value != float("inf")
        length = max(LEAST, (WIDTH - LEFT - RIGHT) * value / longest) if known else 0.0
        told = f"{value:.3g} {unit}" if known else "–"
        rows.append(
            f'<text x="{LEFT - 8}" y="{top + 15}" text-anchor="end">{html.escape(name)}</text>'
            f'<rect x="{LEFT}" y="{top}" width="{length:.1f}" height="{ROW}" rx="2" style="fill:var(--s0)"/>'
            f'<text x="{LEFT + length + 6:.1f}" y="{top + 15}">{html.escape(told)}</text>'
        )
    height = GAP + len(values) * (ROW + GAP)
    return (
        f'<div class="wide"><svg class="plot" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{html.escape(title, quote=True)}">{"".join(rows)}</svg></div>'
    )
