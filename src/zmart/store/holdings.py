"""Read what a wallet held at a position on chain, from sums over its earlier trades, and what it claimed."""

from __future__ import annotations

import msgspec

from zmart.market.types import Lamports, MarketId, PriceE9, Shares, Slot, Wallet
from zmart.store.outcomes import outcome_as_boolean
from zmart.store.pool import Pool
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
# A claim is the last event of a position.
_CLAIMS = """
SELECT market_id, claimed_lamports, updated_slot AS slot FROM positions WHERE wallet = $1 AND has_claimed
ORDER BY updated_slot, market_id
"""


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


class PaidClaim(msgspec.Struct, frozen=True, kw_only=True):
    """A wallet's claim in a market: what it paid, and its slot."""

    market_id: MarketId
    claimed_lamports: Lamports
    slot: Slot


async def before(pool: Pool, wallet: Wallet, position: ChainPosition) -> list[TradedBefore]:
    """Return the sums of the wallet's trades that are older than `position`, one row for each side of a market. Of the
    rows of a market, the one with the newest trade comes last. Of trades that are that old, the newest 20,000 are read.
    """
    return [TradedBefore(**row) for row in await pool.fetch(_BEFORE, wallet, *position)]


async def claims(pool: Pool, wallet: Wallet) -> list[PaidClaim]:
    """Return the wallet's claims in all markets, the oldest first."""
    return [PaidClaim(**row) for row in await pool.fetch(_CLAIMS, wallet)]
