"""Tests that writers of the same rows of the inbox wait for each other and never end in a deadlock.

A deadlock delays one of them, and every client that follows the market, by a second.
"""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from kit.waiting import until
from zmart.store import deliveries, inbox
from zmart.store.deliveries import UnconfirmedDelivery
from zmart.store.inbox import FetchFailure, Hint, InboxFailure

FIRST, LAST = "a" * 64, "b" * 64
"""Two signatures in the order in which a delivery writes their rows; the rows are inserted in the opposite order."""


async def deliver(connection, _):
    await inbox.store(connection, "webhook", [Hint(FIRST, 7, b"{}"), Hint(LAST, 7, b"{}")])


async def answer(connection, ids):
    await inbox.unfetched(connection, [FetchFailure(id=row_id, error="not yet") for row_id in ids])


async def fail(connection, ids):
    await inbox.failed(connection, [InboxFailure(id=row_id, error="no place") for row_id in ids])


WRITERS = {
    "fetched": lambda c, ids: inbox.fetched(c, [(row_id, b"{}", 7) for row_id in ids]),
    "unfetched": answer,
    "absent": inbox.absent,
    "settled": inbox.settled,
    "not_ours": inbox.not_ours,
    "failed": fail,
    "defer": lambda c, ids: inbox.defer(c, ids, "the RPC is unavailable"),
    "forget": lambda c, _: inbox.forget(c, [LAST, FIRST]),
    "folded": lambda c, ids: deliveries.folded(c, dict.fromkeys(ids, (b"digest", 7))),
    "unproven": deliveries.unproven,
    "reported_not_ours": deliveries.reported_not_ours,
    "listed": lambda c, _: deliveries.listed(c, {LAST: 7, FIRST: 7}),
}


async def waiting_for_locks(connection):
    return await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted")


async def meet(database_url, lock_first, one, other):
    """Start two writers while the row that each of them takes first is locked, then release that row."""
    holder, first, second = [await asyncpg.connect(database_url) for _ in range(3)]
    try:
        holding = holder.transaction()
        await holding.start()
        await holder.execute(lock_first)
        tasks = []
        for number, work in enumerate((one(first), other(second)), 1):
            tasks.append(asyncio.create_task(work))

            async def queued(number=number):
                return await waiting_for_locks(holder) >= number

            await until(queued)
        await holding.rollback()
        async with asyncio.timeout(10):
            await asyncio.gather(*tasks)
    finally:
        for connection in (holder, first, second):
            await connection.close()


@pytest.mark.parametrize("writer", WRITERS)
async def test_a_delivery_and_whoever_writes_its_rows_end_without_a_deadlock(pool, database_url, writer):
    """U5: a delivery and every other writer of its rows end without a deadlock."""
    for signature in (LAST, FIRST):
        await inbox.store(pool, "logs", [Hint(signature, 7, None)])
    if writer in ("unproven", "reported_not_ours"):
        await pool.execute("UPDATE inbox SET payload = '{}', delivered = true")
    ids = [row["id"] for row in await pool.fetch("SELECT id FROM inbox ORDER BY id")]
    held = f"SELECT FROM inbox WHERE signature = '{FIRST}' FOR UPDATE"
    await meet(database_url, held, lambda c: deliver(c, ids), lambda c: WRITERS[writer](c, ids))


@pytest.mark.parametrize("writer", ["confirmed", "unanswered"])
async def test_a_listing_and_a_confirmation_end_without_a_deadlock(pool, database_url, writer):
    for slot, signature in ((7, FIRST), (8, LAST)):
        await pool.execute(
            "INSERT INTO chain_transactions (slot, signature, event_count, failed) VALUES ($1, $2, 0, false)",
            slot,
            signature,
        )
    for slot, signature in ((8, LAST), (7, FIRST)):
        await pool.execute(
            "INSERT INTO unconfirmed_transactions (slot, signature, digest, received_at) VALUES ($1, $2, 'd', now())",
            slot,
            signature,
        )
    rows = await pool.fetch("SELECT slot, signature, digest, received_at FROM unconfirmed_transactions")
    reported = [UnconfirmedDelivery(**row) for row in rows]
    assert [one.signature for one in reported] == [LAST, FIRST]
    write = {
        "confirmed": lambda c: deliveries.confirmed(c, reported),
        "unanswered": lambda c: deliveries.unanswered(c, [(one, "silent") for one in reported], 60.0),
    }[writer]
    held = f"SELECT FROM unconfirmed_transactions WHERE signature = '{FIRST}' FOR UPDATE"
    await meet(database_url, held, write, lambda c: deliveries.listed(c, {FIRST: 9, LAST: 9}))
