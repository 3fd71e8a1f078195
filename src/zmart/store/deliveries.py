"""Deliveries that were folded before our own RPC had shown the same, and those that turned out to be false."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from zmart.market.types import Signature, Slot
from zmart.store.inbox import CHANNEL, LOCKED, LOCKED_BY_SIGNATURE
from zmart.store.pool import Connection, Pool

# The order of the slots fills the pages of their index. Where the chain's listing is known already, its slot counts.
_FOLDED = f"""
WITH {LOCKED}, gone AS (
    DELETE FROM inbox i USING locked l
    JOIN unnest($1::bigint[], $2::bytea[], $3::bigint[]) AS f (id, digest, slot) USING (id)
    WHERE i.id = l.id AND i.state = 'pending'
    RETURNING i.id, i.signature, i.received_at, i.listed, i.slot AS named_slot, f.digest, f.slot
), kept AS (
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
# Where the listing names it already the RPC is asked, else once the listing does: then an absent row is revived.
_SAID_FOREIGN = f"""
WITH {LOCKED}, said AS (
    UPDATE inbox i SET payload = NULL, delivered = false, reported_not_ours = true,
        state = CASE WHEN listed THEN state ELSE 'absent' END, settled_at = CASE WHEN NOT listed THEN now() END
    FROM locked l WHERE i.id = l.id AND state = 'pending' AND delivered RETURNING listed
), woken AS (SELECT pg_notify('{CHANNEL}', '') FROM said WHERE listed LIMIT 1)
SELECT count(*) FROM woken
"""
_NOTE_FOREIGN = """
INSERT INTO false_deliveries (signature, differs, received_at)
SELECT signature, '{instructions}', received_at FROM inbox WHERE id = ANY($1::bigint[]) RETURNING signature
"""
_KEYS = "unnest($1::bigint[], $2::text[]) AS k (slot, signature)"
_TAKE = """
UPDATE unconfirmed_transactions SET next_attempt_at = now() + make_interval(secs => $2)
WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM unconfirmed_transactions WHERE next_attempt_at <= now()
    ORDER BY slot LIMIT $1 FOR UPDATE SKIP LOCKED
)) RETURNING slot, signature, digest, received_at
"""
# As in the inbox, several rows are locked in one order.
_IN_ORDER = "ORDER BY u.slot, u.signature FOR UPDATE OF u"
_LOCKED = f"""locked AS MATERIALIZED (
    SELECT u.slot, u.signature FROM unconfirmed_transactions u JOIN {_KEYS} USING (slot, signature) {_IN_ORDER}
)"""
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
_WITHDRAW = "DELETE FROM unconfirmed_transactions WHERE (slot, signature) = ($1, $2) RETURNING true"
# What our own RPC lists holds the gap-free slot there, whatever slot a webhook named. The inbox comes first: a worker
# that folds a row meanwhile takes along what is written here, or is seen by the second statement.
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
SELECT count(*) AS number, extract(epoch FROM now() - min(received_at))::float8 AS oldest_s,
    extract(epoch FROM now() - min(received_at) FILTER (WHERE listed))::float8 AS oldest_listed_s,
    (SELECT last_error FROM unconfirmed_transactions WHERE last_error IS NOT NULL ORDER BY slot LIMIT 1) AS last_error
FROM unconfirmed_transactions
"""
_NEXT_DUE = "SELECT extract(epoch FROM min(next_attempt_at) - now())::float8 FROM unconfirmed_transactions"


class Unconfirmed(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that is folded in `slot`; `digest` is what it said (chain/digest.py)."""

    slot: Slot
    signature: Signature
    digest: bytes
    received_at: datetime


class FalseDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that said something else than the chain, and in what."""

    signature: Signature
    differs: list[str]
    received_at: datetime
    detected_at: datetime


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


async def reported_not_ours(connection: Connection, ids: Sequence[int]) -> None:
    """What was delivered has nothing to do with the program. If the transaction has, the chain's listing names it;
    until then nobody asks for it."""
    if ids:
        await connection.execute(_SAID_FOREIGN, list(ids))


async def take(pool: Pool, limit: int, lease_s: float) -> list[Unconfirmed]:
    """The next deliveries to confirm; nobody else takes them before the lease ends."""
    return [Unconfirmed(**row) for row in await pool.fetch(_TAKE, limit, lease_s)]


async def confirmed(pool: Pool, shown: Sequence[Unconfirmed]) -> None:
    """Our RPC has shown the same: they may become final."""
    if shown:
        await pool.execute(_CONFIRMED, *_keys(shown))


async def unanswered(pool: Pool, answers: Sequence[tuple[Unconfirmed, str]], longest_s: float) -> None:
    """The RPC could not say, and why; ask again at growing intervals up to `longest_s`, for ever."""
    if answers:
        texts = [text[:2000].replace("\0", "") for _, text in answers]
        await pool.execute(_UNANSWERED, *_keys([delivery for delivery, _ in answers]), texts, longest_s)


async def withdraw(connection: Connection, delivery: Unconfirmed) -> bool:
    """It was false. False: somebody was faster."""
    return bool(await connection.fetchval(_WITHDRAW, delivery.slot, delivery.signature))


def _keys(some: Sequence[Unconfirmed]) -> tuple[list[Slot], list[Signature]]:
    return [one.slot for one in some], [one.signature for one in some]


async def listed(pool: Pool, places: Mapping[Signature, Slot]) -> None:
    """Our RPC lists these transactions in these slots."""
    if places:
        for statement in _LISTED:
            await pool.execute(statement, list(places.keys()), list(places.values()))


async def note(connection: Connection, delivery: Unconfirmed, differs: Sequence[str]) -> None:
    """Write down that a delivery was false."""
    await connection.execute(_NOTE, delivery.signature, list(differs), delivery.received_at)


async def note_reported_not_ours(connection: Connection, ids: Sequence[int]) -> list[Signature]:
    """Write down that what was told to be foreign, in these rows of the inbox, is not. Returns their signatures."""
    return [row["signature"] for row in await connection.fetch(_NOTE_FOREIGN, list(ids))] if ids else []


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
