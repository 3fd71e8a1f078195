"""Check before every decision that the index is complete: nothing is decided ahead of it.

What the chain holds up to the moment that is decided about must be known, folded and final. Everything that the
program stamped with a chain time of at most the index's `gap_free_through_time` is, see store/index_progress.py,
unless the market's events are stuck at one that is impossible.
"""

from __future__ import annotations

from zmart.errors import IndexIncomplete
from zmart.market.times import readable_seconds
from zmart.market.types import Address, ChainTime, MarketId, Slot
from zmart.store import index_progress, projections
from zmart.store.pool import Connection, Pool

MAX_LAG_S = 600
"""An index that is further behind may miss votes that came after a count and before its approval."""

_ANY_SLOT = Slot(0)
_NO_SLOT = Slot(2**62)
"""Work that waits for this slot is tried again after its pause, and not before."""


async def require_complete(
    db: Pool | Connection,
    program: Address,
    market_id: MarketId,
    closed_at: ChainTime,
    closed_slot: Slot = _ANY_SLOT,
) -> None:
    """Return if the index of `program` is complete for a market through a chain time, and a slot if one is known.

    Raises IndexIncomplete, which says how far it is and what is needed; ConfigError for another program's index.
    """
    progress = await index_progress.of_program(db, program)
    if progress is None:
        raise IndexIncomplete(
            f"No indexer has ever run on this database; the decision needs slot {closed_slot}.",
            needs_slot=closed_slot,
            needs_time=closed_at,
        )
    if progress.gap_free_through_slot >= closed_slot and progress.gap_free_through_time >= closed_at:
        await _require_folded(db, market_id)
        return
    needed, covered = readable_seconds(closed_at), readable_seconds(progress.gap_free_through_time)
    raise IndexIncomplete(
        f"The index is complete through slot {progress.gap_free_through_slot}, the decision needs slot {closed_slot}: "
        f"all of chain time {needed}, and it has all of {covered}.",
        needs_slot=closed_slot,
        needs_time=closed_at,
    )


async def _require_folded(db: Pool | Connection, market_id: MarketId) -> None:
    reason = await projections.fold_error(db, market_id)
    if reason is not None:
        raise IndexIncomplete(
            f"The events of market {market_id} are not folded to their end: {reason}",
            needs_slot=_NO_SLOT,
            needs_time=0,
        )


async def require_recent(
    db: Pool | Connection,
    program: Address,
    market_id: MarketId,
    now: ChainTime,
    counted_at: ChainTime,
    counted_slot: Slot = _ANY_SLOT,
) -> None:
    """Return if the index is complete through a count, and at most FAR_BEHIND_S behind: votes that came after the
    count and change its verdict are known then. Called before an approval. Raises as `require_complete`."""
    recently = ChainTime(now - MAX_LAG_S)
    await require_complete(db, program, market_id, max(counted_at, recently), counted_slot)
