"""An RPC gives no answer to half of the calls, in every way that RPCs do.

The tables end equal to the chain, the gap-free slot never passes a hole, and no operator has to act.
"""

from __future__ import annotations

import asyncio
import random

import base58
import pytest

from kit.chain_story import Story
from kit.indexer import (
    engine_on,
    hint,
    settings_of,
    settle,
    tables,
    without_lone_places,
)
from kit.rpc_proxy import Proxy, mute
from kit.story_node import serving
from kit.waiting import until
from zmart.services.indexer import service as service_module
from zmart.services.indexer.service import Indexer
from zmart.store import inbox, inbox_backlog
from zmart.store.inbox import Hint

_PIECES = 8
_MAX_LAG_S = 2.0
_OLD = """
SELECT signature FROM inbox WHERE state = 'pending' AND listed AND received_at < now() - interval '4 s'
"""


def story_of(number):
    return Story(31, markets=4, trades=number // 4 - 13)


async def truth(story, database_url):
    async with serving(story) as node, engine_on(database_url, node.url) as engine:
        await engine.scanner.scan()
        await settle(engine)
    return without_lone_places(await tables(database_url))


class Watch:
    """Compares, until cancelled, what the index reports of itself with the chain.

    `holes` are slots of missing transactions at or below the gap-free slot, `lies` are wrong answers of readiness.
    """

    def __init__(self, indexer, node):
        self.indexer, self.node = indexer, node
        self.holes, self.lies, self.looks, self.unready = [], [], 0, 0

    async def run(self):
        pool = self.indexer._engine.pool
        while True:
            displayed = list(self.node.shown)
            through = await pool.fetchval("SELECT gap_free_through_slot FROM index_progress")
            there = {r["signature"] for r in await pool.fetch("SELECT signature FROM chain_transactions")}
            self.holes += [tx.slot for tx in displayed if tx.slot <= through and tx.signature not in there]
            before = {row["signature"] for row in await pool.fetch(_OLD)}
            answer = await self.indexer.readiness()
            after = {row["signature"] for row in await pool.fetch(_OLD)}
            if answer.ready and before & after:
                self.lies.append(len(before & after))
            if not answer.ready and not answer.reason:
                self.lies.append("unready without a reason")
            self.looks += 1
            self.unready += not answer.ready
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("number", [80, pytest.param(2_000, marks=pytest.mark.slow)])
async def test_while_half_of_the_answers_say_nothing_no_hole_is_passed(
    database_url, new_database, migrated_template, monkeypatch, number
):
    """W3, C13, C24: the gap-free slot passes no hole, and readiness is not reported while listed rows wait."""
    monkeypatch.setattr(service_module, "MAX_LAG_S", _MAX_LAG_S)
    story, chance = story_of(number), random.Random(number)
    expected = await truth(story, new_database(migrated_template))
    async with serving(story) as node, Proxy.before(node.url) as proxy:
        node.shown = []
        indexer = await Indexer.open(settings_of(database_url, proxy.url))
        proxy.script = mute(number)
        stop = asyncio.Event()
        running = asyncio.create_task(indexer.run(stop))
        watch = Watch(indexer, node)
        watching = asyncio.create_task(watch.run())
        pool = indexer._engine.pool
        invented = [
            Hint(base58.b58encode(chance.randbytes(64)).decode(), 5 + n, None) for n in range(number // 20)
        ]
        for piece in range(_PIECES):
            grown = story.txs[len(node.shown) : len(story.txs) * (piece + 1) // _PIECES]
            node.shown = [*node.shown, *grown]
            reported = [
                hint(tx) if chance.random() < 0.3 else Hint(tx.signature, tx.slot, None) for tx in grown
            ]
            chance.shuffle(reported)
            await inbox.store(pool, "webhook", [*reported[: len(reported) // 2], *invented[piece::_PIECES]])
            await asyncio.sleep(0.2)

        async def complete():
            return await pool.fetchval("SELECT gap_free_through_slot FROM index_progress") >= node.tip()

        await until(complete, within_s=300, why=indexer.readiness)

        async def ready():
            return (await indexer.readiness()).ready

        await until(ready, within_s=60, why=indexer.readiness)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        depth = await inbox_backlog.depth(pool)
        stop.set()
        await asyncio.wait_for(running, 30)
    print(
        f"{len(story.txs)} transactions, {proxy.bad} of {sum(proxy.calls.values())} calls failed, {watch.looks} looks"
    )
    assert (watch.holes, watch.lies) == ([], [])
    assert watch.looks > 10
    assert (depth.pending, depth.dead) == (0, 0)
    assert without_lone_places(await tables(database_url)) == expected
