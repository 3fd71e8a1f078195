"""Parse integers that come as text from outside."""

from __future__ import annotations

MOST_DIGITS = 18
"""The result fits into the database's bigint."""


def parse_decimal(text: str) -> int | None:
    """Parse a non-negative integer of ASCII digits; None for everything else. `str.isdigit` also accepts digits that
    `int` refuses, and `int` refuses what is very long."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else None
