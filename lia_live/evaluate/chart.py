"""Lines over an axis as inline SVG, its colours those of the page around it."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 640.0, 260.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, 628.0, 22.0, 232.0
"""The drawing area inside the SVG, in its own units."""
COLOURS = 6
"""The page's style names so many, --s0 and on; later series repeat them dashed."""
MOST_POINTS = 1500
"""Longer series are thinned: more points than that are neither seen nor worth their bytes."""


def chart(
    series: Mapping[str, Sequence[float]], x: Sequence[float] | None, unit: str, title: str
) -> str:
    """An SVG and its legend. Values that are not finite are gaps; a lone value is a dot.

    ``x``: one number a value, rising; None counts from 0. Raises ``ValueError`` for another length.
    """
    longest = max((len(values) for values in series.values()), default=0)
    places = [float(value) for value in (range(longest) if x is None else x)]
    if x is not None and any(len(values) != len(places) for values in series.values()):
        raise ValueError(f"every series must have {len(places)} values, as x has")
    finite = [v for values in series.values() for v in values if math.isfinite(v)]
    low, high = ticks_around(min(finite, default=0.0), max(finite, default=1.0))
    first, last = min(places, default=0.0), max(places, default=1.0)
    across = _Axis(first, last if last > first else first + 1.0, LEFT, RIGHT)
    up = _Axis(low, high, BOTTOM, TOP)
    parts = [_grid(across, up, unit)]
    for number, values in enumerate(series.values()):
        parts.append(_line(places, values, across, up, number))
    legend = "".join(_legend(name, number) for number, name in enumerate(series))
    return (
        f'<div class="legend">{legend}</div><div class="wide">'
        f'<svg class="plot" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" '
        f'aria-label="{html.escape(title, quote=True)}">{"".join(parts)}</svg></div>'
    )


def ticks_around(low: float, high: float) -> tuple[float, float]:
    """The range from the tick below ``low`` to the one above ``high``."""
    if not high > low:
        pad = abs(low) * 0.1 or 0.5
        low, high = low - pad, high + pad
    step = tick_step(low, high)
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def tick_step(low: float, high: float) -> float:
    """1, 2 or 5 times a power of ten, so that three to seven ticks lie between."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


class _Axis:
    """From values to units of the SVG."""

    def __init__(self, low: float, high: float, begin: float, end: float) -> None:
        self.low, self.high = low, high
        self._begin, self._scale = begin, (end - begin) / (high - low)

    def __call__(self, value: float) -> float:
        return self._begin + (value - self.low) * self._scale

    def ticks(self) -> list[float]:
        """Round numbers within."""
        step = tick_step(self.low, self.high)
        first = math.ceil(self.low / step - 1e-9)
        count = math.floor(self.high / step + 1e-9) - first + 1
        return [(first + index) * step for index in range(count)]

    def label(self, value: float) -> str:
        """A tick's number with just the digits that tell it from its neighbours."""
        digits = max(0, -math.floor(math.log10(tick_step(self.low, self.high)) + 1e-9))
        return f"{value + 0.0:.{min(digits, 8)}f}" if abs(value) < 1e6 else f"{value:.3g}"


def _grid(across: _Axis, up: _Axis, unit: str) -> str:
    parts = []
    for value in up.ticks():
        y = up(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{up.label(value)}</text>'
        )
    for value in across.ticks():
        x = across(value)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{BOTTOM}" y2="{BOTTOM + 5}"/>'
            f'<text x="{x:.1f}" y="{BOTTOM + 19}" text-anchor="middle">{across.label(value)}</text>'
        )
    if unit:
        parts.append(f'<text x="{LEFT - 50}" y="{TOP - 8}">{html.escape(unit)}</text>')
    return "".join(parts)


def _line(
    places: Sequence[float], values: Sequence[float], across: _Axis, up: _Axis, number: int
) -> str:
    every = max(1, math.ceil(len(values) / MOST_POINTS))
    runs: list[list[str]] = [[]]
    for place, value in list(zip(places, values, strict=False))[::every]:
        if math.isfinite(value):
            runs[-1].append(f"{across(place):.1f},{up(value):.1f}")
        elif runs[-1]:
            runs.append([])
    parts = []
    for run in runs:
        if len(run) == 1:
            x, y = run[0].split(",")
            parts.append(f'<circle cx="{x}" cy="{y}" r="2.5" {_stroke(number)}/>')
        elif run:
            parts.append(f'<polyline points="{" ".join(run)}" {_stroke(number)}/>')
    return "".join(parts)


def _stroke(number: int) -> str:
    dash = ' stroke-dasharray="6 4"' if number // COLOURS % 2 else ""
    return f'style="stroke:var(--s{number % COLOURS})"{dash}'


def _legend(name: str, number: int) -> str:
    sample = (
        f'<svg viewBox="0 0 26 10"><line x1="0" x2="26" y1="5" y2="5" stroke-width="3" '
        f"{_stroke(number)}/></svg>"
    )
    return f"<span>{sample}{html.escape(name)}</span>"
