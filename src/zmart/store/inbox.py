"""The inbox: every hint of a transaction, written down before anything is done with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from zmart.errors import NotFound
from zmart.market.types import Signature, Slot
from zmart.store.pool import Connection, Pool

CHANNEL = "zmart_inbox"
MAX_ATTEMPTS = 10
Source = Literal["webhook", "logs", "scan"]

_STORE = f"""
WITH hints AS (
    SELECT * FROM unnest($2::text[], $3::bigint[], $4::bytea[]) AS h (signature, slot, payload) ORDER BY signature
), stored AS (
    INSERT INTO inbox AS old (source, signature, slot, payload)
    SELECT $1, h.signature, h.slot, h.payload FROM hints h
    WHERE h.signature <> ALL (ARRAY(SELECT signature FROM chain_transactions WHERE signature = ANY ($2::text[])))
    ON CONFLICT (signature) DO UPDATE
    SET payload = COALESCE(old.payload, excluded.payload), slot = COALESCE(old.slot, excluded.slot)
    WHERE old.state = 'pending'
        AND (old.payload IS NULL AND excluded.payload IS NOT NULL OR old.slot IS NULL AND excluded.slot IS NOT NULL)
    RETURNING (xmax = 0) AS fresh
), woken AS (SELECT pg_notify('{CHANNEL}', '') FROM stored WHERE $5 LIMIT 1)
SELECT (SELECT count(*) FROM stored WHERE fresh) AS fresh, (SELECT count(*) FROM woken) AS woken
"""
_WAKE = f"SELECT pg_notify('{CHANNEL}', '')"
_UNKNOWN = """
SELECT h.signature FROM unnest($1::text[]) AS h (signature)
WHERE NOT EXISTS (SELECT FROM inbox i WHERE i.signature = h.signature)
    AND NOT EXISTS (SELECT FROM chain_transactions t WHERE t.signature = h.signature)
"""
# A batch ends with its number of rows or of bytes, whichever comes first: a payload may have megabytes.
_READY = """
WITH next AS (
    SELECT id, octet_length(payload) AS size, row_number() OVER (ORDER BY slot, id) AS place FROM inbox
    WHERE state = 'pending' AND payload IS NOT NULL AND next_attempt_at <= now() AND NOT (id = ANY($3::bigint[]))
    ORDER BY slot, id LIMIT $1
)
SELECT id, signature, slot, payload, attempts, extract(epoch FROM now() - received_at)::float8 AS age_s
FROM inbox WHERE id = ANY (ARRAY(
    SELECT id FROM (SELECT id, sum(size) OVER (ORDER BY place) - size AS before FROM next) f WHERE before < $2))
ORDER BY slot, id
"""
_TO_FETCH = """
UPDATE inbox SET next_attempt_at = now() + make_interval(secs => $2)
WHERE id IN (
    SELECT id FROM inbox WHERE state = 'pending' AND payload IS NULL AND next_attempt_at <= now()
    ORDER BY slot, id LIMIT $1 FOR UPDATE SKIP LOCKED
) RETURNING id, signature, slot, attempts
"""
_FETCHED = f"""
WITH filled AS (
    UPDATE inbox i SET payload = f.payload, slot = COALESCE(i.slot, f.slot), next_attempt_at = now()
    FROM unnest($1::bigint[], $2::bytea[], $3::bigint[]) AS f (id, payload, slot)
    WHERE i.id = f.id AND i.state = 'pending' RETURNING 1
), woken AS (SELECT pg_notify('{CHANNEL}', '') FROM filled LIMIT 1)
SELECT count(*) FROM woken
"""
_SETTLED = "DELETE FROM inbox WHERE id = ANY($1::bigint[]) AND state = 'pending'"
_FOREIGN = """
UPDATE inbox SET state = 'done', payload = NULL, last_error = NULL, settled_at = now()
WHERE id = ANY($1::bigint[]) AND state = 'pending'
"""
_PRUNE = """
DELETE FROM inbox WHERE id IN (
    SELECT id FROM inbox WHERE state = 'done' AND settled_at < now() - make_interval(secs => $1) LIMIT $2)
"""
_FAILED = f"""
UPDATE inbox i SET attempts = attempts + 1, last_error = f.error,
    payload = CASE WHEN f.refetch THEN NULL ELSE payload END,
    slot = CASE WHEN f.nowhere AND attempts + 1 >= {MAX_ATTEMPTS} THEN NULL ELSE slot END,
    state = CASE WHEN f.hopeless OR attempts + 1 >= {MAX_ATTEMPTS} THEN 'dead' ELSE 'pending' END,
    settled_at = CASE WHEN f.hopeless OR attempts + 1 >= {MAX_ATTEMPTS} THEN now() END,
    next_attempt_at = now() + make_interval(secs => LEAST(60, 0.25 * 2 ^ attempts))
