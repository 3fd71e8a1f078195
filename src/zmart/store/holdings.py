"""Read what a wallet's history of value consists of: sums of its earlier trades, its settled positions, and the prices
of markets at given times."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

import msgspec

from zmart.market.types import Lamports, MarketId, PriceE9, Shares, Wallet
from zmart.store.markets import LATEST_CHAIN_TIME
from zmart.store.outcomes import outcome_as_boolean
from zmart.store.pool import Pool
from zmart.store.positions import HELD_BY, HELD_COLUMNS, HeldPosition
from zmart.store.trades import ChainPosition

_MOST_EARLIER = 20_000
# The last trades of both sides are in order, so that the last row of a market has its last price.
_BEFORE = f"""
SELECT market_id, {outcome_as_boolean("outcome")} AS outcome, bought, sold, paid, received, newest[4] AS price_yes_e9
FROM (SELECT market_id, outcome,
        coalesce(sum(shares) FILTER (WHERE side = 'buy'), 0) AS bought,
        coalesce(sum(shares) FILTER (WHERE side = 'sell'), 0) AS sold,
        coalesce(sum(cost_lamports) FILTER (WHERE side = 'buy'), 0) AS paid,
        coalesce(sum(cost_lamports) FILTER (WHERE side = 'sell'), 0) AS received,
        max(ARRAY[slot, index_in_block, ordinal, price_yes_after_e9]) AS newest
    FROM (SELECT * FROM trades WHERE wallet = $1 AND (slot, index_in_block, ordinal) < ($2, $3, $4)
        ORDER BY slot DESC, index_in_block DESC, ordinal DESC LIMIT {_MOST_EARLIER}) earlier
    GROUP BY market_id, outcome) t
ORDER BY market_id, newest
"""
# A claim is the last event of a position. Its time is in the event alone.
_SETTLED = f"""
SELECT {HELD_COLUMNS}, m.finalized_at,
    CASE WHEN p.has_claimed THEN coalesce(
        (SELECT to_timestamp((e.event ->> 'timestamp')::bigint) FROM chain_events e
         WHERE e.market_id = p.market_id AND e.slot = p.updated_slot AND e.name = 'WinningsClaimed'
            AND e.event ->> 'user' = p.wallet LIMIT 1), m.finalized_at) END AS claimed_at
{HELD_BY} AND m.state = 'FINALIZED' AND p.market_id = ANY ($2::text[])
"""
_PRICES_AT = """
SELECT samples.at, samples.market_id, newest.price_yes_after_e9
FROM unnest($1::text[], $2::timestamptz[]) AS samples (market_id, at), LATERAL (
    SELECT price_yes_after_e9 FROM trades t WHERE t.market_id = samples.market_id AND t.traded_at <= samples.at
    ORDER BY traded_at DESC, slot DESC, index_in_block DESC, ordinal DESC LIMIT 1) AS newest
"""
# Truncated, so that the values of a wallet that does nothing are the same for a minute, and so is their ETag.
_CHAIN_MINUTE = f"SELECT date_trunc('minute', {LATEST_CHAIN_TIME})"


class TradedBefore(msgspec.Struct, frozen=True, kw_only=True):
    """The sums of a wallet's trades of one side of a market. `outcome` True is YES; `paid` and `received` are what
    purchases cost and sales brought. `price_yes_e9`: the YES price after the last of these trades."""

    market_id: MarketId
    outcome: bool
    bought: Shares
    sold: Shares
    paid: Lamports
    received: Lamports
    price_yes_e9: PriceE9


class SettledPosition(HeldPosition, frozen=True, kw_only=True):
    """A position in a FINALIZED market, with the chain times when the market became final and when the wallet claimed;
    `claimed_at` is None if it has not claimed."""

    finalized_at: datetime
    claimed_at: datetime | None


class PriceAt(msgspec.Struct, frozen=True):
    """A market's YES price at a time, after its last trade until then."""

    at: datetime
    market_id: MarketId
    price_yes_e9: PriceE9


async def before(pool: Pool, wallet: Wallet, position: ChainPosition) -> list[TradedBefore]:
    """Return the sums of the wallet's trades that are older than `position`, one row for each side of a market. Of the
    rows of a market, the one with the newest trade comes last. Of trades that are that old, the newest 20,000 are read.
    """
    return [TradedBefore(**row) for row in await pool.fetch(_BEFORE, wallet, *position)]


async def settled(pool: Pool, wallet: Wallet, markets: Collection[MarketId]) -> list[SettledPosition]:
    """Return the wallet's positions in those of `markets` that are FINALIZED."""
    return [SettledPosition(**row) for row in await pool.fetch(_SETTLED, wallet, list(markets))]


async def prices_at(pool: Pool, samples: Sequence[tuple[MarketId, datetime]]) -> list[PriceAt]:
    """Return the prices of these markets at these times. A market that was not traded until then is left out. Each
    price is one look into an index."""
    markets, times = [market for market, _ in samples], [at for _, at in samples]
    return [PriceAt(*row) for row in await pool.fetch(_PRICES_AT, markets, times)]


async def chain_minute(pool: Pool) -> datetime:
    """Return the chain's present time, rounded down to the minute."""
    now: datetime = await pool.fetchval(_CHAIN_MINUTE)
    return now
