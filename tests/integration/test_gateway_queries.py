"""Tests that hot reads use an index: with sequential scans disabled, a plan shows one only where no index serves."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from kit import rows
from kit.wallets import address, market_id
from zmart.market.fold_state import FoldedTrade, MarketFold
from zmart.market.identifiers import MarketRef
from zmart.market.types import VoteKind
from zmart.market.valuation import ClaimRule
from zmart.store import activity, discussions, holdings, markets, positions, trades, users, vote_lists
from zmart.store.markets import Filters, Page, Sort
from zmart.store.pool import Pool

_AT = Page(limit=21)
_BEHIND = Page(limit=21, after=("2026-01-01T00:00:00+00:00", market_id(1)))
_BEHIND_VOLUME = Page(limit=21, after=(5, market_id(1)))
_FILL_DOCUMENTS = """
INSERT INTO market_documents (market_id, creator, question, category, ends_at, cid, document)
SELECT market_id, creator, 'Will number ' || total_volume || ' win?', 'c' || total_volume % 9,
    now() + total_volume * interval '1 hour', 'x', '' FROM markets
"""
_FILL_COMMENTS = """
INSERT INTO discussions (market_id, wallet, content) SELECT market_id, creator, 'Hi' FROM markets
"""

READS = {
    "newest": lambda p: markets.page(p, Filters(), Sort.NEWEST, _AT),
    "newest behind": lambda p: markets.page(p, Filters(), Sort.NEWEST, _BEHIND),
    "by state": lambda p: markets.page(p, Filters(state="ACTIVE"), Sort.NEWEST, _BEHIND),
    "by creator": lambda p: markets.page(p, Filters(creator="c" * 39 + "1"), Sort.NEWEST, _AT),
    "by volume": lambda p: markets.page(p, Filters(), Sort.VOLUME, _BEHIND_VOLUME),
    "ending": lambda p: markets.page(p, Filters(), Sort.ENDING, _AT),
    "words": lambda p: markets.page(p, Filters(q="4711"), Sort.NEWEST, _AT),
    "one": lambda p: markets.one(p, MarketRef(id=market_id(5))),
    "one by address": lambda p: markets.one(p, MarketRef(address=address(5))),
    "trades of a market": lambda p: trades.of_market(p, market_id(5), 50),
    "trades of a wallet": lambda p: trades.of_wallet(p, "w" * 39 + "5", 50, 0, (5000, 0, 0)),
    "trade sums": lambda p: trades.stats(p, market_id(5)),
    "positions": lambda p: positions.of_wallet(p, address(5), 50),
    **{
        f"claims that wait, {rule.value}": lambda p, r=rule: positions.claimable(p, address(5), r, 101)
        for rule in ClaimRule
    },
    "settled positions": lambda p: holdings.settled(p, address(5), [market_id(1)]),
    "prices over time": lambda p: holdings.prices_at(p, [(market_id(5), datetime.now(UTC))]),
    "holders": lambda p: positions.holders(p, market_id(5), True, 50),
    "comments": lambda p: discussions.of_market(p, market_id(5), 50),
    "votes": lambda p: vote_lists.of_market(p, market_id(5), VoteKind.PROPOSAL, 50),
    "votes of a wallet": lambda p: vote_lists.of_wallet(p, address(5), VoteKind.PROPOSAL, 50),
    "counts of a wallet": lambda p: users.counts(p, "w" * 39 + "5"),
    "activity": lambda p: activity.newest(p, 20),
}


class Explaining(Pool):
    """A pool that keeps the plan of each statement in `plans`, and returns no rows."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.plans: list[str] = []

    async def fetch(self, sql: str, *arguments: object) -> list[object]:
        async with self._pool.transaction() as connection:
            await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
            await connection.execute("SET LOCAL enable_seqscan = off")
            rows = await connection.fetch(f"EXPLAIN {sql}", *arguments)
        self.plans.append("\n".join(row[0] for row in rows))
        return []

    async def fetchrow(self, sql: str, *arguments: object) -> None:
        await self.fetch(sql, *arguments)

    async def fetchval(self, sql: str, *arguments: object) -> None:
        await self.fetch(sql, *arguments)


def _market(number: int) -> MarketFold:
    return rows.market_fold(
        f"{number:0>64}",
        address=f"{number:a>40}",
        creator=f"{number % 50:c>40}",
        total_volume=number,
        question_cid="x",
        created_at=datetime.now(UTC) - timedelta(hours=number),
    )


def _trade(number: int) -> FoldedTrade:
    return rows.trade_fold(
        f"{number % 5_000 + 1:0>64}",
        f"{number % 300:w>40}",
        signature=f"s{number}",
        slot=number,
        traded_at=datetime.now(UTC) - timedelta(minutes=number),
    )


@pytest.fixture
async def filled(database_url: str) -> Pool:
    pool = await Pool.open(database_url)
    async with pool.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        await rows.add_markets(connection, [_market(n) for n in range(1, 5_001)])
        await rows.add_trades(connection, [_trade(n) for n in range(1, 20_001)])
        for sql in (_FILL_DOCUMENTS, _FILL_COMMENTS):
            await connection.execute(sql)
    await pool.execute("ANALYZE")
    yield pool
    await pool.close()


async def test_hot_reads_never_scan_a_whole_table(filled: Pool) -> None:
    scans = {}
    for name, read in READS.items():
        explaining = Explaining(filled)
        with suppress(TypeError, LookupError):  # a read may fail without rows: only its plans matter here
            await read(explaining)
        assert explaining.plans, name
        if any("Seq Scan" in plan for plan in explaining.plans):
            scans[name] = explaining.plans
    assert scans == {}
