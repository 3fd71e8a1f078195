"""The indexer, PostgreSQL and Redis are killed by SIGKILL under load, at any moment.

Afterwards the tables are those of a run without kills, without any action by an operator.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path

import httpx
import msgspec
import psutil
import pytest

from kit import commands
from kit.chain_story import Story
from kit.forgeries import FORGERIES
from kit.indexer import (
    engine_on,
    settle,
    tables,
    without_lone_places,
)
from kit.story_node import serving
from kit.waiting import until
from zmart.errors import StoreError
from zmart.local.postgres import Postgres
from zmart.local.processes import free_port
from zmart.local.valkey import Valkey
from zmart.services.webhook import PATH
from zmart.store.pool import Pool

NEVER_DELIVERED = 0.1
LYING = 0.1
STARTS_IN_S = 30


class Machine:
    """PostgreSQL, Redis and the indexer as processes; each can be killed and is then started again."""

    def __init__(self, folder, node_url):
        self.postgres = Postgres(folder / "postgres", free_port(), durable=False)
        self.valkey = Valkey(folder / "valkey", free_port(), durable=False)
        self.node_url, self.port = node_url, free_port()
        self.log = (folder / "indexer.log").open("wb")
        self.indexer = None
        self.starts = 0

    async def __aenter__(self):
        from zmart.store import migrate

        await asyncio.gather(*(asyncio.to_thread(s.start) for s in (self.postgres, self.valkey)))
        await asyncio.to_thread(migrate.upgrade, self.postgres.url())
        await self.start_indexer()
        return self

    async def __aexit__(self, *error):
        if self.indexer.returncode is None:
            self.indexer.kill()
            await self.indexer.wait()
        self.log.close()
        for server in (self.postgres, self.valkey):
            server.stop()
            server.erase()

    async def start_indexer(self):
        self.starts += 1
        self.said_before = self.said_bytes()
        env = commands.environment(
            database_url=self.postgres.url(),
            redis_url=self.valkey.url(),
            solana_rpc_url=self.node_url,
            indexer_port=self.port,
            indexer_batch_size=9,
            indexer_scan_interval_s=0.2,
            indexer_logs_subscribe=False,
            rpc_timeout_s=1,
        )
        self.indexer = await commands.start("run", "indexer", env=env, stdout=self.log, stderr=self.log)

    async def kill(self, victim):
        if victim == "indexer":
            self.indexer.send_signal(signal.SIGKILL)
            await self.indexer.wait()
            await self.start_indexer()
            return
        server = getattr(self, victim)
        await asyncio.to_thread(_kill_all, server._process)
        await asyncio.to_thread(server.start)
        # An indexer that is just starting may end with a message, and is started again. A running one must not end.
        if self.indexer.returncode is not None:
            said = self.said()
            assert "service started" not in said, f"the indexer ended when {victim} was killed:\n{said}"
            self.starts -= 1
            await self.start_indexer()

    def said_bytes(self):
        return Path(self.log.name).stat().st_size

    def said(self):
        """Return the log of the indexer process that was started last."""
        return Path(self.log.name).read_bytes()[self.said_before :].decode()


def _kill_all(process):
    whole = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for one in whole:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(whole, timeout=10)
    process.wait()


async def helius(machine, node, chance):
    """Deliver random samples of transactions until cancelled, in any order and repeatedly, without retries."""
    untold = {tx.signature for tx in STORY.txs if chance.random() < NEVER_DELIVERED}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{machine.port}", timeout=2) as client:
        while True:
            reported = [tx for tx in node.shown if tx.signature not in untold]
            some = chance.sample(reported, min(len(reported), chance.randint(1, 12)))
            body = b"[" + b",".join(told_badly(tx, chance) for tx in some) + b"]"
            with suppress(httpx.HTTPError):
                await client.post(PATH, content=body)
            await asyncio.sleep(0.02)


def told_badly(tx, chance):
    """Return an element of a delivery; a tenth of them are false (case A2)."""
    if chance.random() < LYING:
        return msgspec.json.encode(chance.choice(FORGERIES)(tx, STORY.txs, chance))
    return tx.raw(with_index=chance.random() < 0.5)


STORY = Story(23, markets=4, trades=40)


@pytest.fixture
async def perfect(new_database, migrated_template):
    other = new_database(migrated_template)
    async with serving(STORY) as node, engine_on(other, node.url) as engine:
        await engine.scanner.scan()
        await settle(engine)
    return await tables(other)


@pytest.mark.parametrize("moments", [4, pytest.param(50, marks=pytest.mark.slow)])
async def test_killed_again_and_again_it_ends_with_the_same_tables(tmp_path, perfect, moments):
    chance = random.Random(moments)
    victims = [("indexer", "postgres", "valkey")[n % 3] for n in range(moments)]
    chance.shuffle(victims)
    async with serving(STORY) as node:
        node.shown = STORY.txs[:8]
        async with Machine(tmp_path, node.url) as machine:
            pool = Pool(machine.postgres.url(), size=2, wait_s=5)
            load = asyncio.create_task(helius(machine, node, chance))
            for number, victim in enumerate(victims, 1):
                before = await _indexed(pool)
                node.shown = STORY.txs[: max(8, len(STORY.txs) * number // moments)]
                goal = min(before + chance.randint(0, max(1, len(STORY.txs) // moments)), len(node.shown))

                async def reached(goal=goal):
                    return await _indexed(pool) >= goal

                await until(reached, within_s=STARTS_IN_S)
                await asyncio.sleep(chance.random() * 0.05)  # at any point of its work
                await machine.kill(victim)

            async def complete():
                try:
                    return (
                        await pool.fetchval("SELECT gap_free_through_slot FROM index_progress") == node.tip()
                    )
                except StoreError:
                    return False

            await until(complete, within_s=60)
            load.cancel()
            await asyncio.wait({load})
            assert machine.starts == 1 + Counter(victims)["indexer"]
            machine.indexer.terminate()
            async with asyncio.timeout(15):
                assert await machine.indexer.wait() == 0
            await pool.close()
            result = await tables(machine.postgres.url())
    assert without_lone_places(result) == without_lone_places(perfect)


async def _indexed(pool):
    """Return the number of indexed transactions; -1 while PostgreSQL is unavailable."""
    try:
        return await pool.fetchval("SELECT count(*) FROM chain_transactions")
    except StoreError:
        return -1
