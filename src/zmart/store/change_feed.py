"""Read the change feed: every committed change of a published table, with offsets without gaps in order of commits."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import msgspec

from zmart.errors import StoreError
from zmart.market.types import MarketId
from zmart.store import session_locks
from zmart.store.pool import Connection, Pool, Record

NOTIFICATION = "zmart_feed"
"""The NOTIFY channel; its payload is the last offset of a commit."""

# One process at a time publishes the feed to Redis. The number is arbitrary; no other lock uses it.
_RELAY_LOCK = 0x7A6D66656564

_HEAD = "SELECT epoch::text AS epoch, head, kept_from FROM feed_head"
_POSITION = """
SELECT epoch::text, head, market_list_offset, coalesce((SELECT gap_free_through_slot FROM index_progress), 0)
FROM feed_head
"""
# Offsets have no gaps: fewer rows than offsets between two heads mean that some changes were deleted.
CHANGED_MARKETS = """
SELECT count(*), array_agg(DISTINCT f.market_id),
       bool_or(f.topic = 'markets'
               AND (f.old_row -> 'created_at', f.old_row -> 'state', f.old_row -> 'creator')
                   IS DISTINCT FROM (f.new_row -> 'created_at', f.new_row -> 'state', f.new_row -> 'creator'))
FROM feed_commits c JOIN feed_changes f ON f.commit_id = c.id
WHERE c.base_offset >= $1 AND c.base_offset < $2
"""
_TRY_LOCK = "SELECT pg_try_advisory_lock($1)"

# Offsets have no gaps: the commit that holds offset n+1 is the last one whose base_offset is at most n, and k offsets
# after n end at n+k. Both bounds together keep the scan of the index short.
_AFTER = """
SELECT c.base_offset + f.ordinal AS "offset", c.committed_at, f.topic, f.op, f.market_id, f.old_row, f.new_row
FROM feed_commits c JOIN feed_changes f ON f.commit_id = c.id
WHERE c.base_offset >= coalesce((SELECT max(base_offset) FROM feed_commits WHERE base_offset <= $1), 0)
  AND c.base_offset < $2 AND c.base_offset + f.ordinal > $1 AND c.base_offset + f.ordinal <= $2
ORDER BY c.base_offset, f.ordinal
"""
_AFTER_FILTERED = """
SELECT c.base_offset + f.ordinal AS "offset", c.committed_at, f.topic, f.op, f.market_id, f.old_row, f.new_row
FROM feed_commits c JOIN feed_changes f ON f.commit_id = c.id
WHERE c.base_offset >= coalesce((SELECT max(base_offset) FROM feed_commits WHERE base_offset <= $1), 0)
  AND c.base_offset < $2 AND c.base_offset + f.ordinal > $1 AND c.base_offset + f.ordinal <= $2
  AND f.topic = ANY ($3) AND ($4::text IS NULL OR f.market_id = $4)
ORDER BY c.base_offset, f.ordinal LIMIT $5
"""
_RENEW_EPOCH = "UPDATE feed_head SET epoch = gen_random_uuid() RETURNING epoch::text"
_RENEW_LOST = """
UPDATE feed_head SET epoch = gen_random_uuid(), home = feed_home()
WHERE epoch::text = $1 AND (head < $2 OR home <> feed_home())
"""
_IS_RESTORED = "SELECT home <> feed_home() FROM feed_head"
_RENEW_RESTORED = """
UPDATE feed_head SET epoch = gen_random_uuid(), home = feed_home() WHERE home <> feed_home() RETURNING epoch::text
"""

# kept_from is raised before the rows are deleted: a reader that reads rows first and kept_from second learns of a gap.
_FORGET = """
UPDATE feed_head SET kept_from = old.next FROM
    (SELECT max(base_offset + row_count) + 1 AS next FROM feed_commits
     WHERE committed_at < now() - $1 * interval '1 hour') old
WHERE old.next > kept_from
"""
_PRUNE = """
WITH old AS (SELECT id FROM feed_commits WHERE base_offset + row_count < (SELECT kept_from FROM feed_head)
             ORDER BY base_offset LIMIT $1),
     changes AS (DELETE FROM feed_changes WHERE commit_id IN (SELECT id FROM old))
DELETE FROM feed_commits WHERE id IN (SELECT id FROM old)
"""
_PRUNE_COMMITS = 2_000


class Topic(Enum):
    """The published tables, whose changes are in the feed."""

    MARKETS = "markets"
    TRADES = "trades"
    VOTES = "votes"
    ONCHAIN_VOTES = "onchain_votes"
    DISCUSSIONS = "discussions"


class Op(Enum):
    """The operation that changed a row."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One changed row of a published table. `old_row` and `new_row` are the row before and after the change, as
    PostgreSQL's JSON text; `old_row` is None for a created row, `new_row` for a deleted one."""

    offset: int
    committed_at: datetime
    topic: Topic
    op: Op
    market_id: str | None
    old_row: str | None
    new_row: str | None


