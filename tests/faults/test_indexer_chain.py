"""Real transactions of the program, delivered badly: lost, repeated, in any order, with truncated logs or none."""

from __future__ import annotations

import asyncio
import random

import httpx
import msgspec
import pytest
from prometheus_client import REGISTRY

from kit.chain_life import SOL, Driver, name
from kit.indexer import (
    deliver_raw,
    engine_on,
    settings_of,
    tables,
    without_lone_places,
)
from kit.waiting import until
from zmart.chain import compose
from zmart.chain.event_extraction import extract_events
from zmart.chain.rpc import Rpc
from zmart.chain.transactions import parse_transaction
from zmart.market.types import Signature
from zmart.services.indexer.audit import audit
from zmart.services.indexer.rebuild import rebuild
from zmart.services.indexer.service import Indexer
from zmart.services.webhook import PATH

FOLDED = ("program_config", "markets", "positions", "trades", "onchain_votes")


@pytest.fixture
async def driver(local_chain):
    async with Rpc([local_chain.rpc_url]) as rpc:
        yield Driver(local_chain, rpc)


async def told(driver, program):
    """Return every transaction of the program, as getTransaction returns it, in chain order."""
    listed, before = [], None
    while page := await driver.rpc.get_signatures_for_address(program.address, before=before):
        listed += page
        before = page[-1].signature
    gate = asyncio.Semaphore(16)

    async def fetch(signature):
        async with gate:
            return await driver.rpc.get_transaction_json(signature)

    raws = await asyncio.gather(*(fetch(info.signature) for info in listed))
    positions = {}
    for slot in {info.slot for info in listed}:
        positions |= {s: n for n, s in enumerate(await driver.rpc.get_block_signatures(slot) or [])}
    order = sorted(range(len(listed)), key=lambda n: (listed[n].slot, positions.get(listed[n].signature, 0)))
    return [raws[n] for n in order]


@pytest.mark.parametrize("number", [80, pytest.param(2_000, marks=pytest.mark.slow)], ids=["80", "2000"])
async def test_webhooks_delivered_0_to_5_times_shuffled_give_the_tables_of_perfect_order(
    local_chain, database_url, new_database, migrated_template, driver, number
):
    await driver.trade(number, seed=7)
    raws = await told(driver, local_chain.program)
    chance = random.Random(number)
    deliveries = []
    for raw in raws:
        times = 0 if chance.random() < 0.1 else chance.randint(0, 5)
        deliveries += [raw] * times
    chance.shuffle(deliveries)
    indexer = await Indexer.open(settings_of(database_url, local_chain.rpc_url))
    stop = asyncio.Event()
    running = asyncio.create_task(indexer.run(stop))
    transport = httpx.ASGITransport(indexer.asgi())
    async with httpx.AsyncClient(transport=transport, base_url="http://indexer") as client:
        while deliveries:
            size = chance.randint(1, 20)
            body = b"[" + b",".join(deliveries[:size]) + b"]"
            del deliveries[:size]
            assert (await client.post(PATH, content=body)).status_code == 200
    tip = await driver.rpc.get_slot()

    async def complete():
        return (await indexer.readiness()).details["gap_free_slot"] >= tip

    async def why() -> object:
        held = await indexer._engine.pool.fetch(
            "SELECT signature, slot, failed, event_count FROM chain_transactions WHERE finality = 'confirmed' "
            "ORDER BY slot LIMIT 3"
        )
        names = [Signature(row["signature"]) for row in held]
        statuses = await driver.rpc.get_signature_statuses(names, search_history=True)
        return await indexer.readiness(), [tuple(row) for row in held], statuses

    await until(complete, within_s=120, why=why)
    stop.set()
    await asyncio.wait_for(running, 15)
    other = new_database(migrated_template)
    async with engine_on(other, local_chain.rpc_url) as engine:
        for raw in raws:
            await deliver_raw(engine, [raw])
        events = sum(len(extract_events(local_chain.program, parse_transaction(raw)).events) for raw in raws)
        assert await engine.pool.fetchval("SELECT count(*) FROM chain_events") == events
        report = await audit(engine.pool, driver.rpc, local_chain.program)
        assert report.differences == []
    assert without_lone_places(await tables(database_url)) == without_lone_places(await tables(other))
    assert events >= number


