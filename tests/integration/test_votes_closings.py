"""Tests of the closing of a vote: it happens once, at one moment, whatever process closes it and however often."""

from __future__ import annotations

import pytest

from kit.votes import add_market, vote_signed
from kit.wallets import market_id, wallet
from zmart.errors import Conflict
from zmart.market.types import ChainTime, Slot, VoteKind
from zmart.store import vote_closings
from zmart.store.pool import Connection, Pool
from zmart.votes.closings import ChooseMoment, ClosingMoment, close_vote, reopen_vote

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
    await close_vote(pool, MARKET, KIND, at(100, voting_over=False))
    await reopen_vote(pool, MARKET, KIND)
    assert await vote_closings.find(pool, MARKET, KIND) is None
    await vote_signed(pool, MARKET, wallet(5))
    closed = await close_vote(pool, MARKET, KIND, at(200, voting_over=True))
    assert closed is not None
    assert closed.closed_at == 200
