"""A statement that holds locks and waits for its client: when the client's process counts as stopped."""

from __future__ import annotations

from datetime import UTC, datetime

from zmart.store.stopped_holders import HeldStatement, StoppedHolders

_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
ONE, ANOTHER = HeldStatement(1, _BEGAN), HeldStatement(1, _BEGAN.replace(second=1))


def test_a_statement_that_is_seen_to_wait_for_seconds_has_a_stopped_client() -> None:
    holders = StoppedHolders(6)
    assert holders.stopped_of([ONE], 100) == []
    assert holders.stopped_of([ONE], 105.9) == []
    assert holders.stopped_of([], 105.95) == []
    assert holders.stopped_of([ONE], 106) == [ONE]


def test_the_next_statement_of_the_session_is_another_one() -> None:
    holders = StoppedHolders(6)
    holders.stopped_of([ONE], 100)
    assert holders.stopped_of([ANOTHER], 107) == []
    assert holders.stopped_of([ONE, ANOTHER], 113) == [ONE, ANOTHER]


def test_what_was_not_seen_for_a_minute_is_forgotten() -> None:
    holders = StoppedHolders(6)
    holders.stopped_of([ONE], 100)
    assert holders.stopped_of([ONE], 161) == []
