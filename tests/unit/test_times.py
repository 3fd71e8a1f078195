"""Times have one text form, which one module writes and reads."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import zmart
from zmart.market.times import iso, iso_micro, iso_of_ms, iso_of_seconds, ms_of, parse_iso, readable_seconds

_SOURCES = Path(zmart.__file__).parent
LAST_MS = 253_402_300_799_999

zones = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_WITHOUT_A_ZONE = parse_iso("2026-01-15T12:00:00").replace(tzinfo=None)
# The limits leave out a day at each end, so that no time zone leads outside of the years 1 to 9999.
moments = st.datetimes(
    _WITHOUT_A_ZONE.replace(1, 1, 2), _WITHOUT_A_ZONE.replace(9999, 12, 30), timezones=zones
)


def test_the_form_is_utc_with_milliseconds_and_a_z() -> None:
    for moment in (
        datetime(2026, 1, 15, 12, tzinfo=UTC),
        datetime(2026, 1, 15, 14, tzinfo=timezone(timedelta(hours=2))),
        _WITHOUT_A_ZONE,
        datetime(2026, 1, 15, 12, 0, 0, 999, UTC),
    ):
        assert iso(moment) == "2026-01-15T12:00:00.000Z"
    assert iso(None) is None
    assert iso_micro(datetime(2026, 1, 15, 12, 0, 0, 999, UTC)) == "2026-01-15T12:00:00.000999Z"
    assert iso_of_seconds(1_768_478_400) == "2026-01-15T12:00:00.000Z"
    assert iso_of_ms(1_768_478_400_007) == "2026-01-15T12:00:00.007Z"


@given(moments)
def test_every_moment_reads_back(moment: datetime) -> None:
    assert parse_iso(iso_micro(moment)) == moment
    assert parse_iso(moment.isoformat()) == moment
    assert parse_iso(iso(moment)) == moment - timedelta(microseconds=moment.microsecond % 1000)
    assert parse_iso(iso(moment)).tzinfo is UTC


@given(st.integers(-62_135_596_800_000, LAST_MS))
def test_milliseconds_read_back(unix_ms: int) -> None:
    assert ms_of(parse_iso(iso_of_ms(unix_ms))) == unix_ms


@pytest.mark.parametrize(
    "text", ["", "soon", "2026-02-30T00:00:00Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"]
)
def test_what_is_no_time_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|isoformat|day|year"):
        parse_iso(text)


def test_people_are_shown_a_time_or_the_number_that_no_calendar_has() -> None:
    assert readable_seconds(1_768_478_400) == "2026-01-15 12:00:00Z"
    assert readable_seconds(2**63 - 1) == str(2**63 - 1)


def test_no_other_module_writes_or_reads_the_form() -> None:
    form = re.compile(r"isoformat\(timespec|fromisoformat|strptime|\+00:00|%H:%M:%SZ")
    found = {
        str(path.relative_to(_SOURCES)) for path in _SOURCES.rglob("*.py") if form.search(path.read_text())
    }
    assert found == {"market/times.py"}
