"""Deliveries that were folded before our own RPC had shown the same: rows of the inbox in the state 'unconfirmed'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from zmart.market.types import Signature, Slot
from zmart.store.inbox import CHANNEL
from zmart.store.pool import Connection, Pool

_ASKED, _ASKED_LONG = 3, 12
_FOLDED = """
UPDATE inbox i SET state = 'unconfirmed', payload = NULL, digest = f.digest, slot = LEAST(i.slot, f.slot),
    attempts = 0, last_error = NULL, next_attempt_at = now()
FROM unnest($1::bigint[], $2::bytea[], $3::bigint[]) AS f (id, digest, slot)
WHERE i.id = f.id AND i.state = 'pending' RETURNING i.id
"""
_UNPROVEN = f"""
WITH named AS (
    UPDATE inbox SET payload = NULL, delivered = false
    WHERE id = ANY($1::bigint[]) AND state = 'pending' AND delivered RETURNING 1
), woken AS (SELECT pg_notify('{CHANNEL}', '') FROM named LIMIT 1)
SELECT count(*) FROM woken
"""
_TAKE = """
UPDATE inbox SET next_attempt_at = now() + make_interval(secs => $2)
WHERE id IN (
    SELECT id FROM inbox WHERE state = 'unconfirmed' AND next_attempt_at <= now()
    ORDER BY slot, id LIMIT $1 FOR UPDATE SKIP LOCKED
) RETURNING id, signature, slot, digest, received_at
"""
_CONFIRMED = "DELETE FROM inbox WHERE id = ANY($1::bigint[]) AND state = 'unconfirmed'"
_FOREIGN = """
UPDATE inbox SET state = 'done', digest = NULL, last_error = NULL, settled_at = now()
WHERE id = ANY($1::bigint[]) AND state = 'unconfirmed'
"""
# The RPC does not know it, and has listed the chain past its slot without it. Where it left events, finality takes
# them back with it. Should it be listed one day, it is new.
_FORGET_UNKNOWN = f"""
UPDATE inbox i SET state = 'absent', digest = NULL, delivered = false, settled_at = now() FROM index_progress p
WHERE i.state = 'unconfirmed' AND i.attempts >= {_ASKED} AND NOT i.listed
    AND (i.slot <= p.listed_through_slot OR i.attempts >= {_ASKED_LONG})
    AND NOT EXISTS (SELECT FROM chain_transactions t WHERE t.signature = i.signature)
"""
_UNANSWERED = """
UPDATE inbox i SET attempts = attempts + 1, last_error = f.error,
    next_attempt_at = now() + make_interval(secs => LEAST($3, 0.5 * 2 ^ LEAST(attempts, 20)))
FROM unnest($1::bigint[], $2::text[]) AS f (id, error) WHERE i.id = f.id AND i.state = 'unconfirmed'
"""
_REPLACE = f"""
WITH replaced AS (
    UPDATE inbox SET state = 'pending', payload = $2, delivered = false, digest = NULL, slot = $3, attempts = 0,
        last_error = NULL, next_attempt_at = now()
    WHERE id = $1 AND state = 'unconfirmed' RETURNING 1
), woken AS (SELECT pg_notify('{CHANNEL}', '') FROM replaced)
SELECT count(*) FROM woken
"""
# What our own RPC lists holds the gap-free slot there, whatever slot a webhook named.
_LISTED = """
UPDATE inbox i SET listed = true, slot = h.slot FROM unnest($1::text[], $2::bigint[]) AS h (signature, slot)
WHERE i.signature = h.signature AND i.state IN ('pending', 'unconfirmed', 'dead')
    AND (NOT i.listed OR i.slot IS DISTINCT FROM h.slot)
"""
_NOTE = "INSERT INTO false_deliveries (signature, differs, received_at) VALUES ($1, $2, $3)"
_RECENT = """
SELECT signature, differs, received_at, found_at FROM false_deliveries
WHERE found_at > now() - make_interval(secs => $1) ORDER BY found_at DESC, id DESC LIMIT $2
"""
_COUNT_RECENT = "SELECT count(*) FROM false_deliveries WHERE found_at > now() - make_interval(secs => $1)"
_PRUNE = "DELETE FROM false_deliveries WHERE found_at < now() - make_interval(secs => $1)"
_WAITING = """
SELECT count(*) AS number, extract(epoch FROM now() - min(received_at))::float8 AS oldest_s,
    extract(epoch FROM now() - min(received_at) FILTER (WHERE listed))::float8 AS oldest_listed_s,
    (SELECT last_error FROM inbox WHERE state = 'unconfirmed' AND last_error IS NOT NULL ORDER BY slot, id LIMIT 1)
        AS last_error