FROM unnest($1::bigint[], $2::text[], $3::boolean[], $4::boolean[], $5::boolean[])
    AS f (id, error, refetch, hopeless, nowhere)
WHERE i.id = f.id AND i.state = 'pending'
RETURNING i.signature, i.state
"""
_POSTPONE = """
UPDATE inbox SET next_attempt_at = now() + make_interval(secs => $2) WHERE id = ANY($1::bigint[]) AND state = 'pending'
"""
_NEXT_DUE = """
SELECT extract(epoch FROM min(next_attempt_at) - now())::float8 FROM inbox
WHERE state = 'pending' AND (payload IS NOT NULL) = $1
"""
_DEPTH = """
SELECT (SELECT count(*) FROM inbox WHERE state = 'pending') AS pending,
    (SELECT count(*) FROM inbox WHERE state = 'dead') AS dead,
    (SELECT min(slot) FROM inbox WHERE state = 'dead') AS gap_slot,
    (SELECT extract(epoch FROM now() - min(received_at)) FROM inbox WHERE state = 'pending')::float8 AS oldest_s
"""
_DEAD = """
SELECT id, signature, source, slot, attempts, last_error, received_at, settled_at FROM inbox
WHERE state = 'dead' AND id > $1 ORDER BY id LIMIT $2
"""
_LETTER = """
SELECT id, signature, source, slot, attempts, last_error, received_at, settled_at, payload FROM inbox
WHERE state = 'dead' AND (signature = $1 OR id::text = $1)
"""
_REPLAY = f"""
WITH revived AS (
    UPDATE inbox SET state = 'pending', attempts = 0, next_attempt_at = now(), settled_at = NULL
    WHERE state = 'dead' AND ($1::text IS NULL OR signature = $1 OR id::text = $1) RETURNING 1
), woken AS (SELECT pg_notify('{CHANNEL}', '') FROM revived LIMIT 1)
SELECT (SELECT count(*) FROM revived) AS revived, (SELECT count(*) FROM woken) AS woken
"""
_DROP = """
UPDATE inbox SET state = 'dropped', payload = NULL, settled_at = now()
WHERE state = 'dead' AND ($1::text IS NULL OR signature = $1 OR id::text = $1)
"""
_FORGET = "DELETE FROM inbox WHERE signature = ANY($1::text[])"


class Hint(msgspec.Struct, frozen=True):
    """A transaction that somebody named; `payload` is its JSON if it was delivered with it."""

    signature: Signature
    slot: Slot | None
    payload: bytes | None


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """A row whose transaction is at hand. `age_s`: since it was received."""

    id: int
    signature: Signature
    slot: Slot | None
    payload: bytes
    attempts: int
    age_s: float


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A row whose transaction has to be fetched."""

    id: int
    signature: Signature
    slot: Slot | None
    attempts: int


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a row could not be settled. `refetch`: what was delivered is no good, ask the RPC instead.
    `hopeless`: another attempt cannot help. `nowhere`: the chain does not know it; if that stays so, it is no gap."""

    id: int
    error: str
    refetch: bool = False
    hopeless: bool = False
    nowhere: bool = False


class Depth(msgspec.Struct, frozen=True, kw_only=True):
    """`oldest_s` is the age of the oldest pending row, None if there is none; `gap_slot` the lowest slot that
    has a dead letter."""

    pending: int
    dead: int
    gap_slot: Slot | None
    oldest_s: float | None


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction that could not be indexed, and why."""

    id: int
    signature: Signature
    source: Source
    slot: Slot | None
    attempts: int
    last_error: str | None
    received_at: datetime
    settled_at: datetime | None
    payload: bytes | None = None


async def store(
    pool: Pool | Connection, source: Source, hints: Sequence[Hint], *, wake_workers: bool = True
) -> int:
    """Write the hints down, one round trip, and wake the workers. Returns how many were not known before.

    PostgreSQL lets those who notify commit one after the other: who has somebody waiting calls `wake` afterwards.
    """
    unique = list({hint.signature: hint for hint in hints}.values())
    if not unique:
        return 0
    row = await pool.fetchrow(
        _STORE,
        source,
        [hint.signature for hint in unique],
        [hint.slot for hint in unique],
        [hint.payload for hint in unique],
        wake_workers,
    )
    assert row is not None
    fresh: int = row["fresh"]
    return fresh


async def wake(pool: Pool) -> None:
    """Tell the workers that something may be there; one who misses it looks some seconds later."""
    await pool.execute(_WAKE)


