"""Off-chain votes, and what counts together with those cast on chain."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from zmart.market.tally import Tally
from zmart.market.types import MarketId, VoteKind, Wallet
from zmart.store.pool import Connection, Pool

_COLUMNS = "id, market_id, kind, wallet, vote, proven, statement, signature, log_index, created_at"
_INSERT = f"""
INSERT INTO votes (market_id, kind, wallet, vote, proven, statement, signature, log_index, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (market_id, kind, wallet) DO NOTHING RETURNING {_COLUMNS}
"""
_HAS_VOTED = """
SELECT EXISTS (SELECT FROM votes WHERE (market_id, kind, wallet) = ($1, $2, $3))
    OR EXISTS (SELECT FROM onchain_votes WHERE (market_id, kind, wallet) = ($1, $2, $3))
"""
_STATE = "SELECT state FROM markets WHERE market_id = $1"
# A dispute is settled by its first tally, a proposal's voting ends when it is rejected.
_CLOSED = """
SELECT CASE WHEN $2 = 'dispute' THEN EXISTS (SELECT FROM tallies WHERE market_id = $1 AND kind = 'dispute')
       ELSE EXISTS (SELECT FROM market_work WHERE market_id = $1 AND job = 'proposal' AND status = 'rejected') END
"""
_COUNTS = "SELECT kind, votes_for, votes_against FROM vote_counts WHERE market_id = $1"


class VoteRow(msgspec.Struct, frozen=True):
    """An accepted off-chain vote; `proven` if a statement with its signature came along."""

    id: UUID
    market_id: MarketId
    kind: VoteKind
    wallet: Wallet
    vote: bool
    proven: bool
    statement: str | None
    signature: str | None
    log_index: int
    created_at: datetime


class NewVote(msgspec.Struct, frozen=True, kw_only=True):
    market_id: MarketId
    kind: VoteKind
    wallet: Wallet
    vote: bool
    statement: str | None
    signature: str | None
    log_index: int
    created_at: datetime


async def insert(connection: Connection, new: NewVote) -> VoteRow | None:
    """The row, or None if the wallet has voted already."""
    row = await connection.fetchrow(
        _INSERT,
        new.market_id,
        new.kind.value,
        new.wallet,
        new.vote,
        new.statement is not None,
        new.statement,
        new.signature,
        new.log_index,
        new.created_at,
    )
    return None if row is None else VoteRow(**{**row, "kind": VoteKind(row["kind"])})


async def has_voted(db: Pool | Connection, market_id: MarketId, kind: VoteKind, wallet: Wallet) -> bool:
    """Whether the wallet has voted, here or on chain."""
    found: bool = await db.fetchval(_HAS_VOTED, market_id, kind.value, wallet)
    return found


async def market_state(db: Pool | Connection, market_id: MarketId) -> str | None:
    """The name of the market's state, None for an unknown one."""
    state: str | None = await db.fetchval(_STATE, market_id)
    return state


async def voting_closed(connection: Connection, market_id: MarketId, kind: VoteKind) -> bool:
    """Whether a further vote could no longer change anything."""
    closed: bool = await connection.fetchval(_CLOSED, market_id, kind.value)
    return closed


async def counts(db: Pool | Connection, market_id: MarketId) -> dict[VoteKind, Tally]:
    """What counts now, for both kinds, one vote per wallet."""
    rows = {row["kind"]: row for row in await db.fetch(_COUNTS, market_id)}
    return {
        kind: Tally(row["votes_for"], row["votes_against"]) if (row := rows.get(kind.value)) else Tally(0, 0)
        for kind in VoteKind
    }