FROM inbox WHERE state = 'unconfirmed'
"""
_NEXT_DUE = """
SELECT extract(epoch FROM min(next_attempt_at) - now())::float8 FROM inbox WHERE state = 'unconfirmed'
"""


class Unconfirmed(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that is folded; `digest` is what it said (chain/digest.py), `slot` where it is held to be."""

    id: int
    signature: Signature
    slot: Slot
    digest: bytes
    received_at: datetime


class FalseDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that said something else than the chain, and in what."""

    signature: Signature
    differs: list[str]
    received_at: datetime
    found_at: datetime


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """How many deliveries our RPC has not confirmed, and for how long (None: there is none). `oldest_listed_s` is of
    those that our RPC itself lists, so it should be able to show them."""

    number: int
    oldest_s: float | None
    oldest_listed_s: float | None
    last_error: str | None


async def folded(connection: Connection, rows: Mapping[int, tuple[bytes, Slot]]) -> set[int]:
    """Deliveries (by row id: digest and slot) that are folded now and have to be confirmed. Returns those whose row
    was still to do."""
    if not rows:
        return set()
    digests, slots = zip(*rows.values(), strict=True)
    return {row["id"] for row in await connection.fetch(_FOLDED, list(rows), list(digests), list(slots))}


async def unproven(connection: Connection, ids: Sequence[int]) -> None:
    """What was delivered shows nothing that could be folded: it names a transaction, and the RPC is asked for it."""
    if ids:
        await connection.execute(_UNPROVEN, list(ids))


async def take(pool: Pool, limit: int, lease_s: float) -> list[Unconfirmed]:
    """The next deliveries to confirm; nobody else takes them before the lease ends."""
    return [Unconfirmed(**row) for row in await pool.fetch(_TAKE, limit, lease_s)]


async def confirmed(pool: Pool, ids: Sequence[int]) -> None:
    """Our RPC has shown the same: they may become final."""
    if ids:
        await pool.execute(_CONFIRMED, list(ids))


async def foreign(pool: Pool, ids: Sequence[int]) -> None:
    """Our RPC shows, too, that they have nothing to do with the program; the rows stay a while, as in inbox.foreign."""
    if ids:
        await pool.execute(_FOREIGN, list(ids))


async def forget_unknown(pool: Pool) -> int:
    """Forget deliveries of transactions that the chain does not have and that left no events. Returns how many."""
    status = await pool.execute(_FORGET_UNKNOWN)
    return int(status.rpartition(" ")[2])


async def unanswered(pool: Pool, errors: Mapping[int, str], longest_s: float) -> None:
    """The RPC could not say; ask again at growing intervals up to `longest_s`, for ever."""
    if errors:
        texts = [text[:2000].replace("\0", "") for text in errors.values()]
        await pool.execute(_UNANSWERED, list(errors), texts, longest_s)


async def replace(connection: Connection, row_id: int, raw: bytes, slot: Slot) -> bool:
    """The RPC's transaction takes the place of what was delivered, and is to be folded. False: somebody was faster."""
    return bool(await connection.fetchval(_REPLACE, row_id, raw, slot))


async def listed(pool: Pool, places: Mapping[Signature, Slot]) -> None:
    """Our RPC lists these transactions in these slots."""
    if places:
        await pool.execute(_LISTED, list(places.keys()), list(places.values()))


async def note(connection: Connection, delivery: Unconfirmed, differs: Sequence[str]) -> None:
    """Write down that a delivery was false."""
    await connection.execute(_NOTE, delivery.signature, list(differs), delivery.received_at)


async def false_ones(pool: Pool, within_s: float, limit: int) -> tuple[int, list[FalseDelivery]]:
    """How many were found within so many seconds, and the newest of them."""
    number: int = await pool.fetchval(_COUNT_RECENT, within_s)
    return number, [FalseDelivery(**row) for row in await pool.fetch(_RECENT, within_s, limit)]


async def prune(pool: Pool, older_than_s: float) -> None:
    """Forget false deliveries that were found so long ago."""
    await pool.execute(_PRUNE, older_than_s)


async def waiting(pool: Pool) -> Waiting:
    row = await pool.fetchrow(_WAITING)
    assert row is not None
    return Waiting(**row)


async def next_due_s(pool: Pool) -> float | None:
    """Seconds until one may be tried; None if there is none."""
    due: float | None = await pool.fetchval(_NEXT_DUE)
    return due
