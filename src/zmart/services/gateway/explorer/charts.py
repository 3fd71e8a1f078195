"""Draw lines of prices and of amounts as SVG paths, which need no JavaScript."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from zmart.market.types import PRICE_ONE

WIDTH = 640
HEIGHT = 180
_LEAST_POINTS = 2
_FILL = 0.94
"""The part of the half height, above or below zero, that the line of the largest amount takes."""


def price_path(points: Sequence[tuple[datetime, int]]) -> str:
    """Return the `d` of an SVG path: a stepped line through (time, YES price in 1e-9), WIDTH by HEIGHT; "" without
    points."""
    if not points:
        return ""
    first, last = points[0][0].timestamp(), points[-1][0].timestamp()
    span = max(last - first, 1.0)
    parts: list[str] = []
    for moment, price in points:
        x = (moment.timestamp() - first) / span * WIDTH
        y = HEIGHT - price / PRICE_ONE * HEIGHT
        parts.append(f"M0 {y:.1f}" if not parts else f"H{x:.1f}V{y:.1f}")
    return "".join([*parts, f"H{WIDTH}"])


def amount_path(points: Sequence[tuple[datetime, int]]) -> str:
    """Return the `d` of an SVG path: a stepped line through (time, amount), WIDTH by HEIGHT, with zero in the middle of
    its height; "" for fewer than two points."""
    if len(points) < _LEAST_POINTS:
        return ""
    first, last = points[0][0].timestamp(), points[-1][0].timestamp()
    span = max(last - first, 1.0)
    most = max(max(abs(amount) for _, amount in points), 1)
    parts: list[str] = []
    for moment, amount in points:
        x = (moment.timestamp() - first) / span * WIDTH
        y = HEIGHT / 2 * (1 - amount / most * _FILL)
        parts.append(f"M0 {y:.1f}" if not parts else f"H{x:.1f}V{y:.1f}")
    return "".join([*parts, f"H{WIDTH}"])
