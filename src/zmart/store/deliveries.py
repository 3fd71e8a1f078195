"""Store webhook deliveries that were indexed before our own RPC confirmed them, and deliveries that were false."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from zmart.market.types import Signature, Slot
from zmart.store.clock_set_back import pause_is_over
from zmart.store.error_text import storable
from zmart.store.inbox import CHANNEL, LOCKED, LOCKED_BY_SIGNATURE, MAX_PAUSE_S
from zmart.store.pool import Connection, Pool

# Rows in the order of slots fill the pages of the index. `listed_slot` is the slot in the chain's own listing, if that
# differs from the slot that the webhook named.
_FOLDED = f"""
WITH {LOCKED}, gone AS (
    DELETE FROM inbox i USING locked l
    JOIN unnest($1::bigint[], $2::bytea[], $3::bigint[]) AS f (id, digest, slot) USING (id)
    WHERE i.id = l.id AND i.state = 'pending'
    RETURNING i.id, i.signature, i.received_at, i.listed, i.slot AS named_slot, f.digest, f.slot
), stored AS (
    INSERT INTO unconfirmed_transactions (slot, signature, digest, received_at, listed, listed_slot)
    SELECT slot, signature, digest, received_at, listed, CASE WHEN listed AND named_slot <> slot THEN named_slot END
    FROM gone ORDER BY slot
)
SELECT id FROM gone
"""
_UNPROVEN = f"""
WITH {LOCKED}, named AS (
    UPDATE inbox i SET payload = NULL, delivered = false
    FROM locked l WHERE i.id = l.id AND state = 'pending' AND delivered RETURNING 1
), woken AS (SELECT pg_notify('{CHANNEL}', '') FROM named LIMIT 1)
SELECT count(*) FROM woken
"""
# The transaction is fetched from the RPC if the chain's listing names it. If the listing names it later, the row that
# is absent becomes pending again.
_REPORTED_NOT_OURS = f"""
WITH {LOCKED}, reported AS (
    UPDATE inbox i SET payload = NULL, delivered = false, reported_not_ours = true,
        state = CASE WHEN listed THEN state ELSE 'absent' END, settled_at = CASE WHEN NOT listed THEN now() END
    FROM locked l WHERE i.id = l.id AND state = 'pending' AND delivered RETURNING listed
), woken AS (SELECT pg_notify('{CHANNEL}', '') FROM reported WHERE listed LIMIT 1)
SELECT count(*) FROM woken
"""
_NOTE_REPORTED_NOT_OURS = """
INSERT INTO false_deliveries (signature, differs, received_at)
SELECT signature, '{instructions}', received_at FROM inbox WHERE id = ANY($1::bigint[]) RETURNING signature
"""
_KEYS = "unnest($1::bigint[], $2::text[]) AS k (slot, signature)"
_CLAIM = f"""
UPDATE unconfirmed_transactions SET next_attempt_at = now() + make_interval(secs => $2)
WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM unconfirmed_transactions WHERE {pause_is_over("next_attempt_at", MAX_PAUSE_S)}
    ORDER BY slot LIMIT $1 FOR UPDATE SKIP LOCKED
)) RETURNING slot, signature, digest, received_at
"""
# Several rows are always locked in the same order, as in the inbox, so that two statements never deadlock.
_IN_ORDER = "ORDER BY u.slot, u.signature FOR UPDATE OF u"
_LOCKED = f"""locked AS MATERIALIZED (
    SELECT u.slot, u.signature FROM unconfirmed_transactions u JOIN {_KEYS} USING (slot, signature) {_IN_ORDER}
)"""
_RENEWED = f"""
WITH {_LOCKED}
UPDATE unconfirmed_transactions u SET next_attempt_at = now() + make_interval(secs => $3)
FROM locked l WHERE (u.slot, u.signature) = (l.slot, l.signature)
"""
_CONFIRMED = f"""
WITH {_LOCKED}
DELETE FROM unconfirmed_transactions u USING locked l WHERE (u.slot, u.signature) = (l.slot, l.signature)
"""
_UNANSWERED = f"""
WITH {_LOCKED} UPDATE unconfirmed_transactions u SET attempts = attempts + 1, last_error = k.error,
    next_attempt_at = now() + make_interval(secs => LEAST($4, 0.5 * 2 ^ LEAST(attempts, 20)))
