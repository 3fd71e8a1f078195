"""How the whole system is: the index's progress, the program's rules as folded, queues, feed and activity."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from zmart.market.types import Bps, MarketId, Slot, Wallet
from zmart.store.pool import Pool, Record

_PROGRESS = """
SELECT program_id, start_slot, gap_free_through_slot, tip_slot, scanned_at FROM index_progress
"""
_AS_OF = "SELECT gap_free_through_slot FROM index_progress"
_RULES = """
SELECT admin, backend_authority, protocol_fee_bps, resolver_reward_bps, liquidity_provider_fee_bps,
    proposal_approval_threshold, dispute_success_threshold, min_resolution_delay, dispute_period, is_paused,
    updated_slot
FROM program_config
"""
_QUEUES = """
SELECT (SELECT count(*) FROM inbox WHERE state = 'pending') AS inbox_pending,
    (SELECT count(*) FROM inbox WHERE state = 'dead') AS dead_letters,
    (SELECT count(*) FROM intents WHERE state IN ('planned', 'signed', 'sent', 'dead', 'uncertain'))
        AS intents_open,
    (SELECT count(*) FROM intents WHERE state = 'uncertain') AS intents_uncertain,
    (SELECT count(*) FROM market_work WHERE status <> 'done') AS market_work,
    (SELECT count(*) FROM ipfs_anchors WHERE verified_at IS NULL) AS pins_unverified,
    (SELECT count(*) FROM alerts WHERE resolved_at IS NULL) AS alerts_open
"""
_FEED = "SELECT epoch::text, head, kept_from FROM feed_head"
_ALIVE = "SELECT 1"
_EVENTS = """
SELECT e.signature, e.ordinal, e.slot, e.name, e.event, t.indexed_at
FROM chain_events e JOIN chain_transactions t USING (signature)
WHERE e.market_id = $1 ORDER BY e.slot, e.index_in_block NULLS LAST, e.ordinal LIMIT $2
"""
_CHANGES = """
SELECT "offset", committed_at, topic, op, market_id, old_row, new_row FROM change_feed
WHERE committed_at > $1 {narrowed} ORDER BY "offset" DESC LIMIT $2
"""
_CHANGES_ALL = _CHANGES.format(narrowed="AND topic = ANY($3)")
_CHANGES_OF = _CHANGES.format(narrowed="AND topic = ANY($3) AND market_id = $4")


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the index is known to be complete."""

    program_id: str
    start_slot: Slot
    gap_free_through_slot: Slot
    tip_slot: Slot
    scanned_at: datetime | None


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """GlobalConfig as the events tell it; times in seconds."""

    admin: Wallet
    backend_authority: Wallet
    protocol_fee_bps: Bps
    resolver_reward_bps: Bps
    liquidity_provider_fee_bps: Bps
    proposal_approval_threshold: Bps
    dispute_success_threshold: Bps
    min_resolution_delay: int
    dispute_period: int
    is_paused: bool
    updated_slot: Slot


class Queues(msgspec.Struct, frozen=True, kw_only=True):
    inbox_pending: int
    dead_letters: int
    intents_open: int
    intents_uncertain: int
    market_work: int
    pins_unverified: int
    alerts_open: int


class FeedHead(msgspec.Struct, frozen=True, kw_only=True):
    epoch: str
    head: int
    kept_from: int


class MarketEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a market as it stands in chain_events; `event` is its JSON."""

    signature: str
    ordinal: int
    slot: Slot
    name: str
    event: msgspec.Raw
    indexed_at: datetime


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One message of the change feed; rows are their JSON."""

    offset: int
    committed_at: datetime
    topic: str
    op: str
    market_id: MarketId | None
    old_row: msgspec.Raw | None
    new_row: msgspec.Raw | None


async def alive(pool: Pool) -> None:
    """Raises StoreError when the database does not answer."""
    await pool.fetchval(_ALIVE)


async def as_of_slot(pool: Pool) -> Slot:
    """The slot through which the index is gap-free; 0 before anything was indexed."""
    return Slot(await pool.fetchval(_AS_OF) or 0)


async def progress(pool: Pool) -> Progress | None:
    row = await pool.fetchrow(_PROGRESS)
    return None if row is None else Progress(**row)


async def rules(pool: Pool) -> Rules | None:
    """None until the index has seen the program's configuration."""
    row = await pool.fetchrow(_RULES)
    return None if row is None else Rules(**row)


async def queues(pool: Pool) -> Queues:
    return Queues(**await pool.fetchrow(_QUEUES) or {})


async def feed(pool: Pool) -> FeedHead:
    return FeedHead(**await pool.fetchrow(_FEED) or {})


async def events_of(pool: Pool, market_id: MarketId, limit: int) -> list[MarketEvent]:
    """A market's events in chain order."""
    rows = await pool.fetch(_EVENTS, market_id, limit)
    return [MarketEvent(**{**row, "event": msgspec.Raw(row["event"].encode())}) for row in rows]


async def changes_since(
    pool: Pool, since: datetime, topics: Sequence[str], limit: int, market_id: MarketId | None = None
) -> list[Change]:
    """The newest changes committed after `since`, the newest first."""
    if market_id is None:
        rows = await pool.fetch(_CHANGES_ALL, since, limit, list(topics))
    else:
        rows = await pool.fetch(_CHANGES_OF, since, limit, list(topics), market_id)
    return [_change(row) for row in rows]


def _change(row: Record) -> Change:
    old, new = (
        None if text is None else msgspec.Raw(text.encode()) for text in (row["old_row"], row["new_row"])
    )
    return Change(**{**row, "old_row": old, "new_row": new})
