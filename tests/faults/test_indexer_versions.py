"""Transactions of version 1 that no webhook carries, on the real chain, and one that is newer than everybody here."""

from __future__ import annotations

import secrets

import pytest
from rpc_proxy import Call, Fault, Proxy, Refuse

from chain_life import CID, SOL, Driver, name
from indexer_harness import running, settings_of, tables, until
from v1 import signed_v1
from zmart.chain.compose import memo
from zmart.chain.rpc import Rpc
from zmart.services.indexer.service import Indexer

TOO_NEW = Refuse(-32015, "Transaction version (1) is not supported by the requesting client.")


@pytest.fixture
async def driver(local_chain):
    async with Rpc([local_chain.rpc_url]) as rpc:
        yield Driver(local_chain, rpc)


def strict(call: Call) -> Fault | None:
    """A node whose every transaction has version 1."""
    if call.method not in ("getTransaction", "getBlock"):
        return None
    asked = call.params[1].get("maxSupportedTransactionVersion")
    return None if asked is not None and asked >= 1 else TOO_NEW


async def create(driver, *, notes=()):
    """A market by a transaction of version 1; its id."""
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
    """I1, I2, W1: within the scan's interval, also above 1,232 bytes, and nothing is left waiting."""
    async with Proxy.before(local_chain.rpc_url, strict) as proxy:
        indexer = await Indexer.open(settings_of(database_url, proxy.url))
        async with running(indexer):
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
