"""`zmart indexer ...` as an operator runs it."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import pytest

from chain_story import Story
from indexer_harness import tables
from story_node import serving
from zmart.store import inbox
from zmart.store.pool import Pool

STORY = Story(31, markets=2, trades=6)


@pytest.fixture
def zmart(database_url):
    """`await zmart(node_url, *arguments)` gives the exit status and what was printed."""

    async def run(node_url, *arguments):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from zmart.cli import main; main()",
            "indexer",
            *arguments,
            env={
                **os.environ,
                "ZMART_ENV": "local",
                "ZMART_ENV_FILE": os.devnull,
                "DATABASE_URL": database_url,
                "SOLANA_RPC_URL": node_url,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    return run


async def test_backfill_then_rebuild(zmart, database_url):
    async with serving(STORY) as node:
        status, out, err = await zmart(node.url, "backfill", "--json")
        assert status == 0, err
        assert json.loads(out) == {
            "found": len(STORY.txs),
            "dead": 0,
            "gap_free_slot": node.tip(),
            "tip_slot": node.tip(),
        }
        before = await tables(database_url)
        assert len(before["markets"]) == 2
        status, out, _ = await zmart(node.url, "backfill", "--from-slot", "0")
        assert (status, out.startswith("0 transactions found")) == (0, True)
        status, out, _ = await zmart(node.url, "rebuild")
        assert (status, out) == (0, "2 markets folded again\n")
        assert await tables(database_url) == before


async def test_dead_letters_are_listed_shown_replayed_and_dropped(zmart, database_url):
    pool = await Pool.open(database_url, size=1)
    hints = [inbox.Hint(tx.signature, tx.slot, tx.raw()) for tx in STORY.txs[:2]]
    await inbox.store(pool, "webhook", hints)
    async with pool.transaction() as connection:
        rows = await inbox.ready(connection, 10)
    reason = "the reason that is shown"
    await inbox.failed(pool, [inbox.Failure(id=row.id, error=reason, hopeless=True) for row in rows])
    first, second = (hint.signature for hint in hints)
    async with serving(STORY) as node:
        status, out, _ = await zmart(node.url, "dead-letters", "list", "--json")
        assert {letter["signature"]: letter["last_error"] for letter in json.loads(out)} == {
            first: reason,
            second: reason,
        }
        status, out, _ = await zmart(node.url, "dead-letters", "show", first)
        assert status == 0
        assert reason in out
        assert '"logMessages"' in out
        assert (await zmart(node.url, "dead-letters", "replay", first))[0] == 0
        assert (await zmart(node.url, "dead-letters", "drop", second, "--yes"))[0] == 0
        assert await pool.fetchval("SELECT state FROM inbox WHERE signature = $1", first) == "pending"
        assert await pool.fetchval("SELECT state FROM inbox WHERE signature = $1", second) == "done"
        status, out, err = await zmart(node.url, "dead-letters", "show", second)
        assert (status, err) == (1, f"There is no dead letter {second}.\n")
        assert (await zmart(node.url, "dead-letters", "replay", "all"))[0] == 1
    await pool.close()


async def test_a_chain_that_is_not_there_is_one_sentence(zmart):
    status, out, err = await zmart("http://127.0.0.1:9", "backfill")
    assert (status, out) == (1, "")
    assert "did not answer getMultipleAccounts" in err
    assert "Traceback" not in err
