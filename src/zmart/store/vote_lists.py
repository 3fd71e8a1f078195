"""List votes, by market and by wallet. A wallet's vote on chain replaces its vote off chain, unless it came late."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from zmart.market.types import MarketId, VoteKind, Wallet
from zmart.store.pool import Pool, Record

_OFF_CHAIN = """
SELECT v.id::text, v.market_id, v.kind, v.wallet, v.choice = 'for' AS vote,
    CASE WHEN v.proven THEN 'statement' ELSE 'session' END AS channel, v.created_at,
    coalesce(v.log_index >= c.log_size, false) AS late
FROM votes v LEFT JOIN vote_closings c ON (c.market_id, c.kind) = (v.market_id, v.kind) AND c.voting_over
WHERE NOT EXISTS (SELECT FROM onchain_votes o
    WHERE (o.market_id, o.kind, o.wallet) = (v.market_id, v.kind, v.wallet)
        AND (c.closed_at IS NULL OR o.voted_at <= to_timestamp(c.closed_at)))
"""
_ON_CHAIN = """
SELECT o.signature || ':' || o.kind, o.market_id, o.kind, o.wallet, o.choice = 'for', 'onchain', o.voted_at,
    coalesce(o.voted_at > to_timestamp(c.closed_at), false)
FROM onchain_votes o LEFT JOIN vote_closings c ON (c.market_id, c.kind) = (o.market_id, o.kind) AND c.voting_over
"""
# Eligibility is looked up for the rows of the page only.
_ELIGIBLE = "SELECT page.*, wallet_counts(page.market_id, page.kind, page.wallet) AS eligible FROM"
_OF_MARKET = f"""
{_ELIGIBLE} (SELECT * FROM ({_OFF_CHAIN} AND v.market_id = $1 AND v.kind = $2
    UNION ALL {_ON_CHAIN} WHERE o.market_id = $1 AND o.kind = $2) AS cast_votes
ORDER BY created_at DESC, wallet LIMIT $3 OFFSET $4) AS page ORDER BY created_at DESC, wallet
"""
_OF_MARKET_AFTER = f"""
{_ELIGIBLE} (SELECT * FROM ({_OFF_CHAIN} AND v.market_id = $1 AND v.kind = $2
    UNION ALL {_ON_CHAIN} WHERE o.market_id = $1 AND o.kind = $2) AS cast_votes
WHERE created_at < $4 OR (created_at = $4 AND wallet > $5)
ORDER BY created_at DESC, wallet LIMIT $3) AS page ORDER BY created_at DESC, wallet
"""
_OF_WALLET = f"""
{_ELIGIBLE} (SELECT * FROM ({_OFF_CHAIN} AND v.wallet = $1 AND v.kind = $2
    UNION ALL {_ON_CHAIN} WHERE o.wallet = $1 AND o.kind = $2) AS cast_votes
ORDER BY created_at DESC, market_id LIMIT $3 OFFSET $4) AS page ORDER BY created_at DESC, market_id
"""
_UNPROVEN = "SELECT unproven FROM vote_counts WHERE market_id = $1 AND kind = $2"


class ListedVote(msgspec.Struct, frozen=True, kw_only=True):
    """A vote of a wallet. `vote` is True for a vote for the proposal or dispute, False against. `channel` is statement
    (signed), session (unproven) or onchain. `late`: the vote came after voting was over. `eligible`: every wallet may
    vote, or this wallet was judged eligible."""

    id: str
    market_id: MarketId
    kind: VoteKind
    wallet: Wallet
    vote: bool
    channel: str
    created_at: datetime
    late: bool = False
    eligible: bool = True

    @property
    def counted(self) -> bool:
        """Whether the vote counts: its wallet is eligible, and the vote is not late."""
        return self.eligible and not self.late


async def of_market(
    pool: Pool,
    market_id: MarketId,
    kind: VoteKind,
    limit: int,
    offset: int = 0,
    after: tuple[datetime, str] | None = None,
) -> list[ListedVote]:
    """Return up to `limit` votes of a market, the newest first. The page begins after the vote with
    `after` = (created_at, wallet) if that is given, otherwise at `offset`."""
    if after is not None:
        return _votes(await pool.fetch(_OF_MARKET_AFTER, market_id, kind.value, limit, *after))
    return _votes(await pool.fetch(_OF_MARKET, market_id, kind.value, limit, offset))


async def of_wallet(
    pool: Pool, wallet: Wallet, kind: VoteKind, limit: int, offset: int = 0
) -> list[ListedVote]:
    """Return up to `limit` votes of a wallet, the newest first, from `offset` on."""
    return _votes(await pool.fetch(_OF_WALLET, wallet, kind.value, limit, offset))


async def unproven(pool: Pool, market_id: MarketId, kind: VoteKind) -> int:
    """Return how many of the votes that count now were cast by a session, without a signed statement."""
    number: int | None = await pool.fetchval(_UNPROVEN, market_id, kind.value)
    return number or 0


def _votes(rows: Sequence[Record]) -> list[ListedVote]:
    return [ListedVote(**{**row, "kind": VoteKind(row["kind"])}) for row in rows]
