"""Define the constants that every pricing model shares, and the range of the program's u64."""

from __future__ import annotations

from typing import Final

from zmart.errors import PricingError

MIN_TRADE_LAMPORTS: Final = 10_000
"""The smallest trade in lamports: the target cost of a purchase, the gross proceeds of a sale."""
U64_END: Final = 1 << 64
"""The first integer that does not fit u64."""


def fits_u64(value: int, what: str) -> int:
    """Return `value` if it fits u64.

    Raises PricingError: OverflowError for a larger value, UnderflowError for a negative one.
    """
    if value >= U64_END:
        raise PricingError("OverflowError", f"{what} does not fit 64 bits")
    if value < 0:
        raise PricingError("UnderflowError", f"{what} is negative")
    return value
