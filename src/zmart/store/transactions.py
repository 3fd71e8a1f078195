"""Read indexed transactions of the program, and the events that they logged."""

from __future__ import annotations

import msgspec

from zmart.market.types import MarketId, Signature, Slot
from zmart.store.pool import Pool

_ONE = "SELECT signature, slot, failed, finality FROM chain_transactions WHERE signature = $1"
_EVENTS = """
SELECT ordinal, name, market_id, event FROM chain_events WHERE slot = $1 AND signature = $2 ORDER BY ordinal LIMIT $3
"""


class IndexedTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """An indexed transaction of the program. `finality` is "confirmed" or "finalized"; `failed`: the chain executed the
    transaction with an error."""

    signature: Signature
    slot: Slot
    failed: bool
    finality: str


class LoggedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event that a transaction logged. `event` is its JSON; `ordinal` is its position among the transaction's
    events. `market_id` is None for an event of GlobalConfig or of an unknown market."""

    ordinal: int
    name: str
    market_id: MarketId | None
    event: str


async def one(pool: Pool, signature: Signature) -> IndexedTransaction | None:
    """Return the transaction with this signature; None if it is not indexed."""
    row = await pool.fetchrow(_ONE, signature)
    return None if row is None else IndexedTransaction(**row)


async def events(pool: Pool, transaction: IndexedTransaction, limit: int) -> list[LoggedEvent]:
    """Return the first `limit` events that the transaction logged, in order."""
    rows = await pool.fetch(_EVENTS, transaction.slot, transaction.signature, limit)
    return [LoggedEvent(**row) for row in rows]
