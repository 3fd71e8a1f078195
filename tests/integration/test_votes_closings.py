"""Tests of the closing of a vote: it happens once, at one moment, whatever process closes it and however often."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import msgspec
import pytest

from kit.votes import PROGRAM, add_market, closing, vote_signed
from kit.wallets import market_id, wallet
from zmart.chain.accounts import MarketAccount
from zmart.chain.clock import ChainClock
from zmart.decisions.context import DecisionContext
from zmart.errors import Conflict
from zmart.market.deadlines import Deadlines
from zmart.market.tally import Tally
from zmart.market.types import Bps, ChainTime, Slot, VoteKind
from zmart.services.aggregator.policy import Policy, Step
from zmart.services.aggregator.proposals import ProposalDecider, _is_overtaken
from zmart.store import vote_closings
from zmart.store.pool import Connection, Pool
from zmart.store.vote_closings import VoteClosing
from zmart.votes.closings import (
    ChooseMoment,
    ClosingMoment,
    close_by_tally,
    close_vote,
    extend_vote,
    reopen_vote,
)
from zmart.votes.eligibility import Voters
from zmart.votes.tallying import take_tally

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


async def test_a_process_that_was_stopped_extends_only_the_closing_that_it_has_counted_by(pool: Pool) -> None:
    """Another one has extended the vote before, and closed it at a later moment since."""
    seen = await close_vote(pool, MARKET, KIND, at(100, voting_over=True))
    assert seen is not None
    async with pool.transaction() as connection:
        assert await extend_vote(connection, seen)
        assert not await extend_vote(connection, seen)
    final = await close_vote(pool, MARKET, KIND, at(200, voting_over=True))
    async with pool.transaction() as connection:
        assert not await extend_vote(connection, seen)
    assert await vote_closings.find(pool, MARKET, KIND) == final


async def test_a_tally_replaces_no_final_closing_at_another_moment(pool: Pool) -> None:
    """It was overtaken: votes have been accepted, refused and perhaps counted by the other closing since."""
    await vote_signed(pool, MARKET, wallet(5))
    provisional = await close_vote(pool, MARKET, KIND, at(100, voting_over=False))
    assert provisional is not None
    async with pool.transaction() as connection:
        row = await take_tally(connection, PROGRAM, provisional, Bps(7_000))
        assert await close_by_tally(connection, row)  # what is not final is replaced
        assert await close_by_tally(connection, row)  # and the approval may be planned twice
        closed = await vote_closings.find(connection, MARKET, KIND)
        assert closed is not None
        assert (closed.closed_at, closed.log_size, closed.voting_over) == (100, 1, True)
        later = await take_tally(connection, PROGRAM, closing(MARKET, KIND, 200), Bps(7_000))
        assert not await close_by_tally(connection, later)
        assert await vote_closings.find(connection, MARKET, KIND) == closed


async def test_what_is_counted_by_a_final_closing_that_is_gone_or_replaced_was_overtaken(pool: Pool) -> None:
    seen = await close_vote(pool, MARKET, KIND, at(100, voting_over=True))
    assert seen is not None
    async with pool.transaction() as connection:
        assert not await _is_overtaken(connection, seen)
        await vote_closings.write(connection, msgspec.structs.replace(seen, closed_at=ChainTime(200)))
        assert await _is_overtaken(connection, seen)
        await vote_closings.remove(connection, MARKET, KIND)
        assert await _is_overtaken(connection, seen)


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
        written = VoteClosing(
            market_id=MARKET, kind=KIND, closed_at=ChainTime(closed_at), closed_slot=Slot(5), log_size=0,
            voting_over=voting_over,
        )  # fmt: skip
        return decider._step(Tally(0, 1), account, None, None, written)

    assert step(1_100, voting_over=True) is Step.COUNT
    assert step(1_099, voting_over=True) is step(1_099, voting_over=False) is Step.WAIT
