"""Store profiles of wallets; read their activity, trading results and leaderboards."""

from __future__ import annotations

from datetime import datetime

import msgspec

from zmart.market.types import Lamports, Wallet
from zmart.market.valuation import ClaimRule
from zmart.store.markets import LATEST_CHAIN_TIME
from zmart.store.pool import Pool, fetch_existing
from zmart.store.positions import PAYOUTS

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
_NUMBER = "SELECT count(*) FROM users"
_COUNTS = """
SELECT (SELECT count(*) FROM trades WHERE wallet = $1) AS trades,
    (SELECT count(*) FROM votes WHERE wallet = $1 AND kind = 'proposal') AS proposal_votes,
    (SELECT count(*) FROM votes WHERE wallet = $1 AND kind = 'dispute') AS dispute_votes,
    (SELECT count(*) FROM discussions WHERE wallet = $1 AND deleted_at IS NULL) AS discussions,
    (SELECT count(*) FROM markets WHERE creator = $1) AS markets_created
"""
_CURRENT = """
CASE WHEN p.has_claimed THEN 0 WHEN m.state = 'FINALIZED' THEN {payout}
    ELSE div(p.shares_yes * m.price_yes_e9 + p.shares_no * (1000000000 - m.price_yes_e9), 1000000000) END
"""
"""SQL expression for the current value of a position in lamports, equal to HeldPosition.value. It serves sums over
many positions. It uses div(), because the operator `/` would round large values up."""
_RESULTS = f"""
WITH held AS (
    SELECT p.*, m.state, {_CURRENT} AS current_value FROM positions p JOIN markets m USING (market_id)
    WHERE p.wallet = $1
), costed AS (
    SELECT *, CASE WHEN has_claimed THEN 0 ELSE cost_basis_yes + cost_basis_no END AS cost,
        state = 'FINALIZED' AND current_value = 0 AS is_over
    FROM held
), valued AS (
    SELECT *, CASE WHEN is_over THEN realized_pnl_lamports - cost ELSE realized_pnl_lamports END AS realized,
        CASE WHEN is_over THEN 0 ELSE current_value - cost END AS unrealized
    FROM costed
)
SELECT coalesce((SELECT sum(cost_lamports) FROM trades WHERE wallet = $1), 0) AS volume,
    coalesce(sum(realized), 0) AS realized, coalesce(sum(unrealized), 0) AS unrealized,
    coalesce(sum(current_value), 0) AS current_value, coalesce(sum(total_invested), 0) AS invested,
    count(*) FILTER (WHERE state <> 'FINALIZED' AND (shares_yes > 0 OR shares_no > 0)) AS open_positions,
    count(*) FILTER (WHERE state = 'FINALIZED') AS settled,
    count(*) FILTER (WHERE state = 'FINALIZED' AND realized + unrealized > 0) AS won
FROM valued
"""
_LEADERS = f"""
SELECT t.wallet, u.display_name, t.volume, t.trades, coalesce(p.pnl, 0) AS pnl
FROM (
    SELECT wallet, sum(cost_lamports) AS volume, count(*) AS trades FROM trades
    WHERE traded_at > {LATEST_CHAIN_TIME} - make_interval(secs => $1) GROUP BY wallet
) t
LEFT JOIN LATERAL (
    SELECT sum(p.realized_pnl_lamports + {_CURRENT}
        - CASE WHEN p.has_claimed THEN 0 ELSE p.cost_basis_yes + p.cost_basis_no END) AS pnl
    FROM positions p JOIN markets m USING (market_id)
    WHERE p.wallet = t.wallet AND p.last_trade_at > {LATEST_CHAIN_TIME} - make_interval(secs => $1)
) p ON true
LEFT JOIN users u ON u.wallet = t.wallet
ORDER BY {{order}} DESC, t.wallet LIMIT $2
"""
_LEADERS_BY = {"pnl": "coalesce(p.pnl, 0)", "volume": "t.volume"}


class ProfileRow(msgspec.Struct, frozen=True, kw_only=True):
    """The profile of a wallet, as its user wrote it. A field is None if the user never set it."""

    wallet: Wallet
    display_name: str | None
    bio: str | None
    avatar_url: str | None
    twitter_handle: str | None
    created_at: datetime
    updated_at: datetime


class ActivityCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of a wallet's trades, off-chain votes by kind, comments that are not deleted, and markets created."""

    trades: int
    proposal_votes: int
    dispute_votes: int
    discussions: int
    markets_created: int


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """The trading results of a wallet over all its positions, which equal the sums of HeldPosition.value. Amounts are
    lamports, after fees.

    `volume`: paid for purchases and received from sales; `invested`: paid for purchases. `realized`: the profit of
    sales and claims, and the loss of shares that a FINALIZED market pays nothing for. `current_value`: the value of
    unclaimed shares, at the last price or, in FINALIZED markets, at their payout; `unrealized`: this value less what
    its shares cost. `open_positions`: positions with shares in markets
    that are not FINALIZED; `settled`: positions in FINALIZED markets, of which `won` made a profit.
    """

    volume: Lamports
    realized: Lamports
    unrealized: Lamports
    current_value: Lamports
    invested: Lamports
    open_positions: int
    settled: int
    won: int

    @property
    def cost_basis(self) -> Lamports:
        """The cost of the shares that `current_value` values, in lamports."""
        return Lamports(self.current_value - self.unrealized)


class LeaderRow(msgspec.Struct, frozen=True, kw_only=True):
    """A wallet in a leaderboard. `volume` (lamports) and `trades` count its trades within the leaderboard's window.
    `pnl`: the realized and unrealized profit in lamports of the positions that it traded in the window."""

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
    """Insert or update the profile of a wallet, and return it. A field that is None keeps its stored value; an empty
    text replaces it."""
    return ProfileRow(
        **await fetch_existing(pool, _PUT, wallet, display_name, bio, avatar_url, twitter_handle)
    )


async def number(pool: Pool) -> int:
    """Return how many wallets have a profile."""
    count: int = await pool.fetchval(_NUMBER)
    return count


async def counts(pool: Pool, wallet: Wallet) -> ActivityCounts:
    """Return the numbers of the wallet's trades, off-chain votes, comments and created markets."""
    return ActivityCounts(**await fetch_existing(pool, _COUNTS, wallet))


async def results(pool: Pool, wallet: Wallet, rule: ClaimRule) -> Results:
    """Return the wallet's trading results over all its positions; `rule` determines the payouts of final markets."""
    return Results(**await fetch_existing(pool, _RESULTS.format(payout=PAYOUTS[rule]), wallet))


async def leaders(pool: Pool, by: str, window_s: int, limit: int, rule: ClaimRule) -> list[LeaderRow]:
    """Return up to `limit` wallets that traded within the last `window_s` seconds of chain time, the highest first.
    `by` is "pnl" or "volume"; `rule` determines the payouts of final markets."""
    sql = _LEADERS.format(order=_LEADERS_BY[by], payout=PAYOUTS[rule])
    return [LeaderRow(**row) for row in await pool.fetch(sql, window_s, limit)]
