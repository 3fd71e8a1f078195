"""How amounts are written for people. The exact integers are in the API; static/js/numbers.js writes the same."""

from __future__ import annotations

from zmart.market.types import PRICE_ONE

_UNIT = 1_000_000_000


def sol(lamports: int) -> str:
    """1,234.568; what would be written as nothing but is not is <0.001."""
    return _fixed(lamports, 3)


def shares(amount: int) -> str:
    """12.35"""
    return _fixed(amount, 2)


def gain(lamports: int) -> str:
    """The same as `sol`, with a sign that cannot be overlooked."""
    return f"+{sol(lamports)}" if lamports > 0 else sol(lamports)


def cents(price_e9: int) -> str:
    """A price as the chance it stands for: 61.2"""
    tenths = (price_e9 * 1000 * 2 + PRICE_ONE) // (PRICE_ONE * 2)
    return f"{tenths // 10}.{tenths % 10}"


def percent(bps: int) -> str:
    """70 or 66.66"""
    return f"{bps // 100}" if bps % 100 == 0 else f"{bps // 100}.{bps % 100:02d}"


def short(address: str | None) -> str:
    """The ends of an address, which is how people tell them apart."""
    if not address:
        return "-"
    return address if len(address) <= 12 else f"{address[:4]}…{address[-4:]}"


def kilobytes(size_bytes: int) -> str:
    return f"{-(-size_bytes * 10 // 1024) / 10:.1f} KiB"


def _fixed(amount: int, places: int) -> str:
    step = _UNIT // 10**places
    rounded = (abs(amount) * 2 + step) // (step * 2)
    if rounded == 0 and amount != 0:
        return f"{'>-' if amount < 0 else '<'}0.{'1'.rjust(places, '0')}"
    whole, rest = divmod(rounded, 10**places)
    return f"{'−' if amount < 0 else ''}{whole:,}.{rest:0{places}d}"
