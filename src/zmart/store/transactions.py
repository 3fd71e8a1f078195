"""Transactions of the program as indexed: whether one is there, and what it logged."""

from __future__ import annotations

import msgspec

from zmart.market.types import MarketId, Signature, Slot
from zmart.store.pool import Pool

_ONE = "SELECT signature, slot, failed, finality FROM chain_transactions WHERE signature = $1"
_EVENTS = """
SELECT ordinal, name, market_id, event FROM chain_events WHERE slot = $1 AND signature = $2 ORDER BY ordinal LIMIT $3
"""


class Indexed(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction that the index has read. `finality`: confirmed or finalized."""

    signature: Signature
    slot: Slot
    failed: bool
    finality: str


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """One event that a transaction logged; `event` is its JSON."""

    ordinal: int
    name: str
    market_id: MarketId | None
    event: str


async def one(pool: Pool, signature: Signature) -> Indexed | None:
    row = await pool.fetchrow(_ONE, signature)
    return None if row is None else Indexed(**row)


async def events(pool: Pool, transaction: Indexed, limit: int) -> list[Logged]:
    """What it logged, in that order."""
    rows = await pool.fetch(_EVENTS, transaction.slot, transaction.signature, limit)
    return [Logged(**row) for row in rows]
