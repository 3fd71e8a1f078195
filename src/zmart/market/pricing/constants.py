"""Define the constants that every pricing model shares, and the range of the program's u64."""

from __future__ import annotations

from typing import Final

from zmart.errors import PricingError

BPS_ONE: Final = 10_000
MIN_TRADE_LAMPORTS: Final = 10_000
U64_END: Final = 1 << 64


def fits_u64(value: int, what: str) -> int:
    """Return `value`, or raise PricingError: OverflowError above u64, UnderflowError below 0."""
    if value >= U64_END:
        raise PricingError("OverflowError", f"{what} does not fit 64 bits")
    if value < 0:
        raise PricingError("UnderflowError", f"{what} is negative")
    return value
