"""Store the progress of backfills, so that an interrupted backfill continues where it stopped.

A backfill lists the program's transactions in a range of slots, from the newest to the oldest.
"""

from __future__ import annotations

import msgspec

from zmart.market.types import Signature, Slot
from zmart.store.pool import Pool

OPEN_END = Slot(2**63 - 1)
"""The `to_slot` of a backfill without an upper bound: its range ends at the tip of the chain."""

_BEGIN = """
INSERT INTO backfills AS old (from_slot, to_slot) VALUES ($1, $2)
ON CONFLICT (from_slot, to_slot) DO UPDATE SET ended_at = NULL, started_at = now(),
    oldest_signature = CASE WHEN old.ended_at IS NULL THEN old.oldest_signature END,
    oldest_slot = CASE WHEN old.ended_at IS NULL THEN old.oldest_slot END,
    new_count = CASE WHEN old.ended_at IS NULL THEN old.new_count ELSE 0 END
RETURNING oldest_signature, oldest_slot, new_count
"""
_LISTED_TO = """
UPDATE backfills SET oldest_signature = $3, oldest_slot = $4, new_count = new_count + $5
WHERE (from_slot, to_slot) = ($1, $2)
"""
_ENDED = "UPDATE backfills SET ended_at = now() WHERE (from_slot, to_slot) = ($1, $2)"


class BackfillCursor(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of a backfill: the oldest transaction listed so far, by signature and slot, None before the first.
    `new_count`: how many of the listed transactions were not known before."""

    oldest_signature: Signature | None
    oldest_slot: Slot | None
    new_count: int


async def begin(pool: Pool, from_slot: Slot, to_slot: Slot) -> BackfillCursor:
    """Begin the backfill of a range, and return where its listing continues. A range whose earlier backfill was
    interrupted continues there; any other range begins with an empty cursor."""
    row = await pool.fetchrow(_BEGIN, from_slot, to_slot)
    assert row is not None
    return BackfillCursor(**row)


async def listed_to(
    pool: Pool, from_slot: Slot, to_slot: Slot, signature: Signature, slot: Slot, new_count: int
) -> None:
    """Record that every transaction of the range down to `signature`, in `slot`, is in the inbox. `new_count` is the
    number of newly known transactions since the last call."""
    await pool.execute(_LISTED_TO, from_slot, to_slot, signature, slot, new_count)


async def ended(pool: Pool, from_slot: Slot, to_slot: Slot) -> None:
    """Record that the range of slots is listed completely."""
    await pool.execute(_ENDED, from_slot, to_slot)
