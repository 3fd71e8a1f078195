"""U5: tests that a row of the inbox that becomes ready, in whatever way, wakes those who work on it."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from kit.chain_story import Story
from kit.indexer import (
    engine_on,
    settings_of,
)
from kit.story_node import serving
from kit.waiting import until
from zmart.services.indexer.reread import reread
from zmart.services.indexer.routes import webhook_app
from zmart.services.indexer.wake_signal import WakeSignal
from zmart.services.webhook import PATH, WebhookReceiver
from zmart.store import dead_letters, inbox
from zmart.store.retrying import Outages

STORY = Story(2, markets=1, trades=3)
TX = STORY.txs[0]
NAMED, CLAIMED = inbox.Hint(TX.signature, TX.slot, None), inbox.Hint(TX.signature, None, None)
WHOLE = inbox.Hint(TX.signature, TX.slot, TX.raw())


async def wakes_of(pool, act):
    """Return how often `act` wakes those who work on the inbox."""
    woken = asyncio.Event()
    async with pool.acquire() as connection:
        received = []

        def wake(*_):
            received.append(1)
            woken.set()

        await connection.add_listener(inbox.CHANNEL, wake)
        await act()
        await pool.execute("SELECT pg_notify($1, '')", inbox.CHANNEL)  # a last notification ends the wait
        await asyncio.wait_for(woken.wait(), 10)
        await connection.execute("SELECT 1")
        await connection.remove_listener(inbox.CHANNEL, wake)
    return len(received) - 1


async def row_id(pool):
    return await pool.fetchval("SELECT id FROM inbox")


async def leased(pool):
    """Store a row that the log named and that the fetcher has taken, as is usual when its webhook comes."""
    await inbox.store(pool, "logs", [CLAIMED])
    await inbox.claim_fetches(pool, 1, lease_s=60)


async def delivered_broken(pool):
    await inbox.store(pool, "webhook", [inbox.Hint(TX.signature, TX.slot, b"{}")])


async def dead(pool):
    await inbox.store(pool, "webhook", [WHOLE])
    await inbox.failed(pool, [inbox.InboxFailure(id=await row_id(pool), error="x", permanent=True)])


async def given_up(pool):
    await inbox.store(pool, "logs", [CLAIMED])
    await inbox.absent(pool, [await row_id(pool)])


async def unknown(pool):
    await leased(pool)
    await inbox.unfetched(pool, [inbox.FetchFailure(id=await row_id(pool), error="x", unknown_at=7)])


async def deliver(pool):
    await inbox.store(pool, "webhook", [WHOLE])


async def fetch(pool):
    await inbox.fetched(pool, [(await row_id(pool), TX.raw(), TX.slot)])


async def refuse(pool):
    failure = inbox.InboxFailure(id=await row_id(pool), error="no transaction", refetch=True)
    await inbox.failed(pool, [failure])
    await pool.execute("UPDATE inbox SET next_attempt_at = now()")


WAYS = {
    "a fresh hint": (None, lambda pool: inbox.store(pool, "logs", [CLAIMED]), False),
    "a fresh delivery": (None, deliver, True),
    "a delivery for a row that was only named": (leased, deliver, True),
    "a fetch": (leased, fetch, True),
    "a replay": (dead, dead_letters.replay, True),
    "a delivery that has to be fetched instead": (delivered_broken, refuse, False),
    "a listing of what was given up": (given_up, lambda pool: inbox.store(pool, "scan", [NAMED]), False),
    "a delivery of what was given up": (given_up, deliver, True),
    "a listing of what no node knew": (unknown, lambda pool: inbox.store(pool, "scan", [NAMED]), False),
}


@pytest.mark.parametrize(("before", "act", "has_payload"), WAYS.values(), ids=WAYS)
async def test_what_makes_a_row_ready_wakes_its_worker(pool, before, act, has_payload):
    """U5: each way in which a row becomes ready wakes its worker once, and the row is due by then."""
    if before:
        await before(pool)
    assert await wakes_of(pool, lambda: act(pool)) == 1
    due_s = await inbox.next_due_s(pool, has_payload=has_payload)
    assert due_s <= 0, "woken, and not yet ready"


async def test_a_webhook_that_completes_a_named_row_wakes_the_worker(pool, database_url):
    """U5: a webhook that completes a row which was only named wakes the worker once; a repetition wakes nobody."""
    await leased(pool)
    receiver = WebhookReceiver(pool, settings_of(database_url, "http://unused"))
    transport = httpx.ASGITransport(webhook_app(receiver))
    async with httpx.AsyncClient(transport=transport, base_url="http://indexer") as client:

        async def post():
            answer = await client.post(PATH, content=TX.raw())
            assert answer.json() == {"received": 1, "duplicates": 1}
            await receiver.woken()

        assert await wakes_of(pool, post) == 1
        assert len(await inbox.ready(pool, 5)) == 1
        assert await wakes_of(pool, post) == 0, "nothing new, nobody is woken"


async def test_a_failed_fetch_takes_nothing_from_a_delivery_that_came_meanwhile(pool):
    await leased(pool)
    await deliver(pool)
    await inbox.unfetched(pool, [inbox.FetchFailure(id=await row_id(pool), error="unknown", unknown_at=7)])
    assert await inbox.absent(pool, [await row_id(pool)]) == 0
    assert len(await inbox.ready(pool, 5)) == 1


async def test_rereading_wakes_the_fetcher(database_url):
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        await inbox.store(engine.pool, "webhook", [WHOLE])
        await engine.worker.turn()
        await engine.pool.execute(
            "INSERT INTO unknown_events (slot, signature, ordinal, payload) VALUES ($1, $2, 9, '')",
            TX.slot,
            TX.signature,
        )
        assert await wakes_of(engine.pool, lambda: reread(engine)) == 1


async def test_a_loop_never_sleeps_longer_than_some_seconds_whatever_it_was_told(database_url):
    """A loop sleeps three seconds at most, whatever the database says is due next.

    A wake-up may be lost with the process that should send it, and the lease of a dead process may end at any time.
    """
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        stop = asyncio.Event()
        waits = []

        class Impatient(WakeSignal):
            async def wait(self, seconds):
                waits.append(seconds)
                await asyncio.sleep(0)

        signals = [Impatient(stop) for _ in range(2)]
        await leased(engine.pool)
        loops = [
            asyncio.create_task(engine.worker.run(signals[0], Outages())),
            asyncio.create_task(engine.fetcher.run(signals[1], Outages())),
        ]

        async def looked():
            return len(waits) > 8

        await until(looked)
        stop.set()
        await asyncio.gather(*loops)
        assert max(waits) <= 3
