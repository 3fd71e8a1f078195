"""Store the inbox: a row for each transaction that a webhook, a subscription or a scan named and that is not indexed.

Workers index the rows that hold their transaction's JSON, the payload. The payloads of all others are fetched by RPC.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from zmart.market.types import Signature, Slot
from zmart.store.clock_set_back import pause_is_over
from zmart.store.error_text import storable
from zmart.store.listening import check_until_closed
from zmart.store.pool import Connection, Pool, fetch_existing

CHANNEL = "zmart_inbox"
UNAVAILABLE_PAUSE_S, MAX_PAUSE_S = 5, 60
"""The longest pauses between two attempts in seconds: while the RPC is unavailable, and otherwise. The number of
attempts is not limited."""
Source = Literal["webhook", "logs", "scan"]

# Statements that write several rows lock them in the order of their signatures, as `_STORE` does, so that two such
# statements never deadlock. PostgreSQL resolves a deadlock only after a second.
_LOCKED = "locked AS MATERIALIZED (SELECT id FROM inbox WHERE {} ORDER BY signature FOR UPDATE)"
LOCKED = _LOCKED.format("id = ANY($1::bigint[])")
LOCKED_BY_SIGNATURE = _LOCKED.format("signature = ANY($1::text[])")
# A row that gets its payload is ready at once, even if it is leased for a fetch. The chain's listing overrides what a
# hint said, and makes pending again a hint that was abandoned or did not seem to concern the program.
_STORE = f"""
WITH hints AS (
    SELECT * FROM unnest($2::text[], $3::bigint[], $4::bytea[]) AS h (signature, slot, payload) ORDER BY signature
), stored AS (
    INSERT INTO inbox AS old (source, signature, slot, payload, delivered, listed)
    SELECT $1, h.signature, h.slot, h.payload, $1 = 'webhook' AND h.payload IS NOT NULL, $6 FROM hints h
    WHERE h.signature <> ALL (ARRAY(SELECT signature FROM chain_transactions WHERE signature = ANY ($2::text[])))
    ON CONFLICT (signature) DO UPDATE
    SET payload = COALESCE(old.payload, excluded.payload),
        delivered = CASE WHEN old.payload IS NULL THEN excluded.delivered ELSE old.delivered END,
        slot = CASE WHEN excluded.listed THEN COALESCE(excluded.slot, old.slot)
            ELSE COALESCE(old.slot, excluded.slot) END,
        listed = old.listed OR excluded.listed,
        state = CASE WHEN old.state IN ('absent', 'done') THEN 'pending' ELSE old.state END,
        settled_at = CASE WHEN old.state IN ('absent', 'done') THEN NULL ELSE old.settled_at END,
        unknown_since_slot = NULL,
        next_attempt_at = CASE WHEN old.state IN ('absent', 'done') OR old.unknown_since_slot IS NOT NULL
            OR old.payload IS NULL AND excluded.payload IS NOT NULL THEN now() ELSE old.next_attempt_at END
    WHERE old.state IN ('pending', 'absent') AND old.payload IS NULL AND excluded.payload IS NOT NULL
        OR old.state = 'pending' AND old.slot IS NULL AND excluded.slot IS NOT NULL
        OR old.state IN ('pending', 'dead', 'absent', 'done') AND excluded.listed AND NOT old.listed
    RETURNING (xmax = 0) AS fresh
), woken AS (SELECT pg_notify('{CHANNEL}', '') FROM stored WHERE $5 LIMIT 1)
SELECT (SELECT count(*) FROM stored WHERE fresh) AS fresh, (SELECT count(*) FROM stored) AS changed,
    (SELECT count(*) FROM woken) AS woken
"""
_WAKE = f"SELECT pg_notify('{CHANNEL}', '')"
_UNKNOWN = """
SELECT h.signature FROM unnest($1::text[]) AS h (signature)
WHERE NOT EXISTS (SELECT FROM inbox i WHERE i.signature = h.signature AND (i.listed OR i.state = 'dropped'))
    AND NOT EXISTS (SELECT FROM chain_transactions t WHERE t.signature = h.signature)
"""
_IS_DUE = pause_is_over("next_attempt_at", MAX_PAUSE_S)
# A batch is limited by its number of rows and by its bytes: a payload may have megabytes.
_READY = f"""
WITH next AS (
    SELECT id, octet_length(payload) AS size, row_number() OVER (ORDER BY slot, id) AS number FROM inbox
    WHERE state = 'pending' AND payload IS NOT NULL AND {_IS_DUE} AND NOT (id = ANY($3::bigint[]))
    ORDER BY slot, id LIMIT $1
)
SELECT id, signature, slot, payload, attempts, extract(epoch FROM now() - received_at)::float8, delivered, listed,
    reported_not_ours
