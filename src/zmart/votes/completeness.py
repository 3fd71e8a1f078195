"""Check before a decision that the index is complete through the moment of the decision.

Everything that is on chain up to that moment must be indexed, folded and final. That holds for all events with a chain
time of at most the index's `gap_free_through_time` (store/index_progress.py), unless the market is stuck at an event
that cannot be folded.
"""

from __future__ import annotations

from zmart.errors import IndexIncomplete
from zmart.market.times import readable_seconds
from zmart.market.types import Address, ChainTime, MarketId, Slot
from zmart.store import index_progress, projections
from zmart.store.index_progress import IndexProgress
from zmart.store.pool import Connection, Pool

MAX_LAG_S = 600
"""How many seconds the index may be behind at an approval: later votes may have changed the counted verdict."""

_NO_SLOT = Slot(2**62)
"""A slot that the index never reaches: work that waits for it is retried only after its pause."""


async def require_complete(
    db: Pool | Connection,
    program: Address,
    market_id: MarketId,
    closed_at: ChainTime,
    closed_slot: Slot | None = None,
) -> None:
    """Return if the index of `program` is complete for a market through chain time `closed_at` and slot `closed_slot`.

    Without `closed_slot` the decision needs the time alone. Raises IndexIncomplete, which says how far the index is
    complete and what is needed. Raises ConfigError if the index is that of another program.
    """
    progress = await index_progress.of_program(db, program)
    needed_slot = Slot(0) if closed_slot is None else closed_slot
    if progress is not None and _covers(progress, closed_at, needed_slot):
        await _require_folded(db, market_id)
        return
    raise IndexIncomplete(
        f"{_covered(progress)}; the decision needs {_needed(closed_at, closed_slot)}.",
        needs_slot=needed_slot,
        needs_time=closed_at,
    )


def _covers(progress: IndexProgress, closed_at: ChainTime, closed_slot: Slot) -> bool:
    return progress.gap_free_through_slot >= closed_slot and progress.gap_free_through_time >= closed_at


def _covered(progress: IndexProgress | None) -> str:
    if progress is None:
        return "No indexer has ever run on this database"
    through = f"The index is complete through slot {progress.gap_free_through_slot}"
    if not progress.gap_free_through_time:
        return f"{through}, and through no chain time yet"
    return f"{through} and chain time {readable_seconds(progress.gap_free_through_time)}"


def _needed(closed_at: ChainTime, closed_slot: Slot | None) -> str:
    time = f"chain time {readable_seconds(closed_at)}"
    return time if closed_slot is None else f"slot {closed_slot} and {time}"


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
    counted_slot: Slot | None = None,
) -> None:
    """Return if the index is complete through a count and at most MAX_LAG_S seconds behind `now`.

    An approval needs that: votes that arrived after the count and would change its verdict are then known. Raises what
    `require_complete` raises.
    """
    recently = ChainTime(now - MAX_LAG_S)
    await require_complete(db, program, market_id, max(counted_at, recently), counted_slot)