FROM locked l JOIN unnest($1::bigint[], $2::text[], $3::text[]) AS k (slot, signature, error) USING (slot, signature)
WHERE (u.slot, u.signature) = (l.slot, l.signature)
"""
_WITHDRAW = "DELETE FROM unconfirmed_transactions WHERE (slot, signature) = ($1, $2) RETURNING listed"
# The slot in which our own RPC lists a transaction bounds the gap-free slot, whatever slot a webhook named. The inbox
# is updated first: if a worker moves a row to unconfirmed_transactions meanwhile, the row takes the new values along,
# or the second statement finds it there.
_LISTED = (
    f"""
WITH {LOCKED_BY_SIGNATURE} UPDATE inbox i SET listed = true, slot = h.slot
FROM locked l, unnest($1::text[], $2::bigint[]) AS h (signature, slot)
WHERE i.id = l.id AND i.signature = h.signature AND i.state IN ('pending', 'dead')
    AND (NOT i.listed OR i.slot IS DISTINCT FROM h.slot)
""",
    f"""
WITH locked AS MATERIALIZED (
    SELECT u.slot, u.signature, NULLIF(h.slot, u.slot) AS listed_slot
    FROM unnest($1::text[], $2::bigint[]) AS h (signature, slot) JOIN chain_transactions t USING (signature)
    JOIN unconfirmed_transactions u ON u.slot = t.slot AND u.signature = t.signature {_IN_ORDER}
)
UPDATE unconfirmed_transactions u SET listed = true, listed_slot = l.listed_slot
FROM locked l
WHERE u.slot = l.slot AND u.signature = l.signature
    AND (NOT u.listed OR u.listed_slot IS DISTINCT FROM l.listed_slot)
""",
)
_NOTE = "INSERT INTO false_deliveries (signature, differs, received_at) VALUES ($1, $2, $3)"
_RECENT = """
SELECT signature, differs, received_at, detected_at FROM false_deliveries
WHERE detected_at > now() - make_interval(secs => $1) ORDER BY detected_at DESC, id DESC LIMIT $2
"""
_COUNT_RECENT = "SELECT count(*) FROM false_deliveries WHERE detected_at > now() - make_interval(secs => $1)"
_PRUNE = "DELETE FROM false_deliveries WHERE detected_at < now() - make_interval(secs => $1)"
_WAITING = """
SELECT count(*) AS number, count(*) FILTER (WHERE listed) AS listed,
    extract(epoch FROM now() - min(received_at))::float8 AS oldest_s,
    extract(epoch FROM now() - min(received_at) FILTER (WHERE listed))::float8 AS oldest_listed_s,
    (SELECT last_error FROM unconfirmed_transactions WHERE last_error IS NOT NULL
     ORDER BY listed DESC, slot LIMIT 1) AS last_error
FROM unconfirmed_transactions
"""
_NEXT_DUE = "SELECT extract(epoch FROM min(next_attempt_at) - now())::float8 FROM unconfirmed_transactions"


class UnconfirmedDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook delivery that is indexed in `slot` and not confirmed by our own RPC yet. `digest` covers the content
    that the webhook delivered (chain/digest.py)."""

    slot: Slot
    signature: Signature
    digest: bytes
    received_at: datetime


class FalseDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook delivery whose content differed from the chain; `differs` names the parts that differed."""

    signature: Signature
    differs: list[str]
    received_at: datetime
    detected_at: datetime


class UnconfirmedBacklog(msgspec.Struct, frozen=True, kw_only=True):
    """The backlog of deliveries that our own RPC has not confirmed. `number`: how many there are; `oldest_s`: the age
    of the oldest in seconds, None if there is none.

    `listed` and `oldest_listed_s` count only deliveries that our RPC lists itself, so it should be able to return them.
    `last_error` is the error of one delivery, of a listed one if possible; None if no attempt has failed.
    """

    number: int
    listed: int
    oldest_s: float | None
    oldest_listed_s: float | None
    last_error: str | None


async def folded(connection: Connection, rows: Mapping[int, tuple[bytes, Slot]]) -> set[int]:
    """Move indexed deliveries from the inbox to the table of unconfirmed ones. `rows` maps the id of each inbox row to
    the delivery's digest and slot. Returns the ids of the rows that were still pending, and so were moved."""
    if not rows:
        return set()
    digests, slots = zip(*rows.values(), strict=True)
    return {row["id"] for row in await connection.fetch(_FOLDED, list(rows), list(digests), list(slots))}


