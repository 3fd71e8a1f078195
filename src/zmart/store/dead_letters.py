"""Read, replay and drop dead letters: transactions of the inbox that could not be indexed.

The functions that take one also take a pending row with a failed attempt.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from zmart.errors import NotFound
from zmart.market.types import Signature, Slot
from zmart.store.inbox import CHANNEL, Source
from zmart.store.inbox_backlog import IS_REAL
from zmart.store.pool import Pool, fetch_existing

_DEAD = """
SELECT id, signature, source, slot, attempts, last_error, received_at, settled_at FROM inbox
WHERE state = 'dead' AND id > $1 ORDER BY id LIMIT $2
"""
# A row is named by its id or signature. It is a dead letter, or a pending row with a failed attempt.
_NAMED = f"({IS_REAL} AND last_error IS NOT NULL OR state = 'dead') AND (signature = $1 OR id::text = $1)"
_LETTER = f"""
SELECT id, signature, source, slot, attempts, last_error, received_at, settled_at, payload FROM inbox WHERE {_NAMED}
"""
_REPLAY = f"""
WITH revived AS (
    UPDATE inbox SET state = 'pending', attempts = 0, next_attempt_at = now(), settled_at = NULL
    WHERE state = 'dead' AND $1::text IS NULL OR {_NAMED} RETURNING 1
), woken AS (SELECT pg_notify('{CHANNEL}', '') FROM revived LIMIT 1)
SELECT (SELECT count(*) FROM revived) AS revived, (SELECT count(*) FROM woken) AS woken
"""
_DROP = f"""
UPDATE inbox SET state = 'dropped', payload = NULL, settled_at = now()
WHERE state = 'dead' AND $1::text IS NULL OR {_NAMED}
"""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction that could not be indexed. `last_error`: why; `source`: what named it first. `settled_at`: when it
    became a dead letter; None for a pending row that failed. `payload`: its JSON; None if unknown or not read."""

    id: int
    signature: Signature
    source: Source
    slot: Slot | None
    attempts: int
    last_error: str | None
    received_at: datetime
    settled_at: datetime | None
    payload: bytes | None = None


async def page(pool: Pool, after_id: int = 0, limit: int = 100) -> list[DeadLetter]:
    """Return up to `limit` dead letters with ids greater than `after_id`, in order of ids, without payloads."""
    return [DeadLetter(**row) for row in await pool.fetch(_DEAD, after_id, limit)]


async def one(pool: Pool, which: str) -> DeadLetter:
    """Return a dead letter, or a pending row with a failed attempt, by its id or signature, with its payload. Raises
    NotFound if there is no such row."""
    row = await pool.fetchrow(_LETTER, which)
    if row is None:
        raise NotFound(f"There is no dead letter {which[:100]}.")
    return DeadLetter(**row)


async def replay(pool: Pool, which: str | None = None) -> int:
    """Make rows pending and due now, and return how many rows there were. These are the dead letter or failed
    pending row with the id or signature `which`, or all dead letters if None."""
    return int((await fetch_existing(pool, _REPLAY, which))["revived"])


async def drop(pool: Pool, which: str | None = None) -> int:
    """Mark rows as dropped, so that no scan adds them again, and return how many were marked. These are the dead
    letter or failed pending row with the id or signature `which`, or all dead letters if None."""
    status = await pool.execute(_DROP, which)
    return int(status.rpartition(" ")[2])