FROM inbox WHERE id = ANY (ARRAY(
    SELECT id FROM (SELECT id, sum(size) OVER (ORDER BY number) - size AS before FROM next) f WHERE before < $2))
ORDER BY slot, id
"""
_TO_FETCH = f"""
UPDATE inbox SET next_attempt_at = now() + make_interval(secs => $2)
WHERE id IN (
    SELECT id FROM inbox WHERE state = 'pending' AND payload IS NULL AND {_IS_DUE}
    ORDER BY slot, id LIMIT $1 FOR UPDATE SKIP LOCKED
) RETURNING id, signature, slot, listed, unknown_since_slot
"""
_RENEWED = f"""
WITH {LOCKED}
UPDATE inbox i SET next_attempt_at = now() + make_interval(secs => $2) FROM locked l
WHERE i.id = l.id AND i.state = 'pending' AND i.payload IS NULL
"""
_FETCHED = f"""
WITH {LOCKED}, filled AS (
    UPDATE inbox i SET payload = f.payload, delivered = false, slot = f.slot, unknown_since_slot = NULL,
        next_attempt_at = now()
    FROM locked l JOIN unnest($1::bigint[], $2::bytea[], $3::bigint[]) AS f (id, payload, slot) USING (id)
    WHERE i.id = l.id AND i.state = 'pending' RETURNING 1
), woken AS (SELECT pg_notify('{CHANNEL}', '') FROM filled LIMIT 1)
SELECT count(*) FROM woken
"""
_SETTLED = f"""
WITH {LOCKED} DELETE FROM inbox i USING locked l WHERE i.id = l.id AND i.state = 'pending' RETURNING i.id
"""
_NOT_OURS = f"""
WITH {LOCKED} UPDATE inbox i SET state = 'done', payload = NULL, last_error = NULL, settled_at = now()
FROM locked l WHERE i.id = l.id AND i.state = 'pending'
"""
_PRUNE = """
DELETE FROM inbox WHERE id IN (
    SELECT id FROM inbox WHERE state IN ('done', 'absent') AND settled_at < now() - make_interval(secs => $1) LIMIT $2
    FOR UPDATE SKIP LOCKED)
"""
# The first pause is short: a node announces a transaction some moments before it returns it.
_PAUSE = "make_interval(secs => LEAST({}, 0.05 * 2 ^ LEAST(attempts, 11)))"
_FAILED = f"""
WITH {LOCKED}, failed AS (
    UPDATE inbox i SET attempts = attempts + 1, last_error = f.error,
        payload = CASE WHEN f.refetch THEN NULL ELSE payload END, delivered = delivered AND NOT f.refetch,
        state = CASE WHEN f.permanent THEN 'dead' ELSE 'pending' END,
        settled_at = CASE WHEN f.permanent THEN now() END,
        next_attempt_at = now() + {_PAUSE.format("f.most_s")}
    FROM locked l
    JOIN unnest($1::bigint[], $2::text[], $3::boolean[], $4::boolean[], $5::integer[])
        AS f (id, error, refetch, permanent, most_s) USING (id)
    WHERE i.id = l.id AND i.state = 'pending'
    RETURNING i.signature, i.state, f.refetch
), woken AS (SELECT pg_notify('{CHANNEL}', '') FROM failed WHERE refetch LIMIT 1)
SELECT signature, state, (SELECT count(*) FROM woken) AS woken FROM failed
"""
# Only rows without a payload are updated: a delivery may have filled a row meanwhile.
_UNFETCHED = f"""
WITH {LOCKED} UPDATE inbox i SET attempts = attempts + 1, last_error = f.error,
    unknown_since_slot = COALESCE(unknown_since_slot, f.unknown_at),
    next_attempt_at = now() + {_PAUSE.format("f.most_s")}
FROM locked l JOIN unnest($1::bigint[], $2::text[], $3::integer[], $4::bigint[]) AS f (id, error, most_s, unknown_at)
    USING (id)
WHERE i.id = l.id AND i.state = 'pending' AND i.payload IS NULL
"""
_ABSENT = f"""
WITH {LOCKED} UPDATE inbox i SET state = 'absent', settled_at = now()
FROM locked l WHERE i.id = l.id AND state = 'pending' AND payload IS NULL AND NOT listed
"""
_DEFER = f"""
WITH {LOCKED} UPDATE inbox i SET attempts = attempts + 1, last_error = $2,
    next_attempt_at = now() + {_PAUSE.format(UNAVAILABLE_PAUSE_S)}
