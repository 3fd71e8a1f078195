"""Comments on markets, and the snapshots that were made of them."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

import msgspec

from zmart.market.types import MarketId, Wallet
from zmart.store.pool import Pool

_COLUMNS = "id, market_id, wallet, content, parent_id, created_at, deleted_at"
_OF_MARKET = f"""SELECT {_COLUMNS} FROM discussions WHERE market_id = $1 AND deleted_at IS NULL
ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3"""
_OF_MARKET_BEHIND = f"""SELECT {_COLUMNS} FROM discussions WHERE market_id = $1 AND deleted_at IS NULL
AND (created_at, id) < ($3, $4) ORDER BY created_at DESC, id DESC LIMIT $2"""
_COUNT = "SELECT count(*) FROM discussions WHERE market_id = $1 AND deleted_at IS NULL"
_ONE = f"SELECT {_COLUMNS} FROM discussions WHERE id = $1 AND deleted_at IS NULL"
_ADD = f"""INSERT INTO discussions (market_id, wallet, content, parent_id) VALUES ($1, $2, $3, $4)
RETURNING {_COLUMNS}"""
_DELETE = f"""UPDATE discussions SET deleted_at = now() WHERE id = $1 AND wallet = $2 AND deleted_at IS NULL
RETURNING {_COLUMNS}"""
_SNAPSHOTS = """
SELECT cid, snapshot_day, comments_count, previous_cid, size_bytes, provider, pinned_at, verified_at, unpin_after,
    unpinned_at
FROM ipfs_anchors WHERE market_id = $1 AND kind = 'snapshot' AND pinned_at IS NOT NULL
ORDER BY snapshot_day DESC, id DESC LIMIT $2 OFFSET $3
"""


class Comment(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    market_id: MarketId
    wallet: Wallet
    content: str
    parent_id: UUID | None
    created_at: datetime
    deleted_at: datetime | None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One day's snapshot as a provider holds or held it."""

    cid: str
    snapshot_day: date
    comments_count: int
    previous_cid: str | None
    size_bytes: int
    provider: str
    pinned_at: datetime
    verified_at: datetime | None
    unpin_after: datetime | None
    unpinned_at: datetime | None


async def of_market(
    pool: Pool, market_id: MarketId, limit: int, offset: int = 0, behind: tuple[datetime, UUID] | None = None
) -> list[Comment]:
    """The newest first; deleted ones are left out."""
    if behind is None:
        rows = await pool.fetch(_OF_MARKET, market_id, limit, offset)
    else:
        rows = await pool.fetch(_OF_MARKET_BEHIND, market_id, limit, *behind)
    return [Comment(**row) for row in rows]


async def count(pool: Pool, market_id: MarketId) -> int:
    found: int = await pool.fetchval(_COUNT, market_id)
    return found


async def one(pool: Pool, comment_id: UUID) -> Comment | None:
    """A comment that is not deleted."""
    row = await pool.fetchrow(_ONE, comment_id)
    return None if row is None else Comment(**row)


async def add(pool: Pool, market_id: MarketId, wallet: Wallet, content: str, parent: UUID | None) -> Comment:
    return Comment(**await pool.fetchrow(_ADD, market_id, wallet, content, parent) or {})


async def delete(pool: Pool, comment_id: UUID, author: Wallet) -> Comment | None:
    """Marks the author's comment as deleted; None when it is not there, not theirs, or deleted already."""
    row = await pool.fetchrow(_DELETE, comment_id, author)
    return None if row is None else Comment(**row)


async def snapshots(pool: Pool, market_id: MarketId, limit: int, offset: int = 0) -> list[Snapshot]:
    """The newest first; those that were unpinned stay listed."""
    return [Snapshot(**row) for row in await pool.fetch(_SNAPSHOTS, market_id, limit, offset)]
