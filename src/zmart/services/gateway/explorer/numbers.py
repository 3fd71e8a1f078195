"""Format amounts for people. The API has the exact integers; static/js/numbers.js formats in the same way."""

from __future__ import annotations

from zmart.market.types import PRICE_ONE

_UNIT = 1_000_000_000


def sol(lamports: int) -> str:
    """Return lamports as SOL, rounded to three decimals, as 1,234.568. An amount other than 0 that would be rounded to
    0 is "<0.001", or ">-0.001" if it is negative."""
    return _fixed(lamports, 3)


def precise(lamports: int) -> str:
    """Return lamports as SOL with all decimals that are not trailing zeros, as 0.000005."""
    whole, rest = divmod(abs(lamports), _UNIT)
    return f"{'−' if lamports < 0 else ''}{whole:,}.{rest:09d}".rstrip("0").rstrip(".")


def shares(amount: int) -> str:
    """Return shares, given in units of 1e-9, rounded to two decimals, as 12.35."""
    return _fixed(amount, 2)


def gain(lamports: int) -> str:
    """Return lamports as SOL, rounded to three decimals, with a sign, as +1.000; 0.000 has none."""
    return f"+{sol(lamports)}" if lamports > 0 else sol(lamports)


def cents(price_e9: int) -> str:
    """Return a price in 1e-9 as a probability in percent, rounded to one decimal, as 61.2."""
    tenths = (price_e9 * 1000 * 2 + PRICE_ONE) // (PRICE_ONE * 2)
    return f"{tenths // 10}.{tenths % 10}"


def points(change_e9: int) -> str:
    """Return the change of a price in 1e-9 as percentage points with a sign and one decimal, as +1.5."""
    sign = "+" if change_e9 > 0 else "−" if change_e9 < 0 else "±"
    return f"{sign}{cents(abs(change_e9))}"


def percent(bps: int) -> str:
    """Return basis points as percent, exact, as 70 or 66.66."""
    return f"{bps // 100}" if bps % 100 == 0 else f"{bps // 100}.{bps % 100:02d}"


def duration(seconds: int) -> str:
    """Return a duration in its largest unit, rounded down, as "3 days", "1 hour" or "5 minutes"."""
    for unit, size_s in (("day", 86_400), ("hour", 3_600)):
        if seconds >= size_s:
            return _counted(seconds // size_s, unit)
    return _counted(seconds // 60, "minute")


def _counted(count: int, unit: str) -> str:
    return f"{count:,} {unit}" if count == 1 else f"{count:,} {unit}s"


def short(address: str | None) -> str:
    """Return the first and last four characters of an address; "-" for none. A text of up to 12 characters is returned
    whole."""
    if not address:
        return "-"
    return address if len(address) <= 12 else f"{address[:4]}…{address[-4:]}"


def kilobytes(size_bytes: int) -> str:
    """Return a size in bytes as KiB with one decimal, rounded up, as "1.5 KiB"."""
    return f"{-(-size_bytes * 10 // 1024) / 10:.1f} KiB"


def _fixed(amount: int, decimals: int) -> str:
    step = _UNIT // 10**decimals
    rounded = (abs(amount) * 2 + step) // (step * 2)
    if rounded == 0 and amount != 0:
        return f"{'>-' if amount < 0 else '<'}0.{'1'.rjust(decimals, '0')}"
    whole, rest = divmod(rounded, 10**decimals)
    return f"{'−' if amount < 0 else ''}{whole:,}.{rest:0{decimals}d}"
