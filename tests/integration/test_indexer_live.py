"""Tests of the indexer with the program on a local chain: what it folds equals the accounts."""

from __future__ import annotations

import pytest

from kit import commands
from kit.chain_life import CID, SOL, Driver
from kit.indexer import (
    tables,
)
from kit.services import running_service
from kit.waiting import until
from zmart.chain.rpc import Rpc
from zmart.services.indexer.audit import audit
from zmart.services.indexer.rebuild import rebuild
from zmart.services.indexer.service import Indexer
from zmart.settings import Settings


@pytest.fixture
async def running(local_chain, database_url):
    """Run the indexer on the local chain as `zmart run` runs it, and yield it."""
    settings = Settings(
        _env_file=None,
        zmart_env="local",
        database_url=database_url,
        solana_rpc_url=local_chain.rpc_url,
        solana_ws_url=local_chain.ws_url,
        indexer_scan_interval_s=0.3,
    )
    async with running_service(await Indexer.open(settings)) as indexer:
        yield indexer


async def test_a_whole_life_on_chain_is_folded_to_the_lamport(local_chain, database_url, running):
    engine = running._engine
    async with Rpc([local_chain.rpc_url]) as rpc:
        driver = Driver(local_chain, rpc)
        market, _, _ = await driver.life()

        async def caught_up():
            state = await engine.pool.fetchval(
                "SELECT accumulated_lp_fees FROM markets WHERE market_id = $1 AND state = 'FINALIZED'", market
            )
            return state == 0 and (await running.readiness()).ready

        await until(caught_up, why=running.readiness)
        report = await audit(engine.pool, rpc, local_chain.program)
        assert report.differences == []
        assert report.markets >= 2
        assert report.positions >= 2
        row = await engine.pool.fetchrow(
            "SELECT final_outcome, was_disputed, dispute_agree, dispute_disagree, question_cid, traders "
            "FROM markets WHERE market_id = $1",
            market,
        )
        assert tuple(row) == ("yes", True, 3, 1, CID, 2)
        before = await tables(database_url)
        await rebuild(engine.pool, engine.projector)
        assert await tables(database_url) == before
        assert (await running.readiness()).details["dead_letters"] == 0


async def test_an_audit_names_a_market_that_holds_less_than_it_has_to_pay(local_chain, running):
    """An audit reports a market whose account holds fewer lamports than it has to pay.

    A noted debt is in no table, so only the balance of the account shows that it is covered.
    """
    engine = running._engine
    async with Rpc([local_chain.rpc_url]) as rpc:
        driver = Driver(local_chain, rpc)
        market = await driver.propose(await driver.wallet())
        address = local_chain.program.addresses.market(market)

        async def indexed():
            return await engine.pool.fetchval("SELECT true FROM markets WHERE market_id = $1", market)

        await until(indexed)
        held = await rpc.get_balance(address)
        for lamports, missing in ((held + 1, []), (held - 1, [("lamports", held, held - 1)]), (held, [])):
            await rpc.call("surfnet_setAccount", [address, {"lamports": lamports}])
            report = await audit(engine.pool, rpc, local_chain.program)
            of_market = [d for d in report.differences if d.account == address]
            assert [(d.field, d.index, d.chain) for d in of_market] == missing


async def test_an_audit_names_what_differs(local_chain, database_url, running):
    engine = running._engine
    async with Rpc([local_chain.rpc_url]) as rpc:
        driver = Driver(local_chain, rpc)
        creator = await driver.wallet()
        market = await driver.propose(creator)

        async def indexed():
            there = await engine.pool.fetchval("SELECT true FROM markets WHERE market_id = $1", market)
            return there and (await running.readiness()).details["gap_free_slot"] >= tip

        tip = await rpc.get_slot()
        await until(indexed)
        await engine.pool.execute(
            "UPDATE markets SET current_liquidity = current_liquidity - 1 WHERE market_id = $1", market
        )
        report = await audit(engine.pool, rpc, local_chain.program)
    env = commands.environment(database_url=database_url, solana_rpc_url=local_chain.rpc_url)
    status, out, _ = await commands.run("indexer", "audit", env=env)
    assert status == 1
    assert "current_liquidity is 6999999999 here and 7000000000 on chain" in out
    [difference] = report.differences
    assert (difference.field, difference.index, difference.chain) == (
        "current_liquidity",
        7 * SOL - 1,
        7 * SOL,
    )
