"""Tests of the closing of a vote: it happens once, at one moment, whatever process closes it and however often."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from kit.votes import add_market, vote_signed
from kit.wallets import market_id, wallet
from zmart.chain.accounts import MarketAccount
from zmart.chain.clock import ChainClock
from zmart.decisions.context import DecisionContext
from zmart.errors import Conflict
from zmart.market.deadlines import Deadlines
from zmart.market.tally import Tally
from zmart.market.types import Bps, ChainTime, Slot, VoteKind
from zmart.services.aggregator.policy import Policy, Step
from zmart.services.aggregator.proposals import ProposalDecider
from zmart.store import vote_closings
from zmart.store.pool import Connection, Pool
from zmart.store.vote_closings import VoteClosing
from zmart.votes.closings import ChooseMoment, ClosingMoment, close_vote, reopen_vote
from zmart.votes.eligibility import Voters

MARKET, KIND = market_id(1), VoteKind.PROPOSAL


@pytest.fixture
async def pool(pool: Pool) -> Pool:
    await add_market(pool, MARKET)
    return pool


def at(closed_at: int, *, voting_over: bool) -> ChooseMoment:
    async def choose(_: Connection) -> ClosingMoment:
        return ClosingMoment(closed_at=ChainTime(closed_at), slot=Slot(closed_at), voting_over=voting_over)

    return choose


async def leave_open(_: Connection) -> None:
    return None


async def test_a_final_closing_is_never_moved(pool: Pool) -> None:
    await vote_signed(pool, MARKET, wallet(5))
    closed = await close_vote(pool, MARKET, KIND, at(100, voting_over=True))
    assert closed is not None
    assert (closed.closed_at, closed.log_size, closed.voting_over) == (100, 1, True)
    for later in (at(200, voting_over=True), at(200, voting_over=False), leave_open):
        assert await close_vote(pool, MARKET, KIND, later) == closed
    with pytest.raises(Conflict, match="voting is over"):
        await vote_signed(pool, MARKET, wallet(6))


async def test_a_closing_for_a_count_stands_until_voting_is_over(pool: Pool) -> None:
    counted = await close_vote(pool, MARKET, KIND, at(100, voting_over=False))
    assert await close_vote(pool, MARKET, KIND, at(150, voting_over=False)) == counted
    await vote_signed(pool, MARKET, wallet(5))
    final = await close_vote(pool, MARKET, KIND, at(200, voting_over=True))
    assert final is not None
    assert (final.closed_at, final.log_size) == (200, 1)
    assert await vote_closings.find(pool, MARKET, KIND) == final


async def test_a_vote_that_is_left_open_or_reopened_goes_on(pool: Pool) -> None:
    assert await close_vote(pool, MARKET, KIND, leave_open) is None
    counted = await close_vote(pool, MARKET, KIND, at(100, voting_over=False))
    assert counted is not None
    await reopen_vote(pool, counted)
    assert await vote_closings.find(pool, MARKET, KIND) is None
    await vote_signed(pool, MARKET, wallet(5))
    closed = await close_vote(pool, MARKET, KIND, at(200, voting_over=True))
    assert closed is not None
    assert closed.closed_at == 200


async def test_a_process_that_was_stopped_does_not_open_a_vote_that_another_has_closed_since(
    pool: Pool,
) -> None:
    """It decided to let voting continue before the other one closed the vote and sent the approval."""
    seen = await close_vote(pool, MARKET, KIND, at(100, voting_over=False))
    assert seen is not None
    final = await close_vote(pool, MARKET, KIND, at(200, voting_over=True))
    await reopen_vote(pool, seen)
    assert await vote_closings.find(pool, MARKET, KIND) == final
    with pytest.raises(Conflict, match="voting is over"):
        await vote_signed(pool, MARKET, wallet(6))


def test_a_vote_that_was_closed_at_its_deadline_is_over_also_by_a_clock_that_is_behind() -> None:
    """Another process saw the deadline pass; this one asks a node that lags, or its tick began before."""
    created_at, deadlines = (
        ChainTime(1_000),
        Deadlines(resolution_s=1, dispute_s=1, proposal_s=100, safety_s=1),
    )
    decider = ProposalDecider(
        cast("DecisionContext", None),
        Policy(Bps(7_000), 1),
        deadlines,
        ChainClock(Slot(5), ChainTime(1_099)),
        cast("Voters", None),
    )
    account = cast(
        "MarketAccount", SimpleNamespace(created_at=created_at, proposal_likes=0, proposal_dislikes=0)
    )

    def step(closed_at: int, *, voting_over: bool) -> Step:
        closing = VoteClosing(
            market_id=MARKET, kind=KIND, closed_at=ChainTime(closed_at), closed_slot=Slot(5), log_size=0,
            voting_over=voting_over,
        )  # fmt: skip
        return decider._step(Tally(0, 1), account, None, None, closing)

    assert step(1_100, voting_over=True) is Step.COUNT
    assert step(1_099, voting_over=True) is step(1_099, voting_over=False) is Step.WAIT