async def test_a_log_cut_at_10_kb_is_recovered_from_the_accounts(local_chain, database_url, driver):
    alice = await driver.wallet()
    market = await driver.open(alice, alice)
    fees, build = name(local_chain.keys.fees), driver.build
    buys = [
        build.buy_shares(name(alice), market, fees, outcome=n % 3 == 0, target_cost=SOL // 100 + n)
        for n in range(22)
    ]
    sale = build.sell_shares(
        name(alice), market, fees, outcome=True, shares_to_sell=SOL // 90, min_proceeds=0
    )
    latest = await driver.rpc.get_latest_blockhash()
    message = compose.compile(alice.pubkey(), [*buys, sale], latest.blockhash, compute_unit_limit=1_400_000)
    signature = await driver.rpc.send_raw_transaction(bytes(compose.sign(message, [alice])))

    async def landed():
        return await driver.rpc.get_transaction_json(signature)

    await until(landed)
    raw = await landed()
    truncated = extract_events(local_chain.program, parse_transaction(raw))
    assert truncated.needs_account_fallback
    assert len(truncated.events) + len(truncated.lost) == 23
    assert len(truncated.lost) >= 2
    async with engine_on(database_url, local_chain.rpc_url) as engine:
        raws = await told(driver, local_chain.program)
        random.Random(3).shuffle(raws)
        for start in range(0, len(raws), 3):
            await deliver_raw(engine, raws[start : start + 3])
        count = "SELECT count(*) FROM trades WHERE signature = $1"
        assert await engine.pool.fetchval(count, signature) == 23
        report = await audit(engine.pool, driver.rpc, local_chain.program)
        assert report.differences == []
        assert market in engine.worker.recovered
        assert (await rebuild(engine.pool, engine.projector)).was_equal


@pytest.mark.parametrize("logs", [pytest.param(None, marks=pytest.mark.slow), []], ids=["null", "empty"])
async def test_a_node_that_keeps_no_logs_costs_nothing_but_reads_of_accounts(
    local_chain, database_url, new_database, migrated_template, driver, logs
):
    """Case I5: the node returns `logMessages: null`, or an empty list."""
    await driver.life()
    raws = await told(driver, local_chain.program)
    other = new_database(migrated_template)
    async with engine_on(database_url, local_chain.rpc_url) as engine:
        await deliver_raw(engine, raws)
    recovered = REGISTRY.get_sample_value("zmart_indexer_recovered_events_total")
    async with engine_on(other, local_chain.rpc_url) as engine:
        await deliver_raw(engine, [without_logs(raw, logs) for raw in raws], "scan")
        assert await engine.pool.fetch("SELECT signature, last_error FROM inbox") == []
    more = REGISTRY.get_sample_value("zmart_indexer_recovered_events_total") - recovered
    whole, second_result = await tables(database_url), await tables(other)
    assert more == len(whole["chain_events"])
    assert {name: second_result[name] for name in FOLDED} == {name: whole[name] for name in FOLDED}


async def test_a_delivery_without_its_log_is_read_from_the_rpc(
    local_chain, database_url, new_database, migrated_template, driver
):
    """Case I5: the log from our RPC is preferred to the recovery of events from accounts."""
    await driver.life()
    raws = await told(driver, local_chain.program)
    other = new_database(migrated_template)
    async with engine_on(other, local_chain.rpc_url) as engine:
        await deliver_raw(engine, raws)
    async with engine_on(database_url, local_chain.rpc_url) as engine:
        await deliver_raw(engine, [without_logs(raw, []) for raw in raws])
        assert await engine.pool.fetchval("SELECT count(*) FROM false_deliveries") == 0
    assert without_lone_places(await tables(database_url)) == without_lone_places(await tables(other))


def without_logs(raw, logs):
    value = msgspec.json.decode(raw)
    value["meta"]["logMessages"] = logs
    return msgspec.json.encode(value)
