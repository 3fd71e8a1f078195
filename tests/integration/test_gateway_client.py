"""Tests of the asynchronous client against a gateway."""

from __future__ import annotations

import time

import pytest

from kit.gateway import (
    add_market,
    add_position,
    add_trade,
    site,
)
from kit.wallets import address, market_id, wallet
from zmart.client import ApiError, Client, statement_now
from zmart.market.types import Side, VoteKind
from zmart.votes.vote_log import head


async def test_the_client_reads_signs_in_votes_and_talks(database_url: str, redis_url: str) -> None:
    async with site(database_url, redis_url) as here:
        market = await add_market(here.pool, 1)
        proposal = await add_market(here.pool, 2, "PROPOSED")
        await add_trade(here.pool, market, address(3), 1)
        await add_position(here.pool, market, address(3), 5, 0, 600)
        api, key = Client("http://gateway", http=here.http), wallet(3)

        def sign(message: bytes) -> str:
            return str(key.sign_message(message))

        session = await api.sign_in(address(3), sign)
        assert session.wallet == address(3)
        assert (await api.markets(state="ACTIVE")).count == 1
        assert (await api.market(market)).current_price_yes == "0.500000000"
        assert (await api.trades(market)).trades[0].user == address(3)
        quote = await api.quote(market, Side.BUY, True, max_cost=10**8)
        assert quote.total <= quote.max_cost == 10**8
        answer = statement_now(
            here.gateway.context.program.address, proposal, VoteKind.PROPOSAL, True, address(3)
        )
        receipt = (await api.vote(answer, sign)).receipt
        assert receipt.root == (await head(here.pool, proposal)).root.hex()
        assert (await api.vote_counts(proposal)).proposal_votes.likes == 1
        made = await api.comment(market, "Hello")
        await api.delete_comment(made.discussion.id)
        assert (await api.discussions(market)).count == 0
        assert (await api.positions(address(3)))[0].yes_shares == 5
        assert (await api.user(address(3))).stats.total_trades == 1
        assert (await api.user_stats(address(3))).total_volume == 600
        assert (await api.portfolio(address(3))).open_positions
        assert (await api.holders(market)).count == 1
        assert (await api.status()).gap_free_through_slot == 777
        assert (await api.events(int(time.time() * 1000) - 60_000)).count >= 4
        assert (await api.timeline(market)).timeline == []
        assert (await api.candles(market)).interval == "1h"
        assert (await api.snapshots(market)).count == 0
        await api.sign_out()
        with pytest.raises(ApiError) as refused:
            await api.comment(market, "Gone")
        assert refused.value.status == 401


async def test_a_refusal_carries_the_problem(database_url: str) -> None:
    async with site(database_url) as here:
        api = Client("http://gateway", http=here.http)
        with pytest.raises(ApiError) as refused:
            await api.market(market_id(9))
        assert refused.value.status == 404
        assert refused.value.problem is not None
        assert refused.value.problem.request_id
