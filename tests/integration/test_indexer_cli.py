"""Tests of `zmart indexer ...` and of the hosted indexer, started as an operator starts them."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from kit import commands
from kit.chain_story import Story
from kit.indexer import (
    tables,
)
from kit.story_node import serving
from kit.waiting import until
from zmart.local.processes import free_port
from zmart.services.webhook import PATH
from zmart.store import inbox
from zmart.store.pool import Pool

STORY = Story(31, markets=2, trades=6)


@pytest.fixture
def zmart(database_url):
    """Return `run(node_url, *arguments)`: the exit status, standard output and standard error of `zmart indexer`."""

    async def run(node_url, *arguments):
        env = commands.environment(database_url=database_url, solana_rpc_url=node_url)
        return await commands.run("indexer", *arguments, env=env)

    return run


async def test_backfill_then_rebuild(zmart, database_url):
    async with serving(STORY) as node:
        status, out, err = await zmart(node.url, "backfill", "--json")
        assert status == 0, err
        assert json.loads(out) == {
            "new_count": len(STORY.txs),
            "dead": 0,
            "gap_free_slot": node.tip(),
            "tip_slot": node.tip(),
        }
        before = await tables(database_url)
        assert len(before["markets"]) == 2
        status, out, _ = await zmart(node.url, "backfill", "--from-slot", "0")
        assert (status, out.startswith("0 transactions found")) == (0, True)
        status, out, _ = await zmart(node.url, "rebuild")
        assert status == 0
        assert out.startswith("2 markets folded again, ")
        assert out.endswith("rows; all equal\n")
        assert await tables(database_url) == before


async def test_dead_letters_are_listed_shown_replayed_and_dropped(zmart, database_url):
    pool = await Pool.open(database_url, size=1)
    hints = [inbox.Hint(tx.signature, tx.slot, tx.raw()) for tx in STORY.txs[:2]]
    await inbox.store(pool, "webhook", hints)
    async with pool.transaction() as connection:
        rows = await inbox.ready(connection, 10)
    reason = "the reason that is shown"
    await inbox.failed(pool, [inbox.InboxFailure(id=row.id, error=reason, permanent=True) for row in rows])
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
        assert await pool.fetchval("SELECT state FROM inbox WHERE signature = $1", second) == "dropped"
        status, out, err = await zmart(node.url, "dead-letters", "show", second)
        assert (status, err) == (1, f"There is no dead letter {second}.\n")
        assert (await zmart(node.url, "dead-letters", "replay", "all"))[0] == 1
    await pool.close()


async def test_a_chain_that_is_not_there_is_one_sentence(zmart):
    status, out, err = await zmart("http://127.0.0.1:9", "backfill")
    assert (status, out) == (1, "")
    assert "did not answer getMultipleAccounts" in err
    assert "Traceback" not in err


async def test_the_hosted_service_takes_webhooks_and_tells_how_it_is(database_url):
    port = free_port()
    async with serving(STORY) as node, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        env = commands.environment(
            zmart_env="production",
            database_url=database_url,
            solana_rpc_url=node.url,
            indexer_port=port,
            indexer_logs_subscribe=False,
            indexer_scan_interval_s=0.2,
            helius_webhook_secret="what-helius-echoes-of-32-characters",
        )
        process = await commands.start("run", "indexer", env=env, stdout=asyncio.subprocess.PIPE)

        async def complete():
            try:
                answer = await client.get("/ready")
            except httpx.TransportError:
                return False
            return answer.status_code == 200 and answer.json()["details"]["gap_free_slot"] == node.tip()

        await until(complete)
        sent = {"content": b"[" + STORY.txs[0].raw() + b"]"}
        assert (await client.post(PATH, **sent)).status_code == 401
        answer = await client.post(
            PATH, **sent, headers={"authorization": "what-helius-echoes-of-32-characters"}
        )
        assert (answer.status_code, answer.json()) == (200, {"received": 1, "duplicates": 1})
        reported = (await client.get("/metrics")).text
        assert f"zmart_indexer_gap_free_slot {float(node.tip())}" in reported
        assert 'zmart_webhook_deliveries_total{status="200"} 1.0' in reported
        assert (await client.get("/health")).json()["events_total"] > 0
        process.terminate()
        out, _ = await asyncio.wait_for(process.communicate(), 15)
        assert process.returncode == 0
        assert b"what-helius-echoes-of-32-characters" not in out
