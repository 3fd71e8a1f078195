"""Read the state of the system: progress of the index, queues, events of a market, changes since a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from zmart.errors import ReadOnly
from zmart.market.types import MarketId, Slot, Wallet
from zmart.store.change_feed import Change, Topic
from zmart.store.driver_errors import FULL_OF_NOTIFICATIONS
from zmart.store.inbox_backlog import IS_REAL
from zmart.store.pool import Connection, Pool, fetch_existing

_PROGRESS = """
SELECT program_id, start_slot, gap_free_through_slot, tip_slot, scanned_at FROM index_progress
"""
_AS_OF = "SELECT gap_free_through_slot FROM index_progress"
_QUEUES = f"""
SELECT (SELECT count(*) FROM inbox WHERE {IS_REAL}) AS inbox_pending,
    (SELECT count(*) FROM unconfirmed_transactions) AS unconfirmed,
    (SELECT count(*) FROM inbox WHERE state = 'dead') AS dead_letters,
    (SELECT count(*) FROM intents WHERE state IN ('planned', 'signed', 'sent', 'dead', 'uncertain'))
        AS intents_open,
    (SELECT count(*) FROM intents WHERE state = 'uncertain') AS intents_uncertain,
    (SELECT count(*) FROM market_work WHERE status <> 'done') AS market_work,
    (SELECT count(*) FROM ipfs_anchors WHERE verified_at IS NULL) AS pins_unverified,
    (SELECT count(*) FROM alerts WHERE resolved_at IS NULL) AS alerts_open
"""
# The statement reads a table of ours, so that it fails if the schema was dropped.
_IS_READ_ONLY = """
SELECT current_setting('transaction_read_only')::boolean FROM (SELECT count(*) FROM schema_migrations) AS schema
"""
_NOTIFICATIONS = "SELECT pg_notification_queue_usage()"
_MOST_NOTIFICATIONS = 0.98
_EVENTS = """
SELECT e.signature, e.ordinal, e.slot, e.name, e.event, t.indexed_at,
    (SELECT creator FROM markets WHERE market_id = $1) AS creator
FROM chain_events e JOIN chain_transactions t USING (signature)
WHERE e.market_id = $1 AND e.name = ANY($3)
    AND e.slot >= coalesce((SELECT created_slot FROM markets WHERE market_id = $1), 0)  -- no earlier partition
ORDER BY e.slot, e.index_in_block NULLS FIRST, e.ordinal LIMIT $2 OFFSET $4
"""
_CHANGES = """
SELECT c.base_offset + f.ordinal AS "offset", c.committed_at, f.topic, f.op, f.market_id, f.old_row, f.new_row
FROM feed_commits c JOIN feed_changes f ON f.commit_id = c.id
WHERE c.base_offset IS NOT NULL AND c.committed_at > $1 AND f.topic = ANY($3) {narrowed}
ORDER BY c.committed_at {direction}, c.base_offset {direction}, f.ordinal {direction} LIMIT $2
"""
_SINCE, _NEWEST = (
    {
        narrowed: _CHANGES.format(direction=direction, narrowed="AND f.market_id = $4" if narrowed else "")
        for narrowed in (False, True)
    }
    for direction in ("ASC", "DESC")
)
_AFTER = """
SELECT c.base_offset + f.ordinal AS "offset", c.committed_at, f.topic, f.op, f.market_id, f.old_row, f.new_row
FROM feed_commits c JOIN feed_changes f ON f.commit_id = c.id
WHERE c.base_offset >= coalesce((SELECT max(base_offset) FROM feed_commits WHERE base_offset <= $1), 0)
    AND c.base_offset + f.ordinal > $1 AND f.topic = ANY($3) AND ($4::text IS NULL OR f.market_id = $4)
ORDER BY c.base_offset, f.ordinal LIMIT $2
"""
_CLOCK = "SELECT clock_timestamp()"


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the index is complete, as the API publishes it. `scanned_at`: when the last scan ended, None before the
    first."""

    program_id: str
    start_slot: Slot
    gap_free_through_slot: Slot
    tip_slot: Slot
    scanned_at: datetime | None