FROM locked l WHERE i.id = l.id AND state = 'pending'
"""
_NEXT_DUE = """
SELECT extract(epoch FROM min(next_attempt_at) - now())::float8 FROM inbox
WHERE state = 'pending' AND (payload IS NOT NULL) = $1
"""
_FORGET = f"""
WITH {LOCKED_BY_SIGNATURE} DELETE FROM inbox i USING locked l WHERE i.id = l.id
"""


class Hint(msgspec.Struct, frozen=True):
    """A transaction that a source named. `slot` is None if the source does not tell it. `payload` is the transaction's
    JSON if the source delivered it, otherwise None."""

    signature: Signature
    slot: Slot | None
    payload: bytes | None


class ReadyTransaction(msgspec.Struct, frozen=True):
    """A row whose `payload`, the transaction's JSON, is ready to be indexed. `age_s`: seconds since the hint was
    received. `delivered`: the payload came from a webhook. `listed`: the chain's own listing names the transaction.
    `reported_not_ours`: an earlier delivery of the transaction did not concern the program."""

    id: int
    signature: Signature
    slot: Slot | None
    payload: bytes
    attempts: int
    age_s: float
    delivered: bool = False
    listed: bool = False
    reported_not_ours: bool = False


class FetchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A row whose transaction has to be fetched. `slot` comes from the chain's own listing if `listed` is set,
    otherwise from a hint. `unknown_since_slot`: the slot of an RPC node when a node first answered that it does not
    know the transaction; None if none has."""

    id: int
    signature: Signature
    slot: Slot | None
    listed: bool = False
    unknown_since_slot: Slot | None = None


class StoreResult(msgspec.Struct, frozen=True):
    """The result of storing hints. `fresh`: how many rows were inserted. `changed`: how many were inserted or
    completed; if there are any, the workers have to be woken."""

    fresh: int
    changed: int


class FetchFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A row whose transaction could not be fetched, and the error. The fetch is retried after pauses that grow up to
    `most_s` seconds. `unknown_at`: the slot of the RPC node when it answered that it does not know the transaction;
    None for any other error."""

    id: int
    error: str
    most_s: int = MAX_PAUSE_S
    unknown_at: Slot | None = None


class InboxFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A row that could not be indexed, and the error. `refetch`: discard the payload and fetch the transaction from the
    RPC. `permanent`: no attempt of this version can succeed, so the row becomes a dead letter; otherwise the row is
    retried, after at most `most_s` seconds."""

    id: int
    error: str
    refetch: bool = False
    permanent: bool = False
    most_s: int = MAX_PAUSE_S


async def store(
    pool: Pool | Connection, source: Source, hints: Sequence[Hint], *, wake_workers: bool = True
) -> StoreResult:
    """Store hints in one round trip, and wake the workers if a row was inserted or completed. Hints of a scan count as
    listed by the chain, in the slots that they name. Transactions that are indexed already are left out.

    PostgreSQL serializes commits that notify. A caller whose own response must not wait for this passes
    `wake_workers=False` and calls `wake` afterwards.
    """
    unique = {hint.signature: hint for hint in sorted(hints, key=lambda hint: hint.payload is not None)}
    if not unique:
        return StoreResult(0, 0)
    rows = list(unique.values())
    row = await fetch_existing(
        pool,
        _STORE,
        source,
        [hint.signature for hint in rows],
        [hint.slot for hint in rows],
        [hint.payload for hint in rows],
        wake_workers,
        source == "scan",
    )
    return StoreResult(row["fresh"], row["changed"])


async def wake(pool: Pool) -> None:
    """Wake the workers. A worker that misses the notification checks the inbox some seconds later."""
    await pool.execute(_WAKE)


async def unknown(pool: Pool, signatures: Sequence[Signature]) -> set[Signature]:
    """Return those of `signatures` that a scan has to store. These are not indexed, and the inbox does not hold them
    as listed by the chain or as dropped."""
    return {row["signature"] for row in await pool.fetch(_UNKNOWN, list(signatures))}


async def ready(
    connection: Connection | Pool, limit: int, most_bytes: int = 8_000_000, without: Sequence[int] = ()
) -> list[ReadyTransaction]:
    """Return up to `limit` rows to index, in the order of their slots, except the row ids in `without`. The payloads
    have about `most_bytes` bytes together: the row that reaches this limit is the last."""
    rows = await connection.fetch(_READY, limit, most_bytes, list(without))
    return [ReadyTransaction(*row) for row in rows]


