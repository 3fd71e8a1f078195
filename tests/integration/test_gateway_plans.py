"""Tests that lists use their indexes by the planner's own choice, on a year's distribution of data.

The data is that of the benchmarks, smaller: some markets and wallets are far busier than most. Trending markets and
categories are not tested here: they are summed over a day's trades and over all documents, once for all clients.
"""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from zmart.market.eligibility import Rule
from zmart.market.identifiers import MarketRef
from zmart.market.types import MarketId, VoteKind, Wallet
from zmart.market.valuation import ClaimRule
from zmart.store import (
    candles,
    change_feed,
    discussions,
    dispute_reviews,
    holdings,
    market_lists,
    market_voting,
    markets,
    positions,
    trades,
)
from zmart.store.markets import Filters, Page, Sort
from zmart.store.pool import Pool
from zmart.store.vote_rules import VotingTerms

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from market_data import Size, fill

_SIZE = Size(markets=20_000, trades=60_000)
_SMALL = Size(markets=1_000, trades=3_000)
_SMALL_TABLES = ("feed_head", "index_progress", "chain_events_first", "chain_events_default")
"""Tables of one row, and the events, of which these data have none: test_gateway_queries.py shows their index."""
_PAGE = 21
_MOST_SORTED = 1_000
"""Maximum number of rows that one plan may sort: as many as a creator, a rare word or a small state selects."""
_AT = Page(limit=_PAGE)
_DEEP = (datetime.now(UTC) - timedelta(days=200)).isoformat()
_MOST_SKIPPED = 5_000
"""Maximum number of rows that one step may read and discard.

A list by volume of a state that 1 % of the markets have discards that many.
"""
_STATES = ("PROPOSED", "APPROVED", "ACTIVE", "RESOLVING", "DISPUTED", "FINALIZED", "CANCELLED")

Read = Callable[[Pool, MarketId, Wallet], Awaitable[object]]
READS: dict[str, Read] = {
    "newest": lambda p, m, w: markets.entries(p, Filters(), Sort.NEWEST, _AT),
    "newest, deep": lambda p, m, w: markets.entries(
        p, Filters(), Sort.NEWEST, Page(limit=_PAGE, after=(_DEEP, m))
    ),
    "by volume": lambda p, m, w: markets.entries(p, Filters(), Sort.VOLUME, _AT),
    "by volume, deep": lambda p, m, w: markets.entries(
        p, Filters(), Sort.VOLUME, Page(limit=_PAGE, after=(5, m))
    ),
    "ending": lambda p, m, w: markets.entries(p, Filters(), Sort.ENDING, _AT),
    **{
        f"{sort.value} of {state}": lambda p, m, w, s=state, o=sort: markets.entries(
            p, Filters(state=s), o, _AT
        )
        for state in _STATES
        for sort in (Sort.NEWEST, Sort.VOLUME)
    },
    **{
        f"{sort.value} in {category}": lambda p, m, w, c=category, o=sort: markets.entries(
            p, Filters(category=c), o, _AT
        )
        for category in ("crypto", "other")
        for sort in (Sort.NEWEST, Sort.VOLUME)
    },
    "by creator": lambda p, m, w: markets.entries(p, Filters(creator=w), Sort.NEWEST, _AT),
    "rare words": lambda p, m, w: markets.entries(p, Filters(q="4711"), Sort.NEWEST, _AT),
    "rows of a page": lambda p, m, w: markets.with_versions(p, [m]),
    "trades": lambda p, m, w: trades.page(p, m, 51),
    "trades, deep": lambda p, m, w: trades.page(p, m, 51, after=(300_010_000, 0, 0)),
    "fingerprint of trades": lambda p, m, w: trades.page_fingerprint(p, m, 51),
    "fingerprint of trades, deep": lambda p, m, w: trades.page_fingerprint(
        p, m, 51, after=(300_010_000, 0, 0)
    ),
    "trades of a wallet": lambda p, m, w: trades.of_wallet(p, w, 51),
    "candles": lambda p, m, w: candles.of_market(
        p, MarketRef(m), datetime.now(UTC) - timedelta(hours=200), datetime.now(UTC), 3600
    ),
    "a market with its voting": lambda p, m, w: market_voting.with_version(p, MarketRef(m)),
    "positions": lambda p, m, w: positions.of_wallet(p, w, 50),
    **{
        f"claims that wait, {rule.value}": lambda p, m, w, r=rule: positions.claimable(p, w, r, 101)
        for rule in ClaimRule
    },
    "settled positions": lambda p, m, w: holdings.settled(p, w, [m]),
    "prices over time": lambda p, m, w: holdings.prices_at(
        p, [(m, datetime.now(UTC) - timedelta(days=days)) for days in range(100)]
    ),
    "the chain's time": lambda p, m, w: holdings.chain_minute(p),
    "comments": lambda p, m, w: discussions.of_market(p, m, 50),
    "the feed's head": lambda p, m, w: change_feed.position(p),
    "related": lambda p, m, w: market_lists.related(p, m, 5),
    "prices a day ago": lambda p, m, w: market_lists.prices_before(p, [m]),
}


