"""Transactions of version 1 on the local chain without a webhook, and a delivery of a version that is unknown."""

from __future__ import annotations

import secrets
from importlib.resources import files

import base58
import msgspec
import pytest

from kit.chain_life import CID, SOL, Driver, name
from kit.chain_story import Story
from kit.indexer import (
    again,
    engine_on,
    settings_of,
    settle,
    tables,
)
from kit.rpc_proxy import Call, Fault, Proxy, Refuse, honest
from kit.services import running_service
from kit.story_node import serving
from kit.transactions_v1 import signed_v1
from kit.waiting import until
from zmart.chain.compose import memo
from zmart.chain.rpc import Rpc
from zmart.services.indexer.service import Indexer
from zmart.store import inbox, index_progress

TOO_NEW = Refuse(-32015, "Transaction version (1) is not supported by the requesting client.")


@pytest.fixture
async def driver(local_chain):
    async with Rpc([local_chain.rpc_url]) as rpc:
        yield Driver(local_chain, rpc)


def strict(call: Call) -> Fault | None:
    """Behave as a node on which every transaction has version 1: refuse calls that do not support it."""
    if call.method not in ("getTransaction", "getBlock"):
        return None
    requested = call.params[1].get("maxSupportedTransactionVersion")
    return None if requested is not None and requested >= 1 else TOO_NEW


async def create(driver, *, notes=()):
    """Create a market by a transaction of version 1; return its id. `notes` are more instructions."""
    creator, market_id = await driver.wallet(), secrets.token_hex(32)
    call = driver.build.create_market(
        name(creator),
        market_id,
        b_parameter=10 * SOL,
        initial_liquidity=7 * SOL,
        ipfs_question_hash=CID,
    )
    latest = await driver.rpc.get_latest_blockhash()
    await driver.rpc.send_raw_transaction(signed_v1(creator, [call, *notes], latest.blockhash))
    return market_id


async def test_version_1_among_the_rest_is_indexed_without_a_webhook(local_chain, database_url, driver):
    """I1, I2, W1: transactions of version 1 are indexed, also above 1,232 bytes, and none is left waiting."""
    async with Proxy.before(local_chain.rpc_url, strict) as proxy:
        indexer = await Indexer.open(settings_of(database_url, proxy.url))
        async with running_service(indexer):
            created = [await driver.propose(await driver.wallet())]
            created += [await create(driver), await create(driver, notes=[memo("a" * 500)] * 6)]
            created += [await driver.propose(await driver.wallet())]
            tip = await driver.rpc.get_slot()

            async def complete():
                state = await indexer.readiness()
                return state.ready and state.details["gap_free_slot"] >= tip

            await until(complete, why=indexer.readiness)
            assert (await indexer.readiness()).details["dead_letters"] == 0
    held = {row[0] for row in (await tables(database_url))["markets"]}
    assert set(created) <= held
    assert proxy.calls["getTransaction"] >= 4


async def test_a_delivery_of_a_version_to_come_is_kept_until_somebody_can_read_it(database_url):
    """I1: the delivery comes repeatedly, and is neither folded by another version's rules nor given up."""
    story = Story(5, markets=1, trades=3)
    new = story.txs[2]
    payload = msgspec.json.encode({**msgspec.json.decode(new.raw()), "version": 2})
    too_new = Refuse(-32015, "Transaction version (2) is not supported by the requesting client.")

    def holds_back(call: Call) -> Fault | None:
        return too_new if call.method == "getTransaction" and call.params[0] == new.signature else None

    async with (
        serving(story) as node,
        Proxy.before(node.url, holds_back) as proxy,
        engine_on(database_url, proxy.url) as engine,
    ):
        await engine.scanner.scan()
        for _ in range(12):
            await inbox.store(engine.pool, "webhook", [inbox.Hint(new.signature, new.slot, payload)])
            await again(engine)
            await settle(engine)
        [row] = await engine.pool.fetch("SELECT signature, state, last_error FROM inbox")
        assert (row["signature"], row["state"]) == (new.signature, "pending")
        assert "version (2)" in row["last_error"] or "version 2" in row["last_error"]
        assert (await index_progress.read(engine.pool)).gap_free_through_slot < new.slot
        proxy.script = honest  # now the node answers as it would to a release that knows the version
        await again(engine)
        await settle(engine)
        assert await engine.pool.fetchval("SELECT count(*) FROM inbox") == 0


async def test_an_instruction_of_a_later_program_with_a_truncated_log_stops_nobody(database_url, tmp_path):
    """I5: the IDL that is set has an instruction more than this version knows, whose event the log has lost."""
    story = Story(5, markets=1, trades=3)
    later = {"name": "reclaim_rent", "discriminator": [9] * 8, "accounts": [], "args": []}
    idl = msgspec.json.decode((files("zmart.chain.data") / "zmart_core.idl.json").read_bytes())
    (tmp_path / "idl.json").write_bytes(
        msgspec.json.encode(idl | {"instructions": [*idl["instructions"], later]})
    )
    value = msgspec.json.decode(story.txs[2].raw())
    for call in value["transaction"]["message"]["instructions"]:
        call["data"] = base58.b58encode(bytes([9] * 8)).decode()
    value["meta"]["logMessages"] = ["Log truncated"]
    async with (
        serving(story) as node,
        engine_on(database_url, node.url, solana_idl_path=tmp_path / "idl.json") as engine,
    ):
        node.raws = {story.txs[2].signature: msgspec.json.encode(value)}
        await engine.scanner.scan()
        await settle(engine)
        [row] = await engine.pool.fetch("SELECT signature, state, last_error FROM inbox")
        assert (row["signature"], row["state"]) == (story.txs[2].signature, "dead")
        assert "reclaim_rent" in row["last_error"]
        assert (await index_progress.read(engine.pool)).gap_free_through_slot < story.txs[2].slot
        assert await engine.pool.fetchval("SELECT count(*) FROM chain_transactions") == len(story.txs) - 1