class Queues(msgspec.Struct, frozen=True, kw_only=True):
    """The number of items that wait in each queue: transactions, intents, market jobs, pins and alerts."""

    inbox_pending: int
    unconfirmed: int
    dead_letters: int
    intents_open: int
    intents_uncertain: int
    market_work: int
    pins_unverified: int
    alerts_open: int


class MarketEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a market, as stored in chain_events. `event` is its JSON; `creator` is the creator of the market,
    None while the market is not indexed."""

    signature: str
    ordinal: int
    slot: Slot
    name: str
    event: msgspec.Raw
    indexed_at: datetime
    creator: Wallet | None


async def check(pool: Pool | Connection) -> None:
    """Return if the database has our schema and accepts reads and writes. Raises Unavailable, Busy or ReadOnly."""
    await check_not_read_only(pool)
    # The call also lets PostgreSQL drop the notifications that all listeners have read. After it refused a NOTIFY, it
    # does not do so by itself.
    if await pool.fetchval(_NOTIFICATIONS) > _MOST_NOTIFICATIONS:
        raise ReadOnly(f"PostgreSQL accepts no writes: {FULL_OF_NOTIFICATIONS}.")


async def check_not_read_only(pool: Pool | Connection) -> None:
    """Return if the database has our schema and is not read-only as a whole. Raises Unavailable, Busy or ReadOnly."""
    if await pool.fetchval(_IS_READ_ONLY):
        raise ReadOnly(
            "PostgreSQL accepts no writes (a stand-by, or default_transaction_read_only is on): reads are answered, "
            "writes get 503. Make it writable; nothing has to be restarted."
        )


async def as_of_slot(pool: Pool) -> Slot:
    """Return the slot through which the index is gap-free; 0 before an indexer has ever run."""
    return Slot(await pool.fetchval(_AS_OF) or 0)


async def progress(pool: Pool) -> Progress | None:
    """Return the progress of the index; None before an indexer has ever run on this database."""
    row = await pool.fetchrow(_PROGRESS)
    return None if row is None else Progress(**row)


async def queues(pool: Pool) -> Queues:
    """Return the number of items that wait in each queue."""
    return Queues(**await fetch_existing(pool, _QUEUES))


async def events_of(
    pool: Pool, market_id: MarketId, names: Sequence[str], limit: int, offset: int = 0
) -> list[MarketEvent]:
    """Return up to `limit` events of the market with these names, in chain order, from `offset` on."""
    rows = await pool.fetch(_EVENTS, market_id, limit, list(names), offset)
    return [MarketEvent(**{**row, "event": msgspec.Raw(row["event"].encode())}) for row in rows]


async def changes_since(
    pool: Pool,
    since: datetime,
    topics: Sequence[Topic],
    limit: int,
    market_id: MarketId | None,
    *,
    newest: bool,
) -> list[Change]:
    """Return the changes of `topics` that were committed after `since`, in order of commits. These are the first
    `limit` changes, or the last ones if `newest`. With `market_id`, only changes of this market are returned."""
    narrowed = () if market_id is None else (market_id,)
    sql = (_NEWEST if newest else _SINCE)[bool(narrowed)]
    rows = await pool.fetch(sql, since, limit, [topic.value for topic in topics], *narrowed)
    return [msgspec.convert(dict(row), Change) for row in (reversed(rows) if newest else rows)]


async def changes_after(
    pool: Pool, offset: int, topics: Sequence[Topic], limit: int, market_id: MarketId | None
) -> list[Change]:
    """Return the first `limit` changes of `topics` behind an offset of the feed, in its order. With `market_id`, only
    changes of this market are returned."""
    rows = await pool.fetch(_AFTER, offset, limit, [topic.value for topic in topics], market_id)
    return [msgspec.convert(dict(row), Change) for row in rows]


async def clock(pool: Pool) -> datetime:
    """Return the time by the database's clock, which also states the times of commits."""
    moment: datetime = await pool.fetchval(_CLOCK)
    return moment
