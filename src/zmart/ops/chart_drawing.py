"""Compute the SVG paths and texts of the dashboard's charts; the page styles them without scripts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from zmart.ops.figure_series import Chart, ChartLine, Values

WIDTH, HEIGHT = 320, 96
_MARGIN = 2.0


class DrawnLine(msgspec.Struct, frozen=True):
    """A line of a chart for the page: its name, its last known value with the unit, and the `d` of its SVG path."""

    name: str
    last: str
    path: str


class DrawnChart(msgspec.Struct, frozen=True):
    """A chart for the page. `top` is the value at the upper edge, `label` a text for screen readers."""

    title: str
    top: str
    label: str
    lines: Sequence[DrawnLine]


def draw(chart: Chart) -> DrawnChart:
    """Return a chart's paths and texts. The vertical axis goes from zero to the next round number above all values."""
    known = [value for line in chart.lines for value in line.values if value is not None]
    top = _ceiling(max(known, default=0.0))
    lines = [DrawnLine(line.name, _last(line, chart.unit), path(line.values, top)) for line in chart.lines]
    spoken = ", ".join(f"{line.name} {line.last}" for line in lines)
    return DrawnChart(chart.title, f"{number(top)}{chart.unit}", f"{chart.title}: {spoken}", lines)


def path(values: Values, top: float) -> str:
    """Return the `d` of an SVG path through the values; `top` is the value at the upper edge.

    The line is interrupted where a value is None. A value between two None is drawn as a dot.
    """
    parts = []
    across = (WIDTH - 2 * _MARGIN) / max(len(values) - 1, 1)
    pen_is_down = False
    for index, value in enumerate(values):
        if value is None:
            pen_is_down = False
            continue
        x, y = _MARGIN + index * across, HEIGHT - _MARGIN - value / top * (HEIGHT - 2 * _MARGIN)
        parts.append(f"L{x:.1f} {y:.1f}" if pen_is_down else f"M{x:.1f} {y:.1f}h0")
        pen_is_down = True
    return "".join(parts)


def number(value: float) -> str:
    """Format a number: from 100 on as a whole number with spaces between thousands, below with three digits at most."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.3g}"


def _last(line: ChartLine, unit: str) -> str:
    value = next((value for value in reversed(line.values) if value is not None), None)
    return "unknown" if value is None else f"{number(value)}{unit}"


def _ceiling(value: float) -> float:
    """Return the smallest 1, 2 or 5 times a power of ten that is at least `value`; 1 for zero."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)
