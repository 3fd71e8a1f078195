"""Parse integers that clients send as text."""

from __future__ import annotations

MOST_DIGITS = 18
"""Maximum number of digits: any number of 18 digits fits PostgreSQL's bigint."""


def parse_decimal(text: str) -> int | None:
    """Parse a non-negative integer of at most 18 ASCII digits; return None for any other text.

    `str.isdigit` alone also accepts digits that `int` refuses, and `int` refuses very long text.
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else None
