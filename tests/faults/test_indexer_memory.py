"""The memory of an indexer process does not depend on the number of rows that wait in the inbox."""

from __future__ import annotations

import asyncio

import psutil
import pytest

from kit import commands
from kit.chain_story import Story, Tx
from kit.story_node import serving
from kit.waiting import until
from zmart.local.processes import free_port
from zmart.store import inbox
from zmart.store.pool import Pool

STORY = Story(31, markets=8, trades=60)
MOST_MB = 200
# Base58 has no 0: digits become letters, so that every number gives another signature.
_COPIES = """
INSERT INTO inbox (source, signature, slot, payload)
SELECT 'webhook', s.name, $4::bigint, convert_to(replace($1, $2, s.name), 'UTF8')
FROM generate_series(1, $3::int) n,
    LATERAL (SELECT rpad(translate(n::text, '0123456789', 'abcdefghij'), 88, 'Z')) s (name)
"""


@pytest.mark.parametrize("rows", [5_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
async def test_any_backlog_fits_into_200_mb(database_url, rows):
    pool = await Pool.open(database_url, size=1)
    await inbox.store(pool, "webhook", [inbox.Hint(t.signature, t.slot, t.raw()) for t in STORY.txs])
    trade = next(t for t in STORY.txs if len(t.events) == 2)
    slot = STORY.txs[-1].slot + 100
    failed = Tx("$", slot, 0, trade.events, err={"InstructionError": [0, "x"]}).raw().decode()
    async with pool.acquire() as connection:
        await connection.execute(_COPIES, failed, "$", rows, slot, timeout=600)
    async with serving(STORY) as node:
        node.final_slot = 0  # the copies are far ahead of it: the node need not know them yet
        env = commands.environment(
            database_url=database_url,
            solana_rpc_url=node.url,
            indexer_port=free_port(),
            indexer_logs_subscribe=False,
        )
        process = await commands.start("run", "indexer", env=env, stdout=asyncio.subprocess.DEVNULL)
        watched, peak = psutil.Process(process.pid), 0

        async def done():
            nonlocal peak
            peak = max(peak, watched.memory_info().rss)
            left = await pool.fetchval("SELECT 1 FROM inbox WHERE state = 'pending' LIMIT 1")
            return left is None

        await until(done, within_s=60 + rows / 400)
        process.terminate()
        assert await process.wait() == 0
    assert await pool.fetchval("SELECT count(*) FROM chain_transactions WHERE failed") >= rows
    assert await pool.fetchval("SELECT count(*) FROM chain_events") > 500
    await pool.close()
    print(f"{rows} rows: at most {peak / 1e6:.0f} MB")
    assert peak < MOST_MB * 1e6
