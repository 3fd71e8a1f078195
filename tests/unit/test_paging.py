"""Pages of lists, and the cursors by which a client requests the next page."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmart.errors import Invalid
from zmart.services.gateway.api import paging

MARKET = "ab" * 32
MOMENT = datetime(2026, 1, 15, 12, 0, 0, 123_456, tzinfo=UTC)
KEYS = [
    paging.TapeKey(7, 3, 1),
    paging.MarketKey(2**53, MARKET),
    paging.MarketKey("2026-01-15T12:00:00+00:00", MARKET),
    paging.OffsetKey(40),
    paging.TimeKey(MOMENT, UUID(int=7)),
    paging.VoteKey(MOMENT, "w" * 44),
]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: type(key).__name__)
def test_a_cursor_gives_its_key_back_and_is_safe_in_a_url(key: msgspec.Struct) -> None:
    cursor = paging.cursor_of(key)
    assert paging.key_of(cursor, type(key)) == key
    assert cursor.replace("-", "").replace("_", "").isalnum()


def test_the_first_page_has_no_cursor() -> None:
    assert paging.key_of(None, paging.TapeKey) is None
    assert paging.key_of("", paging.TapeKey) is None


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


@pytest.mark.parametrize(
    ("cursor", "kind"),
    [
        (paging.cursor_of(paging.OffsetKey(1)), paging.TapeKey),
        (encoded(b"[1,2,3,4]"), paging.TapeKey),
        (encoded(b"[-1,0,0]"), paging.TapeKey),
        (encoded(b"[1,2147483648,0]"), paging.TapeKey),
        (encoded(b'{"slot":1,"index_in_block":0,"ordinal":0}'), paging.TapeKey),
        (encoded(b'[1,"not a market"]'), paging.MarketKey),
        (encoded(b"[100001]"), paging.OffsetKey),
        (encoded(b'["yesterday","' + b"0" * 32 + b'"]'), paging.TimeKey),
        (encoded(b"not json"), paging.TapeKey),
        ("%%%", paging.TapeKey),
        ("A" * 501, paging.TapeKey),
    ],
)
def test_a_cursor_of_another_list_or_a_forged_one_is_refused(cursor: str, kind: type[msgspec.Struct]) -> None:
    with pytest.raises(Invalid, match="start again without it"):
        paging.key_of(cursor, kind)


@given(st.integers(0, 10**9))
def test_a_page_has_at_most_200_rows(limit: int) -> None:
    assert paging.bounded(limit) == min(limit, 200)


def test_an_offset_beyond_the_largest_is_refused_with_what_to_do() -> None:
    assert paging.bounded_offset(paging.MAX_OFFSET) == paging.MAX_OFFSET
    with pytest.raises(Invalid, match="use next_cursor"):
        paging.bounded_offset(paging.MAX_OFFSET + 1)


def test_a_list_that_pages_by_offset_ends_where_no_offset_is_accepted() -> None:
    last = paging.cursor_at(paging.MAX_OFFSET)
    assert paging.key_of(last, paging.OffsetKey) == paging.OffsetKey(paging.MAX_OFFSET)
    assert paging.cursor_at(paging.MAX_OFFSET + 1) is None


@given(st.lists(st.integers(), max_size=30), st.integers(1, 10))
def test_pages_of_one_row_more_give_every_row_once(rows: list[int], limit: int) -> None:
    result: list[int] = []
    start, has_more = 0, True
    while has_more:
        page, has_more = paging.split_page(rows[start : start + limit + 1], limit)
        result += page
        start += limit
    assert result == rows
