"""Listings of a range of slots that an operator asked for, and where a broken one goes on."""

from __future__ import annotations

import msgspec

from zmart.market.types import Signature, Slot
from zmart.store.pool import Pool

OPEN_END = Slot(2**63 - 1)
"""`to_slot` of a range that ends where the chain does."""

_BEGIN = """
INSERT INTO backfills AS old (from_slot, to_slot) VALUES ($1, $2)
ON CONFLICT (from_slot, to_slot) DO UPDATE SET ended_at = NULL, started_at = now(),
    reached = CASE WHEN old.ended_at IS NULL THEN old.reached END,
    slot = CASE WHEN old.ended_at IS NULL THEN old.slot END,
    found = CASE WHEN old.ended_at IS NULL THEN old.found ELSE 0 END
RETURNING reached, slot, found
"""
_REACHED = (
    "UPDATE backfills SET reached = $3, slot = $4, found = found + $5 WHERE (from_slot, to_slot) = ($1, $2)"
)
_ENDED = "UPDATE backfills SET ended_at = now() WHERE (from_slot, to_slot) = ($1, $2)"


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """The oldest transaction that was listed, None at the beginning; `found` were not known before."""

    reached: Signature | None
    slot: Slot | None
    found: int


async def begin(pool: Pool, from_slot: Slot, to_slot: Slot) -> Cursor:
    """Where to go on: at the beginning, unless an earlier listing of this range was broken off."""
    row = await pool.fetchrow(_BEGIN, from_slot, to_slot)
    assert row is not None
    return Cursor(**row)


async def reached(
    pool: Pool, from_slot: Slot, to_slot: Slot, signature: Signature, slot: Slot, found: int
) -> None:
    """Everything down to `signature` is in the inbox."""
    await pool.execute(_REACHED, from_slot, to_slot, signature, slot, found)


async def ended(pool: Pool, from_slot: Slot, to_slot: Slot) -> None:
    await pool.execute(_ENDED, from_slot, to_slot)
