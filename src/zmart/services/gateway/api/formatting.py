"""How values are written for clients: times, prices, amounts, percentages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import overload

from zmart.errors import Invalid
from zmart.market.types import PRICE_ONE

_UNIT = 1_000_000_000


@overload
def iso(moment: datetime) -> str: ...
@overload
def iso(moment: None) -> None: ...
@overload
def iso(moment: datetime | None) -> str | None: ...
def iso(moment: datetime | None) -> str | None:
    """2026-01-31T12:00:00.000Z"""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def iso_of_seconds(seconds: int) -> str:
    return iso(datetime.fromtimestamp(seconds, UTC))


def now_iso() -> str:
    return iso(datetime.now(UTC))


def price_text(price_e9: int) -> str:
    """A price from 0 to 1 with nine places."""
    return units_text(price_e9)


def units_text(value: int) -> str:
    """Lamports as SOL, or units of 1e-9 as shares, exact, with nine places."""
    sign = "-" if value < 0 else ""
    whole, rest = divmod(abs(value), _UNIT)
    return f"{sign}{whole}.{rest:09d}"


def ratio_text(numerator: int, denominator: int) -> str:
    """numerator / denominator with nine places, rounded towards zero; 0 when there is no denominator."""
    if denominator == 0:
        return units_text(0)
    return units_text(abs(numerator) * _UNIT // denominator * (-1 if numerator < 0 else 1))


def percent(part: int, whole: int) -> float:
    """Two places are enough for people; exact values travel as integers beside it."""
    return round(part * 100 / whole, 2) if whole else 0.0


def price_percent(price_e9: int) -> float:
    return round(price_e9 * 100 / PRICE_ONE, 7)


def moment_of(field: str, text: str) -> datetime:
    """A time that a client wrote: ISO 8601 (UTC unless it says otherwise) or milliseconds since 1970."""
    try:
        if text.isdigit():
            return datetime.fromtimestamp(int(text) / 1000, UTC)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        raise Invalid(field, f"{field} must be an ISO 8601 time or milliseconds since 1970.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
