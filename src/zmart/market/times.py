"""Format and parse times.

As text a time is ISO 8601 in UTC with milliseconds and a Z, e.g. 2026-01-31T12:00:00.000Z.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import overload

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@overload
def iso(moment: datetime) -> str: ...
@overload
def iso(moment: None) -> None: ...
@overload
def iso(moment: datetime | None) -> str | None: ...
def iso(moment: datetime | None) -> str | None:
    """Format a time, rounded down to milliseconds. A time without a zone is read as UTC; None stays None."""
    if moment is None:
        return None
    if moment.tzinfo is not UTC:  # the database's driver returns all times in UTC
        moment = _in_utc(moment)
    if not moment.microsecond:  # as for every time of the chain
        return f"{moment.isoformat()[:19]}.000Z"
    return f"{moment.isoformat(timespec='milliseconds')[:23]}Z"


def parse_iso(text: str) -> datetime:
    """Parse ISO 8601 text, of any zone and precision, to a time in UTC.

    Text without a zone is read as UTC. Raises ValueError if the text is no such time, or if the time is outside of the
    years 1 to 9999 in UTC.
    """
    return in_utc(datetime.fromisoformat(text))


def in_utc(moment: datetime) -> datetime:
    """Return a time in UTC; a time without a zone is read as UTC.

    Raises ValueError outside of the years 1 to 9999.
    """
    try:
        return _in_utc(moment)
    except OverflowError:
        raise ValueError(f"{moment.isoformat()} is outside of the years 1 to 9999 in UTC.") from None


def iso_micro(moment: datetime) -> str:
    """Format a time with microseconds, which is PostgreSQL's precision: for documents that must lose nothing."""
    return _in_utc(moment).isoformat(timespec="microseconds")[:-6] + "Z"


def iso_of_ms(unix_ms: int) -> str:
    """Format milliseconds since 1970. Raises OverflowError outside of the years 1 to 9999."""
    return iso(_EPOCH + timedelta(milliseconds=unix_ms))


def iso_of_seconds(unix_s: int) -> str:
    """Format seconds since 1970. Raises OverflowError outside of the years 1 to 9999."""
    return iso(_EPOCH + timedelta(seconds=unix_s))


def ms_of(moment: datetime) -> int:
    """Return a time, which must have a zone, as milliseconds since 1970, rounded down."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def now_iso() -> str:
    """Format the present time of this machine's clock."""
    return iso(datetime.now(UTC))


def readable_seconds(unix_s: int) -> str:
    """Format seconds since 1970 for people, e.g. 2026-01-31 12:00:00Z.

    Outside of the years 1 to 9999 the number itself is returned.
    """
    try:
        return f"{_EPOCH + timedelta(seconds=unix_s):%Y-%m-%d %H:%M:%S}Z"
    except OverflowError:  # the clock of a local chain can be set to any time
        return str(unix_s)


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