class Explained(msgspec.Struct):
    """What EXPLAIN ANALYZE reports about one statement."""

    text: str

    @property
    def scanned(self) -> list[str]:
        return re.findall(r"Seq Scan on (\w+)", self.text)

    @property
    def most_skipped(self) -> int:
        """The largest number of rows that one step read and discarded."""
        return max(
            (int(float(n)) for n in re.findall(r"Rows Removed by \w+(?: Recheck)?: ([\d.]+)", self.text)),
            default=0,
        )

    @property
    def most_sorted(self) -> int:
        """The largest number of rows that one sort received."""
        lines = self.text.splitlines()
        inputs = [
            int(float(result[1]))
            for line, below in zip(lines, _below(lines), strict=True)
            if re.search(r"->  Sort|^Sort|Incremental Sort", line)
            and (result := re.search(r"actual .*?rows=([\d.]+)", below))
        ]
        return max(inputs, default=0)


def _below(lines: list[str]) -> list[str]:
    """Return for each line the next line that is a step of the plan, or ""."""
    return [next((line for line in lines[i + 1 :] if "->" in line), "") for i in range(len(lines))]


class Explaining(Pool):
    """A pool that runs EXPLAIN ANALYZE for each statement, keeps the output in `plans`, and returns the rows."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.plans: list[Explained] = []

    async def fetch(self, sql: str, *arguments: object) -> list[object]:
        async with self._pool.transaction() as connection:
            rows = await connection.fetch(f"EXPLAIN (ANALYZE, TIMING OFF) {sql}", *arguments)
            self.plans.append(Explained("\n".join(row[0] for row in rows)))
            return list(await connection.fetch(sql, *arguments))

    async def fetchrow(self, sql: str, *arguments: object) -> object:
        return next(iter(await self.fetch(sql, *arguments)), None)

    async def fetchval(self, sql: str, *arguments: object) -> object:
        row = await self.fetchrow(sql, *arguments)
        return None if row is None else row[0]  # type: ignore[index]


@asynccontextmanager
async def filled(database_url: str, size: Size) -> AsyncIterator[tuple[Pool, MarketId, Wallet]]:
    """Fill a database to this size; yield a pool of it, the id of one of its markets, and the market's creator."""
    market_id = MarketId((await fill(database_url, size, 1))[0])
    pool = await Pool.open(database_url)
    await pool.execute(
        "INSERT INTO vote_rules (market_id, kind, rule, min_votes) "
        "SELECT market_id, 'dispute', 'staked;50000000', 10 FROM markets"
    )
    await pool.execute(
        "INSERT INTO dispute_reviews (market_id, reasons) SELECT market_id, '{close}' FROM markets"
    )
    await pool.execute("ANALYZE vote_rules, dispute_reviews")
    yield pool, market_id, await pool.fetchval("SELECT creator FROM markets WHERE market_id = $1", market_id)
    await pool.close()


async def test_lists_read_a_page_and_not_a_table(database_url: str) -> None:
    faults = {}
    async with filled(database_url, _SIZE) as (pool, market_id, wallet):
        for name, read in READS.items():
            explaining = Explaining(pool)
            await read(explaining, market_id, wallet)
            for plan in explaining.plans:
                large = [table for table in plan.scanned if table not in _SMALL_TABLES]
                if large or plan.most_sorted > _MOST_SORTED or plan.most_skipped > _MOST_SKIPPED:
                    faults[name] = plan.text
    assert not faults, "\n\n".join(f"{name}:\n{plan}" for name, plan in faults.items())


async def test_a_market_is_answered_from_one_statement(database_url: str) -> None:
    """One statement reads a market with the voting terms that are fixed for it and the review of its dispute."""
    async with filled(database_url, _SMALL) as (pool, market_id, _):
        explaining = Explaining(pool)
        found = await market_voting.with_version(explaining, MarketRef(market_id))
        assert found is not None
        voting = found[1]
        assert voting.terms(VoteKind.PROPOSAL) is None
        assert voting.terms(VoteKind.DISPUTE) == VotingTerms(Rule.parse("staked;50000000"), 10)
        assert voting.review == await dispute_reviews.find(pool, market_id)
        assert voting == await market_voting.of_market(pool, market_id)
    assert len(explaining.plans) == 1