class FeedHead(msgspec.Struct, frozen=True):
    """The bounds of the feed: `head` is the last offset, `kept_from` the first that can still be read. Offsets are
    comparable only within one `epoch`."""

    epoch: str
    head: int
    kept_from: int


class FeedPosition(msgspec.Struct, frozen=True):
    """The position of the feed. `head` is its last offset in `epoch`; `market_list_offset` is the offset of the last
    commit that added or removed a market or changed a market's state. The index is gap-free through `slot`, which is
    0 before an indexer has ever run."""

    epoch: str
    head: int
    market_list_offset: int
    slot: int

    @property
    def at(self) -> tuple[str, int]:
        """Epoch and head, as a value to compare: it stays equal while no published table changes."""
        return self.epoch, self.head


class ChangedMarkets(msgspec.Struct, frozen=True):
    """The markets with any changed row between two heads. `market_list_changed`: a market was added or removed, or its
    state, creator or time of creation changed."""

    market_ids: list[MarketId]
    market_list_changed: bool


async def position(db: Pool | Connection) -> FeedPosition:
    """Return the feed's current position. Raises StoreError before the schema is migrated."""
    row = await db.fetchrow(_POSITION)
    if row is None:
        raise StoreError("The change feed has no head: run `zmart migrate up`.")
    return FeedPosition(*row)


async def changed_markets(db: Pool | Connection, after: int, upto: int) -> ChangedMarkets | None:
    """Return the markets that changed between two heads of one epoch, `after` (exclusive) and `upto`. Returns None
    if some of the changes were deleted."""
    [(count, market_ids, market_list_changed)] = await db.fetch(CHANGED_MARKETS, after, upto)
    if count != upto - after:
        return None
    return ChangedMarkets(market_ids or [], bool(market_list_changed))


async def head(db: Pool | Connection) -> FeedHead:
    """Return the feed's epoch and bounds. Raises StoreError before the schema is migrated."""
    row = await db.fetchrow(_HEAD)
    if row is None:
        raise StoreError("The change feed has no head: run `zmart migrate up`.")
    return FeedHead(row["epoch"], row["head"], row["kept_from"])


async def read_after(db: Pool | Connection, after: int, limit: int) -> list[Change]:
    """Return the changes with `after` < offset <= `after + limit` that can still be read, in order of offsets."""
    return [_change(row) for row in await db.fetch(_AFTER, after, after + limit)]


async def read_filtered(
    db: Pool | Connection,
    after: int,
    upto: int,
    topics: frozenset[Topic],
    market_id: str | None,
    limit: int | None = None,
) -> list[Change]:
    """Return the changes of `topics` with `after` < offset <= `upto`, in order of offsets, the first `limit` of them.
    Unless `market_id` is None, only changes of this market are returned."""
    names = [topic.value for topic in topics]
    return [_change(row) for row in await db.fetch(_AFTER_FILTERED, after, upto, names, market_id, limit)]


async def try_relay_lock(connection: Connection) -> bool:
    """Take the lock of the process that publishes the feed to Redis, until this connection ends. Returns False when
    another connection holds the lock."""
    taken: bool = await connection.fetchval(_TRY_LOCK, _RELAY_LOCK)
    return taken


async def relay_holder(connection: Connection) -> object:
    """Return the session that holds the relay's lock, as a value to compare; None if there is none."""
    return await session_locks.holder(connection, _RELAY_LOCK)


async def end_silent_relay(connection: Connection, silent_s: float) -> bool:
    """End the session that holds the relay's lock if it has run no statement for `silent_s` seconds. Returns whether a
    session was ended."""
    return await session_locks.end_silent_holder(connection, _RELAY_LOCK, silent_s)


async def renew_epoch(db: Pool | Connection) -> str:
    """Begin a new epoch and return its id. It is for a database that was restored from a backup and lacks offsets that
    readers have seen: in a new epoch every reader that resumes is told of a gap."""
    epoch: str = await db.fetchval(_RENEW_EPOCH)
    return epoch


async def renew_lost_epoch(db: Pool | Connection, epoch: str, received: int) -> None:
    """Begin a new epoch if `epoch` is still the current one and lost changes. It has lost changes if its last offset
    is below `received`, an offset that a reader has seen, or if the database was restored since the epoch began."""
    await db.execute(_RENEW_LOST, epoch, received)


async def renew_restored_epoch(db: Pool | Connection) -> bool:
    """Begin a new epoch if this database was restored since its epoch began. Returns whether a new epoch began.

    It writes nothing otherwise, so that the feed is read on while the database is read-only.
    """
    return await db.fetchval(_IS_RESTORED) is True and await db.fetchval(_RENEW_RESTORED) is not None


async def prune(db: Pool | Connection, keep_hours: int) -> int:
    """Delete up to 2,000 commits that are older than `keep_hours` hours, with their changes. Returns how many commits
    were deleted; call again until 0."""
    await db.execute(_FORGET, keep_hours)
    status: str = await db.execute(_PRUNE, _PRUNE_COMMITS)
    return int(status.rpartition(" ")[2])


def _change(row: Record) -> Change:
    return msgspec.convert(dict(row), Change)
