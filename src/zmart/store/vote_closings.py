"""Store the closings of votes: the moment up to which votes count, written before the index is complete up to it."""

from __future__ import annotations

import msgspec

from zmart.market.types import ChainTime, MarketId, Slot, VoteKind
from zmart.store.pool import Connection, Pool

_COLUMNS = "market_id, kind, closed_at, closed_slot, log_size, voting_over"
_FIND = f"SELECT {_COLUMNS} FROM vote_closings WHERE (market_id, kind) = ($1, $2)"
_WRITE = f"""
INSERT INTO vote_closings ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (market_id, kind) DO UPDATE
SET closed_at = excluded.closed_at, closed_slot = excluded.closed_slot, log_size = excluded.log_size,
    voting_over = excluded.voting_over, written_at = now()
"""
# A final closing at another moment stays: votes were accepted or refused by it, and may have been counted by it.
_WRITE_FINAL = f"""
{_WRITE} WHERE NOT vote_closings.voting_over OR vote_closings.closed_at = excluded.closed_at RETURNING market_id
"""
_EXTEND = """
UPDATE vote_closings SET voting_over = false, written_at = now()
WHERE (market_id, kind, closed_at, closed_slot, log_size, voting_over) = ($1, $2, $3, $4, $5, $6) RETURNING market_id
"""
_REMOVE = "DELETE FROM vote_closings WHERE (market_id, kind) = ($1, $2)"


class VoteClosing(msgspec.Struct, frozen=True, kw_only=True):
    """The closing of one kind of vote on a market. Votes on chain count up to chain time `closed_at` (Unix seconds);
    `closed_slot` was the chain's slot when the closing was written. `voting_over`: the market's log accepts no further
    vote of this kind; off-chain votes count if they are among the log's first `log_size` entries."""

    market_id: MarketId
    kind: VoteKind
    closed_at: ChainTime
    closed_slot: Slot
    log_size: int
    voting_over: bool


async def find(db: Pool | Connection, market_id: MarketId, kind: VoteKind) -> VoteClosing | None:
    """Return the closing of the market's vote; None if none was written."""
    row = await db.fetchrow(_FIND, market_id, kind.value)
    return None if row is None else VoteClosing(**{**row, "kind": kind})


async def write(connection: Connection, closing: VoteClosing) -> None:
    """Insert the closing of a vote, or replace an earlier one. Needs the lock of the market's vote log."""
    await connection.execute(_WRITE, *_values(closing))


async def write_final(connection: Connection, closing: VoteClosing) -> bool:
    """Insert a final closing, or replace one that is not final or is at the same moment, and return True. Return False
    if the vote has a final closing at another moment, which stays. Needs the lock of the market's vote log."""
    return await connection.fetchval(_WRITE_FINAL, *_values(closing)) is not None


async def extend(connection: Connection, closing: VoteClosing) -> bool:
    """Make the closing no longer final and return True. Return False if the stored one is not `closing` any more; it
    stays. Needs the lock of the market's vote log."""
    return await connection.fetchval(_EXTEND, *_values(closing)) is not None


async def remove(connection: Connection, market_id: MarketId, kind: VoteKind) -> None:
    """Delete the closing of a vote, so that voting continues. Needs the lock of the market's vote log."""
    await connection.execute(_REMOVE, market_id, kind.value)


def _values(closing: VoteClosing) -> tuple[str, str, int, int, int, bool]:
    return (
        closing.market_id,
        closing.kind.value,
        closing.closed_at,
        closing.closed_slot,
        closing.log_size,
        closing.voting_over,
    )
