"""Read how many transactions wait in the inbox to be indexed, and which of them failed."""

from __future__ import annotations

import msgspec

from zmart.market.types import Signature, Slot
from zmart.store.pool import Pool, fetch_existing

# A transaction that is named only by a hint does not count as backlog: it may not exist.
IS_REAL = "state = 'pending' AND (listed OR payload IS NOT NULL)"
_DEPTH = f"""
SELECT (SELECT count(*) FROM inbox WHERE {IS_REAL}) AS pending,
    (SELECT count(*) FROM inbox WHERE state = 'pending' AND payload IS NULL AND NOT listed) AS unproven,
    (SELECT count(*) FROM inbox WHERE state = 'dead') AS dead,
    (SELECT min(slot) FROM inbox WHERE state = 'dead') AS gap_slot,
    (SELECT extract(epoch FROM now() - min(received_at)) FROM inbox WHERE {IS_REAL})::float8 AS oldest_s,
    (SELECT last_error FROM inbox WHERE {IS_REAL} ORDER BY received_at LIMIT 1) AS oldest_error
"""
_WAITING = f"""
SELECT signature, slot, attempts, last_error, extract(epoch FROM now() - received_at)::float8 AS age_s
FROM inbox WHERE {IS_REAL} AND received_at < now() - make_interval(secs => $1) AND last_error IS NOT NULL
ORDER BY received_at LIMIT $2
"""


class InboxDepth(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of rows in the inbox by kind. `pending` rows have a payload or are in the chain's own listing;
    `unproven` rows are named only by a hint; `dead` rows are dead letters.

    `oldest_s`: age of the oldest pending row in seconds, None if there is none; `oldest_error`: the error of its last
    attempt. `gap_slot`: the lowest slot with a dead letter, None if there is none.
    """

    pending: int
    dead: int
    gap_slot: Slot | None
    oldest_s: float | None
    unproven: int = 0
    oldest_error: str | None = None


class WaitingTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """A pending row with failed attempts. `last_error`: the error of the last one; `age_s`: seconds since the hint was
    received."""

    signature: Signature
    slot: Slot | None
    attempts: int
    last_error: str
    age_s: float


async def depth(pool: Pool) -> InboxDepth:
    """Return the numbers of rows in the inbox, the age of the oldest, and the lowest slot with a dead letter."""
    return InboxDepth(**await fetch_existing(pool, _DEPTH))


async def waiting(pool: Pool, longer_than_s: float, limit: int = 100) -> list[WaitingTransaction]:
    """Return up to `limit` pending rows with a failed attempt that were received more than `longer_than_s` seconds ago,
    the oldest first. Rows that only a hint names are left out: their transactions may not exist."""
    return [WaitingTransaction(**row) for row in await pool.fetch(_WAITING, longer_than_s, limit)]