async def claim_fetches(pool: Pool, limit: int, lease_s: float) -> list[FetchRequest]:
    """Return up to `limit` rows whose transactions have to be fetched, those of the lowest slots. No other caller gets
    the same rows within `lease_s` seconds."""
    return [FetchRequest(**row) for row in await pool.fetch(_TO_FETCH, limit, lease_s)]


async def renew_fetches(pool: Pool, ids: Sequence[int], lease_s: float) -> None:
    """Extend the lease of claimed rows to `lease_s` seconds from now, while they are still being fetched."""
    await pool.execute(_RENEWED, list(ids), lease_s)


async def fetched(pool: Pool, transactions: Sequence[tuple[int, bytes, Slot]]) -> None:
    """Store fetched transactions, as (row id, JSON, slot), in their pending rows, and wake the workers."""
    if transactions:
        ids, payloads, slots = zip(*transactions, strict=True)
        await pool.execute(_FETCHED, list(ids), list(payloads), list(slots))


async def settled(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Delete the pending rows among `ids`, whose transactions are indexed now. Returns the ids of the deleted rows."""
    return {row["id"] for row in await connection.fetch(_SETTLED, list(ids))} if ids else set()


async def not_ours(connection: Connection, ids: Sequence[int]) -> None:
    """Mark rows whose transactions do not concern the program as done. The rows stay until `prune`, so that no scan
    adds them again at once."""
    if ids:
        await connection.execute(_NOT_OURS, list(ids))


async def prune(pool: Pool, older_than_s: float, limit: int = 10_000) -> int:
    """Delete up to `limit` rows that became done or absent more than `older_than_s` seconds ago. Returns how many were
    deleted."""
    status = await pool.execute(_PRUNE, older_than_s, limit)
    return int(status.rpartition(" ")[2])


async def failed(connection: Connection | Pool, failures: Sequence[InboxFailure]) -> list[Signature]:
    """Record failures to index rows. The rows are retried after growing pauses, without limit; rows with a permanent
    failure become dead letters. Returns the signatures of the new dead letters."""
    if not failures:
        return []
    rows = await connection.fetch(
        _FAILED,
        [failure.id for failure in failures],
        [storable(failure.error) for failure in failures],
        [failure.refetch for failure in failures],
        [failure.permanent for failure in failures],
        [failure.most_s for failure in failures],
    )
    return [row["signature"] for row in rows if row["state"] == "dead"]


async def unfetched(pool: Pool, outcomes: Sequence[FetchFailure]) -> None:
    """Record failures to fetch transactions. The fetches are retried after growing pauses, without limit."""
    if outcomes:
        await pool.execute(
            _UNFETCHED,
            [outcome.id for outcome in outcomes],
            [storable(outcome.error) for outcome in outcomes],
            [outcome.most_s for outcome in outcomes],
            [outcome.unknown_at for outcome in outcomes],
        )


async def absent(pool: Pool, ids: Sequence[int]) -> int:
    """Mark rows as absent whose transactions no RPC endpoint has, and return how many were marked. Rows that the
    chain's listing names, or for which a webhook delivered a payload meanwhile, are not marked. Absent rows stay
    until `prune`, so that a repeated hint is not examined again."""
    if not ids:
        return 0
    status = await pool.execute(_ABSENT, list(ids))
    return int(status.rpartition(" ")[2])


async def defer(pool: Pool, ids: Sequence[int], error: str) -> None:
    """Postpone rows that cannot be indexed for an external reason, such as an RPC that is unavailable. They are retried
    after pauses that grow up to UNAVAILABLE_PAUSE_S."""
    if ids:
        await pool.execute(_DEFER, list(ids), storable(error))


async def next_due_s(pool: Pool, *, has_payload: bool) -> float | None:
    """Return the seconds until the next pending row is due; negative if it is overdue. Only rows with a payload are
    considered, or only rows without one. Returns None if there is no such row."""
    due: float | None = await pool.fetchval(_NEXT_DUE, has_payload)
    return due


async def forget(connection: Connection | Pool, signatures: Sequence[Signature]) -> None:
    """Delete the rows of transactions that left the chain. A later hint of such a transaction counts as new."""
    await connection.execute(_FORGET, list(signatures))


async def listen(pool: Pool, wake: Callable[[], None]) -> None:
    """Listen on CHANNEL: call `wake` once at the beginning and after every notification. Returns when the connection is
    lost."""
    async with pool.acquire() as connection:
        await connection.add_listener(CHANNEL, lambda *_: wake())
        wake()
        try:
            await check_until_closed(connection)
        finally:
            connection.terminate()
