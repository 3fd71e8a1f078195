"""Deadlines of votes, resolutions and proposals: when each of them is over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zmart.market.deadlines import Deadlines
from zmart.market.types import ChainTime

HOURS = st.integers(0, 10_000)


def deadlines(window_hours: int = 48, period_s: int = 259_200, voting_hours: int = 72) -> Deadlines:
    return Deadlines.of(
        dispute_window_hours=window_hours,
        dispute_period_s=period_s,
        dispute_voting_hours=voting_hours,
        proposal_ttl_days=7,
        safety_s=60,
    )


def test_a_resolution_waits_for_the_longer_of_our_window_and_the_programs() -> None:
    at = ChainTime(1_000)
    assert deadlines(48, 259_200).window_closes_at(at) == 1_000 + 259_200
    assert deadlines(96, 259_200).window_closes_at(at) == 1_000 + 96 * 3_600


def test_a_proposal_expires_to_the_second() -> None:
    assert deadlines().proposal_closes_at(ChainTime(0)) == 604_800


@given(HOURS, st.integers(0, 10**8), HOURS, st.integers(0, 2**33))
def test_nothing_is_due_before_it_has_closed(window: int, period: int, voting: int, at: int) -> None:
    result = deadlines(window, period, voting)
    for closes_at in (result.window_closes_at(ChainTime(at)), result.dispute_closes_at(ChainTime(at))):
        assert at <= closes_at == result.due_at(closes_at) - 60