async def unproven(connection: Connection, ids: Sequence[int]) -> None:
    """Discard delivered payloads that are incomplete, by ids of inbox rows. Their transactions are fetched from the RPC
    instead."""
    if ids:
        await connection.execute(_UNPROVEN, list(ids))


async def reported_not_ours(connection: Connection, ids: Sequence[int]) -> None:
    """Record that delivered payloads do not concern the program, by ids of inbox rows. Their transactions are fetched
    from the RPC only if the chain's listing names them."""
    if ids:
        await connection.execute(_REPORTED_NOT_OURS, list(ids))


async def claim(pool: Pool, limit: int, lease_s: float) -> list[UnconfirmedDelivery]:
    """Return up to `limit` deliveries to confirm. No other caller gets the same ones within `lease_s` seconds."""
    return [UnconfirmedDelivery(**row) for row in await pool.fetch(_CLAIM, limit, lease_s)]


async def renew(pool: Pool, taken: Sequence[UnconfirmedDelivery], lease_s: float) -> None:
    """Extend the lease of claimed deliveries to `lease_s` seconds from now, while they are still being confirmed."""
    await pool.execute(_RENEWED, *_keys(taken), lease_s)


async def confirmed(pool: Pool, matching: Sequence[UnconfirmedDelivery]) -> None:
    """Record that our own RPC returned the same content as these deliveries, so their transactions may become final."""
    if matching:
        await pool.execute(_CONFIRMED, *_keys(matching))


async def unanswered(
    pool: Pool, answers: Sequence[tuple[UnconfirmedDelivery, str]], longest_s: float
) -> None:
    """Record why the RPC could not confirm deliveries, as (delivery, error). Each is retried after a pause that doubles
    from 0.5 seconds up to `longest_s` seconds."""
    if answers:
        errors = [storable(error) for _, error in answers]
        await pool.execute(_UNANSWERED, *_keys([delivery for delivery, _ in answers]), errors, longest_s)


async def withdraw(connection: Connection, delivery: UnconfirmedDelivery) -> bool | None:
    """Delete a delivery that was false, and return whether the chain's own listing names its transaction. Returns None
    when the delivery was deleted already, as by another process."""
    is_listed: bool | None = await connection.fetchval(_WITHDRAW, delivery.slot, delivery.signature)
    return is_listed


def _keys(some: Sequence[UnconfirmedDelivery]) -> tuple[list[Slot], list[Signature]]:
    return [one.slot for one in some], [one.signature for one in some]


async def listed(pool: Pool, slots: Mapping[Signature, Slot]) -> None:
    """Record the slots in which our own RPC lists transactions, for their rows in the inbox and unconfirmed ones."""
    if slots:
        for statement in _LISTED:
            await pool.execute(statement, list(slots.keys()), list(slots.values()))


async def note(connection: Connection, delivery: UnconfirmedDelivery, differs: Sequence[str]) -> None:
    """Record that a delivery was false; `differs` names the parts that differ from the chain."""
    await connection.execute(_NOTE, delivery.signature, list(differs), delivery.received_at)


async def note_reported_not_ours(connection: Connection, ids: Sequence[int]) -> list[Signature]:
    """Record as false the deliveries that reported transactions of the program as not ours, by ids of inbox rows.
    Returns the signatures of the transactions."""
    return (
        [row["signature"] for row in await connection.fetch(_NOTE_REPORTED_NOT_OURS, list(ids))]
        if ids
        else []
    )


async def false_ones(pool: Pool, within_s: float, limit: int) -> tuple[int, list[FalseDelivery]]:
    """Return how many false deliveries were detected within the last `within_s` seconds. Also return up to `limit`
    of them, the newest first."""
    number: int = await pool.fetchval(_COUNT_RECENT, within_s)
    return number, [FalseDelivery(**row) for row in await pool.fetch(_RECENT, within_s, limit)]


async def prune(pool: Pool, older_than_s: float) -> None:
    """Delete the records of false deliveries that were detected more than `older_than_s` seconds ago."""
    await pool.execute(_PRUNE, older_than_s)


async def waiting(pool: Pool) -> UnconfirmedBacklog:
    """Return the numbers of deliveries that wait for confirmation, and the ages of the oldest."""
    row = await pool.fetchrow(_WAITING)
    assert row is not None
    return UnconfirmedBacklog(**row)


async def next_due_s(pool: Pool) -> float | None:
    """Return the seconds until the next delivery is due for confirmation; negative if overdue, None if none waits."""
    due: float | None = await pool.fetchval(_NEXT_DUE)
    return due
