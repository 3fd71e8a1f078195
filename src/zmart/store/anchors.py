"""Store anchors: documents to be pinned to IPFS, with their bytes, their pins, and whether the bytes were read back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from enum import Enum

import msgspec

from zmart.market.types import MarketId
from zmart.store.error_text import storable
from zmart.store.pool import Connection, Pool, fetch_existing

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('snapshot:' || $1, 0))"
_LATEST = """
SELECT cid, previous_cid, snapshot_day FROM ipfs_anchors WHERE market_id = $1 AND kind = 'snapshot'
ORDER BY id DESC LIMIT 1
"""
_ADD = """
INSERT INTO ipfs_anchors
    (kind, market_id, snapshot_day, cid, previous_cid, content, size_bytes, comments_count, provider)
VALUES ('snapshot', $1, $2, $3, $4, $5, length($5::bytea), $6, $7)
ON CONFLICT (market_id, kind, snapshot_day, cid, provider) DO NOTHING
"""
_COLUMNS = "id, kind, market_id, snapshot_day, cid, content, provider, pinned_at, attempts"
# Anchors with failed attempts come last, so that a document that cannot be pinned delays no other. A batch is limited
# by its number of rows and by its bytes: the snapshot of a long discussion may have megabytes.
_OPEN = f"""
WITH next AS (
    SELECT id, size_bytes, row_number() OVER (ORDER BY attempts, id) AS number FROM ipfs_anchors
    WHERE verified_at IS NULL AND content IS NOT NULL AND unpinned_at IS NULL
      AND ($1::text IS NULL OR market_id = $1) AND NOT (id = ANY($4::bigint[]))
    ORDER BY attempts, id LIMIT $2
)
SELECT {_COLUMNS} FROM ipfs_anchors WHERE id = ANY (ARRAY(
    SELECT id FROM (SELECT id, sum(size_bytes) OVER (ORDER BY number) - size_bytes AS before FROM next) f
    WHERE before < $3))
ORDER BY attempts, id
"""
# A row may name another provider than the one that pinned the bytes: it then gets that provider. If the provider has a
# row of the same document already, _TWIN deletes the row instead.
_PINNED = """
UPDATE ipfs_anchors SET provider = $2, provider_id = $3, last_error = NULL, pinned_at = coalesce(pinned_at, now()),
    unpin_after = CASE WHEN kind = 'snapshot' THEN coalesce(unpin_after, now() + $4 * interval '1 day') END
WHERE id = $1
"""
_TWIN = """
DELETE FROM ipfs_anchors a USING ipfs_anchors b
WHERE a.id = $1 AND b.id <> a.id AND b.provider = $2
  AND (b.market_id, b.kind, b.cid) = (a.market_id, a.kind, a.cid)
  AND b.snapshot_day IS NOT DISTINCT FROM a.snapshot_day
"""
_STATUS = """
SELECT cid, snapshot_day, pinned_at, verified_at, last_error FROM ipfs_anchors
WHERE market_id = $1 AND kind = 'snapshot' ORDER BY id DESC LIMIT 1
"""
_VERIFIED = """
UPDATE ipfs_anchors SET verified_at = now(), content = NULL, last_error = NULL WHERE id = $1 AND verified_at IS NULL
"""
_FAILED = "UPDATE ipfs_anchors SET attempts = attempts + 1, last_error = $2 WHERE id = $1"
# A pin that another row still needs stays at the provider; only the due row is marked as unpinned.
_DUE = """
SELECT a.id, a.cid, a.market_id, EXISTS (
    SELECT FROM ipfs_anchors o WHERE o.cid = a.cid AND o.provider = a.provider AND o.id <> a.id
      AND o.pinned_at IS NOT NULL AND o.unpinned_at IS NULL AND (o.unpin_after IS NULL OR o.unpin_after > now())
) AS needed
FROM ipfs_anchors a
WHERE a.unpin_after <= now() AND a.unpinned_at IS NULL AND a.pinned_at IS NOT NULL AND a.provider = $1
ORDER BY a.unpin_after LIMIT $2
"""
_UNPINNED = (
    "UPDATE ipfs_anchors SET unpinned_at = now(), content = NULL WHERE id = $1 AND unpinned_at IS NULL"
)
_COUNTS = """
SELECT count(*) FILTER (WHERE verified_at IS NULL AND content IS NOT NULL) AS open,
       count(*) FILTER (WHERE verified_at IS NULL AND attempts > 0 AND content IS NOT NULL) AS failing,
       max(last_error) FILTER (WHERE verified_at IS NULL AND content IS NOT NULL) AS last_error,
       max(verified_at) FILTER (WHERE kind = 'snapshot') AS last_snapshot_at
FROM ipfs_anchors WHERE unpinned_at IS NULL
"""


_STORAGE = """
SELECT count(*) AS pins, coalesce(sum(size_bytes), 0)::bigint AS size_bytes
FROM (SELECT DISTINCT cid, provider, size_bytes FROM ipfs_anchors
      WHERE pinned_at IS NOT NULL AND unpinned_at IS NULL) AS pinned
"""


class AnchorKind(Enum):
    """The kinds of documents that are pinned: a market's daily snapshot, its question, and evidence of a resolution."""

    SNAPSHOT = "snapshot"
    QUESTION = "question"
    EVIDENCE = "evidence"


class LatestSnapshot(msgspec.Struct, frozen=True):
    """The newest snapshot of a market; `previous_cid` is the CID of the snapshot before, None for the first."""

    cid: str
    previous_cid: str | None
    day: date


class NewSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot to be pinned. `cid` is the CID of the bytes `content`; `comments` is the number of comments in it."""

    market_id: MarketId
    day: date
    cid: str
    previous_cid: str | None
    content: bytes
    comments: int
    provider: str


class OpenAnchor(msgspec.Struct, frozen=True, kw_only=True):
    """A document whose bytes, `content`, were not read back from IPFS yet. `pinned_at`: when a provider pinned it; None
    before. `attempts`: how often pinning or reading back has failed."""

    id: int
    kind: AnchorKind
    market_id: MarketId
    snapshot_day: date | None
    cid: str
    content: bytes
    provider: str
    pinned_at: datetime | None
    attempts: int


class SnapshotStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a market's newest snapshot: when it was pinned and read back, None before, and the last error."""

    cid: str
    snapshot_day: date
    pinned_at: datetime | None
    verified_at: datetime | None
    last_error: str | None


class DueAnchor(msgspec.Struct, frozen=True):
    """A pin that has reached `unpin_after`. `needed`: another row still needs the same CID at the same provider, so the
    pin stays there and only this row is marked as unpinned."""

    id: int
    cid: str
    market_id: MarketId
    needed: bool


class AnchorCounts(msgspec.Struct, frozen=True):
    """Counts of anchors that were not unpinned. `open`: documents not read back yet; `failing`: open ones with a failed
    attempt; `last_error`: one of their errors. `last_snapshot_at`: when a snapshot was last read back."""

    open: int
    failing: int
    last_error: str | None
    last_snapshot_at: datetime | None


class PinStorage(msgspec.Struct, frozen=True):
    """The number of pins at all providers now, and their total size in bytes."""

    pins: int
    size_bytes: int


async def lock(connection: Connection, market_id: MarketId) -> None:
    """Lock the market's snapshots until the transaction ends, so that no two snapshots name the same previous one."""
    await connection.execute(_LOCK, market_id)


async def latest(db: Pool | Connection, market_id: MarketId) -> LatestSnapshot | None:
    """Return the market's snapshot that was added last, pinned or not; None when the market has no snapshot."""
    row = await db.fetchrow(_LATEST, market_id)
    return None if row is None else LatestSnapshot(row["cid"], row["previous_cid"], row["snapshot_day"])


async def snapshot_status(db: Pool | Connection, market_id: MarketId) -> SnapshotStatus | None:
    """Return the status of the market's newest snapshot; None when the market has no snapshot."""
    row = await db.fetchrow(_STATUS, market_id)
    return None if row is None else SnapshotStatus(**row)


async def add(connection: Connection, new: NewSnapshot) -> None:
    """Insert a snapshot with its bytes. Inserting the same snapshot again changes nothing."""
    await connection.execute(
        _ADD, new.market_id, new.day, new.cid, new.previous_cid, new.content, new.comments, new.provider
    )


async def open_anchors(
    db: Pool | Connection,
    limit: int,
    market_id: MarketId | None = None,
    *,
    most_bytes: int = 16_000_000,
    without: Sequence[int] = (),
) -> list[OpenAnchor]:
    """Return up to `limit` documents that are still to be pinned or read back, of one market, or of all if None, except
    the row ids in `without`. Documents with the fewest failed attempts come first. They have about `most_bytes` bytes
    together: the document that reaches this limit is the last."""
    rows = await db.fetch(_OPEN, market_id, limit, most_bytes, list(without))
    return [msgspec.convert(dict(row), OpenAnchor) for row in rows]


async def pinned(pool: Pool, anchor_id: int, provider: str, provider_id: str, keep_days: int) -> None:
    """Record that a provider pinned the bytes: a snapshot for `keep_days` days, a question or evidence permanently. If
    the provider has another row of the same document, this row is deleted."""
    async with pool.transaction() as connection:
        await connection.execute(_TWIN, anchor_id, provider)
        await connection.execute(_PINNED, anchor_id, provider, provider_id, keep_days)


async def verified(db: Pool | Connection, anchor_id: int) -> None:
    """Record that the bytes were read back through an IPFS gateway, and delete our own copy."""
    await db.execute(_VERIFIED, anchor_id)


async def failed(db: Pool | Connection, anchor_id: int, error: str) -> None:
    """Record a failed attempt to pin or read back, with the first 500 characters of the error."""
    await db.execute(_FAILED, anchor_id, storable(error, 500))


async def due(db: Pool | Connection, provider: str, limit: int) -> list[DueAnchor]:
    """Return up to `limit` pins at `provider` that have reached `unpin_after`, the longest overdue first."""
    return [DueAnchor(**row) for row in await db.fetch(_DUE, provider, limit)]


async def unpinned(db: Pool | Connection, anchor_id: int) -> None:
    """Mark an anchor as unpinned: the provider removed the pin, or only another anchor still needs it. Deletes our own
    copy of the bytes; the row stays."""
    await db.execute(_UNPINNED, anchor_id)


async def counts(db: Pool | Connection) -> AnchorCounts:
    """Return the counts of all anchors that were not unpinned."""
    return AnchorCounts(**await fetch_existing(db, _COUNTS))


async def storage(db: Pool | Connection) -> PinStorage:
    """Return how many documents are pinned, and their size in bytes; the same CID at one provider counts once."""
    return PinStorage(**await fetch_existing(db, _STORAGE))
