"""kill -9 of the real service at any moment: what is there afterwards is what would be there without it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys

import pytest

from chain_story import Story
from indexer_harness import engine_on, settle, tables, until
from story_node import serving
from zmart.local.processes import free_port
from zmart.store import inbox
from zmart.store.pool import Pool

STORY = Story(23, markets=4, trades=40)


def environment(database_url, node_url):
    return {
        **os.environ,
        "ZMART_ENV": "local",
        "ZMART_ENV_FILE": os.devnull,
        "DATABASE_URL": database_url,
        "SOLANA_RPC_URL": node_url,
        "SOLANA_WS_URL": "",
        "INDEXER_PORT": str(free_port()),
        "INDEXER_BATCH_SIZE": "9",
        "INDEXER_SCAN_INTERVAL_S": "0.2",
        "INDEXER_LOGS_SUBSCRIBE": "false",
        "RPC_TIMEOUT_S": "1",
    }


async def start(database_url, node_url):
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from zmart.cli import main; main()",
        "run",
        "indexer",
        env=environment(database_url, node_url),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )


@pytest.fixture
async def perfect(new_database, migrated_template):
    other = new_database(migrated_template)
    async with serving(STORY) as node, engine_on(other, node.url) as engine:
        await engine.scanner.scan()
        await settle(engine)
    return await tables(other)


@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_again_and_again_it_ends_with_the_same_tables(database_url, perfect, seed):
    chance = random.Random(seed)
    pool = await Pool.open(database_url, size=2)
    told = [inbox.Hint(tx.signature, tx.slot, tx.raw(with_index=False)) for tx in STORY.txs]
    async with serving(STORY) as node:
        node.shown = STORY.txs[: len(STORY.txs) // 2]
        for kills in range(4):
            before = await _indexed(pool)
            process = await start(database_url, node.url)
            await inbox.store(pool, "webhook", chance.sample(told, len(told) // 6))
            goal = before + chance.randint(1, len(told) // 5)

            async def reached(goal=goal):
                return await _indexed(pool) >= goal or await _nothing_waits(pool, node)

            await until(reached, 30)
            process.send_signal(signal.SIGKILL)
            await process.wait()
            node.shown = STORY.txs[: len(STORY.txs) * (kills + 3) // 6]
        node.shown = STORY.txs
        process = await start(database_url, node.url)

        async def complete():
            return await pool.fetchval("SELECT gap_free_through_slot FROM index_progress") == node.tip()

        await until(complete, 60)
        process.terminate()
        async with asyncio.timeout(15):
            assert await process.wait() == 0
    await pool.close()
    assert await tables(database_url) == perfect


async def _indexed(pool):
    return await pool.fetchval("SELECT count(*) FROM chain_transactions")


async def _nothing_waits(pool, node):
    progress = await pool.fetchval("SELECT gap_free_through_slot FROM index_progress")
    return progress == node.tip() and (await inbox.depth(pool)).pending == 0
