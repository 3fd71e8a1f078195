"""Durations are parsed from text such as 1d2h and shown by their two largest units."""

import pytest

from zmart.market.durations import parse_duration, readable_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("50h", 180_000), ("2d", 172_800), ("30m", 1_800), ("45s", 45), ("1d12h", 129_600), ("1h30m5s", 5_405)],
)
def test_a_duration_is_days_hours_minutes_seconds(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "h", "50", "-1h", "1.5h", "12h1d", "1h1h", "50 h", "50H", "٣h", "9" * 10 + "d", "1h\n"],
    ids=ascii,
)
def test_anything_else_is_no_duration(text: str) -> None:
    assert parse_duration(text) is None


def test_a_duration_is_shown_by_its_two_largest_units() -> None:
    shown = [readable_duration(seconds) for seconds in (0, 59, 60, 180_000, -180_061, 86_405)]
    assert shown == ["0 s", "59 s", "1 min", "2 d 2 h", "2 d 2 h", "1 d 5 s"]
