"""Store comments on markets, and list the pinned snapshots of a market's comments and votes."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

import msgspec

from zmart.market.types import MarketId, Wallet
from zmart.store.pool import Pool, fetch_existing

_COLUMNS = "id, market_id, wallet, content, parent_id, created_at, deleted_at"
_OF_MARKET = f"""SELECT {_COLUMNS} FROM discussions WHERE market_id = $1 AND deleted_at IS NULL
ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3"""
_OF_MARKET_AFTER = f"""SELECT {_COLUMNS} FROM discussions WHERE market_id = $1 AND deleted_at IS NULL
AND (created_at, id) < ($3, $4) ORDER BY created_at DESC, id DESC LIMIT $2"""
_COUNT = "SELECT count(*) FROM discussions WHERE market_id = $1 AND deleted_at IS NULL"
_HAS_PART = """
SELECT EXISTS (SELECT FROM positions WHERE market_id = $1 AND wallet = $2)
    OR EXISTS (SELECT FROM markets WHERE market_id = $1 AND $2 IN (creator, resolver, dispute_initiator))
"""
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


class CommentRow(msgspec.Struct, frozen=True, kw_only=True):
    """A comment on a market. `parent_id`: the comment that it replies to, or None. `deleted_at` is None while the
    comment is visible."""

    id: UUID
    market_id: MarketId
    wallet: Wallet
    content: str
    parent_id: UUID | None
    created_at: datetime
    deleted_at: datetime | None


class SnapshotRow(msgspec.Struct, frozen=True, kw_only=True):
    """A market's snapshot of one day, pinned at one provider. `verified_at`: when its bytes were read back. The pin is
    removed after `unpin_after`; `unpinned_at` is None until then. `previous_cid`: the CID of the snapshot before."""

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


async def has_part_in(pool: Pool, market_id: MarketId, wallet: Wallet) -> bool:
    """Return whether a wallet has a part in the market: a position, or it created it, proposed its outcome or disputed
    that."""
    return bool(await pool.fetchval(_HAS_PART, market_id, wallet))


async def of_market(
    pool: Pool, market_id: MarketId, limit: int, offset: int = 0, after: tuple[datetime, UUID] | None = None
) -> list[CommentRow]:
    """Return up to `limit` visible comments of a market, the newest first. The page begins after the comment
    `after` = (created_at, id) if that is given, otherwise at `offset`."""
    if after is None:
        rows = await pool.fetch(_OF_MARKET, market_id, limit, offset)
    else:
        rows = await pool.fetch(_OF_MARKET_AFTER, market_id, limit, *after)
    return [CommentRow(**row) for row in rows]


async def count(pool: Pool, market_id: MarketId) -> int:
    """Return the number of the market's comments that are not deleted."""
    number: int = await pool.fetchval(_COUNT, market_id)
    return number


async def one(pool: Pool, comment_id: UUID) -> CommentRow | None:
    """Return a comment; None if it does not exist or was deleted."""
    row = await pool.fetchrow(_ONE, comment_id)
    return None if row is None else CommentRow(**row)


async def add(
    pool: Pool, market_id: MarketId, wallet: Wallet, content: str, parent: UUID | None
) -> CommentRow:
    """Insert a comment, as a reply to the comment `parent` unless that is None, and return it."""
    return CommentRow(**await fetch_existing(pool, _ADD, market_id, wallet, content, parent))


async def delete(pool: Pool, comment_id: UUID, author: Wallet) -> CommentRow | None:
    """Mark a comment of `author` as deleted, and return it. Returns None when the comment does not exist, is another
    wallet's, or was deleted already."""
    row = await pool.fetchrow(_DELETE, comment_id, author)
    return None if row is None else CommentRow(**row)


async def snapshots(pool: Pool, market_id: MarketId, limit: int, offset: int = 0) -> list[SnapshotRow]:
    """Return up to `limit` snapshots of the market that were ever pinned, the newest first, from `offset` on."""
    return [SnapshotRow(**row) for row in await pool.fetch(_SNAPSHOTS, market_id, limit, offset)]