async def unknown(pool: Pool, signatures: Sequence[Signature]) -> set[Signature]:
    """Those of `signatures` that the index has never heard of."""
    return {row["signature"] for row in await pool.fetch(_UNKNOWN, list(signatures))}


async def ready(
    connection: Connection | Pool, limit: int, most_bytes: int = 8_000_000, without: Sequence[int] = ()
) -> list[Ready]:
    """The next rows to fold, in the order of their slots; `without` those that are being worked on."""
    rows = await connection.fetch(_READY, limit, most_bytes, list(without))
    return [Ready(**row) for row in rows]


async def take_to_fetch(pool: Pool, limit: int, lease_s: float) -> list[Wanted]:
    """The next rows to fetch; nobody else takes them before the lease ends."""
    return [Wanted(**row) for row in await pool.fetch(_TO_FETCH, limit, lease_s)]


async def fetched(pool: Pool, found: Sequence[tuple[int, bytes, Slot]]) -> None:
    """Store fetched transactions (row id, JSON, slot) and wake the workers."""
    if found:
        ids, payloads, slots = zip(*found, strict=True)
        await pool.execute(_FETCHED, list(ids), list(payloads), list(slots))


async def settled(connection: Connection, ids: Sequence[int]) -> None:
    """Their transactions are indexed; chain_transactions remembers them."""
    await connection.execute(_SETTLED, list(ids))


async def foreign(connection: Connection, ids: Sequence[int]) -> None:
    """Their transactions have nothing to do with the program; the rows stay a while, so that no scan lists
    them again at once."""
    if ids:
        await connection.execute(_FOREIGN, list(ids))


async def prune(pool: Pool, older_than_s: float, limit: int = 10_000) -> int:
    """Delete rows that were done so long ago, at most `limit`. Returns how many."""
    status = await pool.execute(_PRUNE, older_than_s, limit)
    return int(status.rpartition(" ")[2])


async def failed(connection: Connection | Pool, failures: Sequence[Failure]) -> list[Signature]:
    """Try them again later, with growing pauses; after the last attempt they are dead letters (returned)."""
    if not failures:
        return []
    rows = await connection.fetch(
        _FAILED,
        [failure.id for failure in failures],
        [failure.error[:2000].replace("\0", "") for failure in failures],
        [failure.refetch for failure in failures],
        [failure.hopeless for failure in failures],
        [failure.nowhere for failure in failures],
    )
    return [row["signature"] for row in rows if row["state"] == "dead"]


async def postpone(pool: Pool, ids: Sequence[int], seconds: float) -> None:
    """Leave rows alone for a while through no fault of theirs; it counts as no attempt."""
    await pool.execute(_POSTPONE, list(ids), seconds)


async def next_due_s(pool: Pool, *, has_payload: bool) -> float | None:
    """Seconds until a pending row, at hand or to be fetched, may be tried; None if there is none."""
    due: float | None = await pool.fetchval(_NEXT_DUE, has_payload)
    return due


async def depth(pool: Pool) -> Depth:
    row = await pool.fetchrow(_DEPTH)
    assert row is not None
    return Depth(**row)


async def dead_letters(pool: Pool, after_id: int = 0, limit: int = 100) -> list[DeadLetter]:
    return [DeadLetter(**row) for row in await pool.fetch(_DEAD, after_id, limit)]


async def dead_letter(pool: Pool, which: str) -> DeadLetter:
    """By id or signature, with its payload. Raises NotFound."""
    row = await pool.fetchrow(_LETTER, which)
    if row is None:
        raise NotFound(f"There is no dead letter {which[:100]}.")
    return DeadLetter(**row)


async def replay(pool: Pool, which: str | None = None) -> int:
    """Try one dead letter (id or signature) or all again. Returns how many."""
    row = await pool.fetchrow(_REPLAY, which)
    assert row is not None
    revived: int = row["revived"]
    return revived


async def drop(pool: Pool, which: str | None = None) -> int:
    """Give one dead letter or all up; their rows stay, so that no scan brings them back. Returns how many."""
    status = await pool.execute(_DROP, which)
    return int(status.rpartition(" ")[2])


async def forget(connection: Connection, signatures: Sequence[Signature]) -> None:
    """Their transactions left the chain; should they return, they are new."""
    await connection.execute(_FORGET, list(signatures))


async def listen(pool: Pool, wake: Callable[[], None]) -> None:
    """Call `wake` whenever something was stored, and once at first; returns when the connection is lost."""
    lost = asyncio.Event()
    async with pool.acquire() as connection:
        connection.add_termination_listener(lambda *_: lost.set())
        await connection.add_listener(CHANNEL, lambda *_: wake())
        wake()
        try:
            await lost.wait()
        finally:
            connection.terminate()
