"""Store profiles of wallets; read their activity, trading results and leaderboards."""

from __future__ import annotations

from datetime import datetime

import msgspec

from zmart.market.types import Lamports, Wallet
from zmart.store.markets import LATEST_CHAIN_TIME
from zmart.store.pool import Pool

_PROFILE = """
SELECT wallet, display_name, bio, avatar_url, twitter_handle, created_at, updated_at FROM users WHERE wallet = $1
"""
_PUT = """
INSERT INTO users (wallet, display_name, bio, avatar_url, twitter_handle) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (wallet) DO UPDATE SET
    display_name = coalesce(excluded.display_name, users.display_name), bio = coalesce(excluded.bio, users.bio),
    avatar_url = coalesce(excluded.avatar_url, users.avatar_url),
    twitter_handle = coalesce(excluded.twitter_handle, users.twitter_handle), updated_at = now()
RETURNING wallet, display_name, bio, avatar_url, twitter_handle, created_at, updated_at
"""
_COUNTS = """
SELECT (SELECT count(*) FROM trades WHERE wallet = $1) AS trades,
    (SELECT count(*) FROM votes WHERE wallet = $1 AND kind = 'proposal') AS proposal_votes,
    (SELECT count(*) FROM votes WHERE wallet = $1 AND kind = 'dispute') AS dispute_votes,
    (SELECT count(*) FROM discussions WHERE wallet = $1 AND deleted_at IS NULL) AS discussions,
    (SELECT count(*) FROM markets WHERE creator = $1) AS markets_created
"""
_CURRENT = """
div(p.shares_yes * CASE WHEN m.state <> 'FINALIZED' THEN m.price_yes_e9
        WHEN m.final_outcome = 'invalid' THEN 500000000 WHEN m.final_outcome = 'yes' THEN 1000000000 ELSE 0 END
    + p.shares_no * CASE WHEN m.state <> 'FINALIZED' THEN 1000000000 - m.price_yes_e9
        WHEN m.final_outcome = 'invalid' THEN 500000000 WHEN m.final_outcome = 'yes' THEN 0 ELSE 1000000000 END,
    1000000000)
"""
"""The value of an unclaimed position, as HeldPosition.value, for sums over many positions. The operator `/` would
round large values up."""
_UNREALIZED = f"CASE WHEN p.has_claimed THEN 0 ELSE {_CURRENT} - p.cost_basis_yes - p.cost_basis_no END"
_RESULTS = f"""
WITH held AS (
    SELECT p.*, m.state, CASE WHEN p.has_claimed THEN 0 ELSE {_CURRENT} END AS current_value,
        {_UNREALIZED} AS unrealized
    FROM positions p JOIN markets m USING (market_id) WHERE p.wallet = $1
)
SELECT coalesce((SELECT sum(cost_lamports) FROM trades WHERE wallet = $1), 0) AS volume,
    coalesce(sum(realized_pnl_lamports), 0) AS realized, coalesce(sum(unrealized), 0) AS unrealized,
    coalesce(sum(current_value), 0) AS current_value, coalesce(sum(total_invested), 0) AS invested,
    count(*) FILTER (WHERE state <> 'FINALIZED' AND (shares_yes > 0 OR shares_no > 0)) AS open_positions,
    count(*) FILTER (WHERE state = 'FINALIZED') AS settled,
    count(*) FILTER (WHERE state = 'FINALIZED' AND realized_pnl_lamports + unrealized > 0) AS won
FROM held
"""
_LEADERS = f"""
SELECT t.wallet, u.display_name, t.volume, t.trades, coalesce(p.pnl, 0) AS pnl
FROM (
    SELECT wallet, sum(cost_lamports) AS volume, count(*) AS trades FROM trades
    WHERE traded_at > {LATEST_CHAIN_TIME} - make_interval(secs => $1) GROUP BY wallet
) t
LEFT JOIN LATERAL (
    SELECT sum(p.realized_pnl_lamports + {_UNREALIZED}) AS pnl FROM positions p JOIN markets m USING (market_id)
    WHERE p.wallet = t.wallet AND p.last_trade_at > {LATEST_CHAIN_TIME} - make_interval(secs => $1)
) p ON true
LEFT JOIN users u ON u.wallet = t.wallet
ORDER BY {{order}} DESC, t.wallet LIMIT $2
"""
_LEADERS_BY = {
    "pnl": _LEADERS.format(order="coalesce(p.pnl, 0)"),
    "volume": _LEADERS.format(order="t.volume"),
}


class ProfileRow(msgspec.Struct, frozen=True, kw_only=True):
    """A wallet's profile, as its user wrote it."""

    wallet: Wallet
    display_name: str | None
    bio: str | None
    avatar_url: str | None
    twitter_handle: str | None
    created_at: datetime
    updated_at: datetime


class ActivityCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How often a wallet traded, voted, commented and created markets."""

    trades: int
    proposal_votes: int
    dispute_votes: int
    discussions: int
    markets_created: int


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """Results over all positions in lamports; `unrealized`: open shares at the last price, final ones at payout."""

    volume: Lamports
    realized: Lamports
    unrealized: Lamports
    current_value: Lamports
    invested: Lamports
    open_positions: int
    settled: int
    won: int


class LeaderRow(msgspec.Struct, frozen=True, kw_only=True):
    """A wallet in a leaderboard; `volume` and `trades` are those within the window."""

    wallet: Wallet
    display_name: str | None
    volume: Lamports
    trades: int
    pnl: Lamports


async def profile(pool: Pool, wallet: Wallet) -> ProfileRow | None:
    """Return the wallet's profile; None if it has none."""
    row = await pool.fetchrow(_PROFILE, wallet)
    return None if row is None else ProfileRow(**row)


async def put(
    pool: Pool,
    wallet: Wallet,
    display_name: str | None,
    bio: str | None,
    avatar_url: str | None,
    twitter_handle: str | None,
) -> ProfileRow:
    """Insert or update a profile and return it: None leaves a field as it is, an empty text clears it."""
    return ProfileRow(
        **await pool.fetchrow(_PUT, wallet, display_name, bio, avatar_url, twitter_handle) or {}
    )


async def counts(pool: Pool, wallet: Wallet) -> ActivityCounts:
    """Return how often the wallet traded, voted, commented and created markets."""
    return ActivityCounts(**await pool.fetchrow(_COUNTS, wallet) or {})


async def results(pool: Pool, wallet: Wallet) -> Results:
    """Return the wallet's trading results over all positions."""
    return Results(**await pool.fetchrow(_RESULTS, wallet) or {})


async def leaders(pool: Pool, by: str, window_s: int, limit: int) -> list[LeaderRow]:
    """Return wallets that traded within the window, by `pnl` (of the positions traded in it) or `volume`."""
    return [LeaderRow(**row) for row in await pool.fetch(_LEADERS_BY[by], window_s, limit)]
