"""Answers of our own RPC that are ahead of what the chain can have reached, or that belong to another chain."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import time
from contextlib import asynccontextmanager

import msgspec
import pytest
from prometheus_client import REGISTRY
from websockets.asyncio.server import serve

from kit.chain_story import PROGRAM, Story, key
from kit.indexer import again, engine_asking, settings_of, settle, tables, without_lone_places
from kit.rpc_proxy import Edit, Proxy, Refuse, Say, honest
from kit.story_node import GENESIS, serving
from kit.waiting import until
from zmart.chain import absence
from zmart.chain.slot_bounds import PUBLIC_CLUSTERS
from zmart.errors import ChainError, ConfigError
from zmart.services.gateway.context import cached_chain_time
from zmart.services.indexer.engine import Engine
from zmart.services.indexer.maintenance import Maintenance
from zmart.services.indexer.service import Indexer
from zmart.services.indexer.sources import LiveLog
from zmart.services.indexer.wake_signal import WakeSignal
from zmart.store import alerts, inbox, inbox_backlog, index_progress
from zmart.store.pool import Pool

STORY = Story(29, markets=1, trades=4)
YEAR_2200 = 7_258_118_400
OTHER_GENESIS = key(78)
DEVNET = next(genesis for genesis, name in PUBLIC_CLUSTERS.items() if name == "devnet")
CLUSTER = {"genesis": DEVNET}


def clock_of(slot=None, at=None):
    """Return a script that changes the slot or the time in the Clock sysvar."""

    def change(result):
        data = bytearray(base64.b64decode(result["value"]["data"][0]))
        if slot is not None:
            struct.pack_into("<Q", data, 0, slot)
        if at is not None:
            struct.pack_into("<q", data, 32, at)
        return {**result, "value": {**result["value"], "data": [base64.b64encode(data).decode(), "base64"]}}

    return lambda call: Edit(change) if call.method == "getAccountInfo" else None


def only(method, fault):
    return lambda call: fault if call.method == method else None


def in_context(method, slot):
    return only(method, Edit(lambda result: {**result, "context": {"slot": slot}}))


ABSURD = {
    "slot 2^62": only("getSlot", Say(2**62)),
    "slot of next month": only("getSlot", Say(6_500_000)),
    "slot of five minutes later": only("getSlot", Say(STORY.txs[-1].slot + 5 + 6_000)),
    "slot beyond a column": only("getSlot", Say(2**64)),
    "clock in the year 2200": clock_of(at=YEAR_2200),
    "clock at slot 2^62": clock_of(slot=2**62),
    "clock at slot 2^62 in the year 2200": clock_of(slot=2**62, at=YEAR_2200),
    "a list with slot 2^62": only(
        "getSignaturesForAddress", Edit(lambda lines: [{**line, "slot": 2**62} for line in lines])
    ),
    "a list with the year 2200": only(
        "getSignaturesForAddress", Edit(lambda lines: [{**line, "blockTime": YEAR_2200} for line in lines])
    ),
    "a transaction in slot 2^62": only("getTransaction", Edit(lambda tx: tx and {**tx, "slot": 2**62})),
    "a transaction beyond a column": only("getTransaction", Edit(lambda tx: tx and {**tx, "slot": 2**64})),
    "statuses as of slot 2^62": in_context("getSignatureStatuses", 2**62),
}
LOCALLY = ("slot 2^62", "slot of next month", "clock in the year 2200", "clock at slot 2^62 in the year 2200")
"""Cases that are refused of a local chain, too, although it may be advanced by minutes and its time is not ours."""
ONE_OF_EACH = (*LOCALLY[:3], "a list with slot 2^62", "a transaction in slot 2^62")


@asynccontextmanager
async def chain_of(story=STORY, *, is_cluster):
    async with serving(story) as node:
        if is_cluster:
            node.genesis = DEVNET
            node.time_of = lambda _slot: int(time.time()) - 10
        yield node


async def progress_of(engine):
    return await index_progress.read(engine.pool)


async def work(engine):
    """Do once what each of the indexer's loops does; a loop that raises ChainError does not stop the others."""
    for part in (engine.scanner.scan, lambda: again(engine), lambda: settle(engine)):
        try:
            await part()
        except ChainError:
            continue


async def assert_honest(engine, node):
    progress = await progress_of(engine)
    assert progress.tip_slot <= node.tip()
    assert progress.final_slot <= node.tip()
    assert progress.listed_through_slot <= node.tip()
    assert progress.gap_free_through_slot <= node.tip()
    assert (progress.final_time or 0) <= node.time_of(node.tip())
    assert await engine.pool.fetchval("SELECT coalesce(max(slot), 0) FROM inbox") <= node.tip()
    assert await engine.pool.fetchval("SELECT coalesce(max(slot), 0) FROM chain_transactions") <= node.tip()


@pytest.mark.parametrize("name", ABSURD)
async def test_what_the_chain_cannot_have_reached_is_never_stored(database_url, name):
    """A2: once stored, such a slot would make the index count as complete up to there, permanently."""
    await assert_never_stored(database_url, name, is_cluster=True)


async def test_what_a_local_chain_cannot_have_reached_is_never_stored(new_database, migrated_template):
    """A2. All cases run at the same time: with a local chain, each such answer is requested again for seconds."""
    urls = [new_database(migrated_template) for _ in LOCALLY]
    cases = zip(urls, LOCALLY, strict=True)
    await asyncio.gather(*(assert_never_stored(url, name, is_cluster=False) for url, name in cases))


async def assert_never_stored(database_url, name, *, is_cluster):
    more = CLUSTER if is_cluster else {}
    async with (
        chain_of(is_cluster=is_cluster) as node,
        Proxy.before(node.url) as proxy,
        engine_asking(database_url, proxy.url, **more) as engine,
    ):
        node.shown = STORY.txs[:3]
        await work(engine)
        assert (await progress_of(engine)).gap_free_through_slot == node.tip()
        node.shown = STORY.txs
        proxy.script = ABSURD[name]
        for _ in range(2):
            await work(engine)
            await assert_honest(engine, node)
        refused = engine.rpc.refusals()
        assert list(refused) == [f"The RPC at 127.0.0.1:{proxy.url.rpartition(':')[2]}"]
        proxy.script = honest
        for _ in range(2):
            await work(engine)
        assert (await progress_of(engine)).gap_free_through_slot == node.tip()


@pytest.mark.parametrize("lie", ONE_OF_EACH)
async def test_another_endpoint_is_asked_instead_and_somebody_is_told(database_url, lie):
    counted = "zmart_rpc_refused_answers_total"
    async with (
        chain_of(is_cluster=True) as node,
        Proxy.before(node.url) as proxy,
        engine_asking(database_url, proxy.url, node.url, **CLUSTER) as engine,
    ):
        engine.rpc._rpc._attempts = 3
        await index_progress.finalized(engine.pool, STORY.txs[0].slot, STORY.txs[0].slot, node.time_of(0))
        proxy.script = ABSURD[lie]
        await work(engine)
        await work(engine)
        await assert_honest(engine, node)
        assert (await progress_of(engine)).gap_free_through_slot == node.tip()
        [(name, reason)] = engine.rpc.refusals().items()
        assert REGISTRY.get_sample_value(counted, {"endpoint": name}) >= 1
        await Maintenance(engine, 0).run_once()
        [alert] = await alerts.open_alerts(engine.pool)
        assert (alert.key, reason in alert.message) == ("rpc-refused:indexer", True)


async def test_a_local_chain_may_be_advanced_and_restarted_at_any_time(database_url):
    """`zmart demo` advances the chain by weeks; after a pause, a restarted chain's clock jumps and its slots do not."""
    async with (
        serving(STORY) as node,
        engine_asking(database_url, node.url) as engine,
    ):
        start = int(time.time())
        lead_s = 0
        node.time_of = lambda slot: start + lead_s + slot // 10
        for slots, seconds in ((50, 0), (7 * 864_000, 0), (365 * 864_000, 0), (1, 400), (10, 0)):
            node.more_slots += slots
            lead_s += seconds
            await engine.scanner.scan()
            await settle(engine)
            progress = await progress_of(engine)
            assert progress.gap_free_through_slot == node.tip()
            assert progress.final_time == node.time_of(node.tip())
        assert engine.rpc.refusals() == {}


async def test_a_clock_that_is_being_advanced_raises_no_alert(database_url):
    """Surfpool's Clock has the new time at once, but until the next slot its slot is the index in the epoch."""
    async with (
        serving(STORY) as node,
        Proxy.before(node.url) as proxy,
        engine_asking(database_url, proxy.url) as engine,
    ):
        start = int(time.time())
        node.time_of = lambda slot: start + slot // 10
        await work(engine)
        node.more_slots = 30 * 864_000
        jumps = iter([clock_of(slot=19)])
        proxy.script = lambda call: next(jumps, honest)(call) if call.method == "getAccountInfo" else None
        for _ in range(2):
            await work(engine)
        assert next(jumps, None) is None
        assert (await progress_of(engine)).final_time == node.time_of(node.tip())
        assert engine.rpc.refusals() == {}


async def test_a_node_that_lags_is_followed_by_one_at_the_tip(database_url):
    async with (
        chain_of(is_cluster=True) as node,
        engine_asking(database_url, node.url, **CLUSTER) as engine,
    ):
        now = int(time.time())
        node.time_of = lambda slot: now - 86_400 + (slot - STORY.txs[-1].slot) * 4 // 10
        await work(engine)
        node.more_slots = 200_000  # nearly a day of slots
        await work(engine)
        assert (await progress_of(engine)).gap_free_through_slot == node.tip()
        assert engine.rpc.refusals() == {}


async def test_an_old_clock_judges_no_end_of_a_vote(database_url):
    """The gateway reads the Clock sysvar: by an old one, it would accept late votes while no indexer runs."""
    async with (
        chain_of(is_cluster=True) as node,
        Proxy.before(node.url, clock_of(at=int(time.time()) - 3_600)) as proxy,
        engine_asking(database_url, proxy.url, **CLUSTER) as alone,
        engine_asking(database_url, proxy.url, node.url, **CLUSTER) as both,
    ):
        with pytest.raises(ChainError, match="behind this machine's"):
            await cached_chain_time(alone.rpc).get()
        both.rpc._rpc._attempts = 2
        assert await cached_chain_time(both.rpc).get() >= int(time.time()) - 60


async def test_where_list_and_node_disagree_about_a_slot_both_wait(database_url):
    """The gap-free slot stays below the listed slot until list and node agree."""
    moved = STORY.txs[-1]

    def other(tx):
        return tx and {**tx, "slot": tx["slot"] + 3 * (tx["transaction"]["signatures"] == [moved.signature])}

    async with (
        serving(STORY) as node,
        Proxy.before(node.url, only("getTransaction", Edit(other))) as proxy,
        engine_asking(database_url, proxy.url) as engine,
    ):
        await work(engine)
        assert (await progress_of(engine)).gap_free_through_slot == moved.slot - 1
        [waiting] = await inbox_backlog.waiting(engine.pool, -1.0)
        assert "has it in" in waiting.last_error
        proxy.script = honest
        await work(engine)
        assert (await progress_of(engine)).gap_free_through_slot == node.tip()


async def test_a_live_log_with_a_slot_beyond_a_column_ends_no_service(database_url):
    """W5: slots from the log subscription are stored as hints; one that no column can hold used to end the indexer."""
    slots = iter([2**64, 7])

    async def node(socket):
        asked = json.loads(await socket.recv())
        await socket.send(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": 1}))
        value = {"signature": STORY.txs[0].signature, "err": None, "logs": []}
        result = {"context": {"slot": next(slots)}, "value": value}
        await socket.send(
            json.dumps({"method": "logsNotification", "params": {"result": result, "subscription": 1}})
        )
        await socket.wait_closed()

    pool = await Pool.open(database_url, size=2)
    async with serve(node, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        live = asyncio.create_task(LiveLog(pool, PROGRAM, url, WakeSignal(asyncio.Event())).run())
        try:
            slot = await until(lambda: pool.fetchval("SELECT slot FROM inbox"))
            assert (slot, live.done()) == (7, False)
        finally:
            live.cancel()
            await asyncio.wait([live])
    await pool.close()


# ------------------------------------------------------------------------------------------------- another chain


foreign = only("getGenesisHash", Say(OTHER_GENESIS))


@asynccontextmanager
async def opened(database_url, first, second):
    settings = settings_of(database_url, second, helius_rpc_url=first, rpc_timeout_s=1.0)
    engine = await Engine.open(settings)
    try:
        yield engine
    finally:
        await engine.close()


async def test_an_endpoint_of_another_chain_is_never_used_and_named(database_url):
    """With devnet as the second URL, every transaction of mainnet would count as absent."""
    async with serving(STORY) as node, Proxy.before(node.url, foreign) as proxy:
        settings = settings_of(database_url, proxy.url, helius_rpc_url=node.url, rpc_timeout_s=1.0)
        indexer = await Indexer.open(settings)
        engine = indexer._engine
        try:
            await work(engine)
            assert (await progress_of(engine)).gap_free_through_slot == node.tip()
            with pytest.raises(ChainError, match="another chain"):
                await absence.unknown(engine.witnesses, key(41) + key(42))
            await Maintenance(engine, 0).run_once()
            [alert] = await alerts.open_alerts(engine.pool)
            assert (alert.key, OTHER_GENESIS in alert.message) == ("rpc-refused:indexer", True)
            named = (await indexer.readiness()).details["rpc_refused"]
            assert OTHER_GENESIS in named[f"The RPC at 127.0.0.1:{proxy.url.rpartition(':')[2]}"]
            assert set(proxy.calls) == {"getGenesisHash"}
            proxy.script = honest
            await absence.unknown(engine.witnesses, key(41) + key(42))
            await Maintenance(engine, 0).run_once()
            assert (await alerts.open_alerts(engine.pool), engine.rpc.refusals()) == ([], {})
        finally:
            await engine.close()


async def test_an_index_goes_on_with_the_endpoint_of_its_own_chain(database_url):
    async with serving(STORY) as node, Proxy.before(node.url) as proxy:
        async with opened(database_url, node.url, proxy.url) as engine:
            await work(engine)
        proxy.script = foreign
        async with opened(database_url, proxy.url, node.url) as engine:
            before = sum(proxy.calls.values()) - proxy.calls["getGenesisHash"]
            await work(engine)
            assert sum(proxy.calls.values()) - proxy.calls["getGenesisHash"] == before
            assert (await progress_of(engine)).genesis_hash == GENESIS
        other = Proxy.before(node.url, foreign)
        async with other as second:
            with pytest.raises(ConfigError, match="genesis"):
                async with opened(database_url, proxy.url, second.url):
                    pass


async def test_an_endpoint_that_changes_its_chain_is_noticed_before_it_proves_anything(database_url):
    """The node behind a load balancer's URL may change."""
    invented = key(41) + key(42)
    async with (
        serving(STORY) as node,
        Proxy.before(node.url) as proxy,
        engine_asking(database_url, node.url, proxy.url) as engine,
    ):
        node.shown = STORY.txs[:2]
        await engine.scanner.scan()
        await inbox.store(engine.pool, "webhook", [inbox.Hint(invented, 5, None)])
        await settle(engine)
        node.more_slots = 2_000
        proxy.script = foreign
        for _ in range(3):
            await work(engine)
        state = "SELECT state FROM inbox WHERE signature = $1"
        assert await engine.pool.fetchval(state, invented) == "pending"
        proxy.script = honest
        await work(engine)
        assert await engine.pool.fetchval(state, invented) == "absent"


async def test_an_endpoint_that_comes_back_as_another_chain_is_not_used(database_url):
    async with (
        serving(STORY) as node,
        Proxy.before(node.url) as proxy,
        engine_asking(database_url, proxy.url) as engine,
    ):
        await work(engine)
        proxy.script = lambda call: Refuse(-32603, "restarting")
        with pytest.raises(ChainError, match="restarting"):
            await engine.scanner.scan()
        proxy.script = foreign
        calls = proxy.calls["getSlot"]
        with pytest.raises(ChainError, match="another chain"):
            await engine.scanner.scan()
        assert proxy.calls["getSlot"] == calls


# -------------------------------------------------------------------------------------------------------- forks


def naming_only(tx):
    """Return the transaction as on a fork on which it names the program but does not call it."""
    told = msgspec.json.decode(tx.raw(with_index=False))
    message, caller = told["transaction"]["message"], key(40)
    message["accountKeys"].append(caller)
    message["instructions"] = [
        {"programIdIndex": len(message["accountKeys"]) - 1, "accounts": [1], "data": "", "stackHeight": None}
    ]
    told["meta"]["logMessages"] = [f"Program {caller} invoke [1]", f"Program {caller} success"]
    return told


def empty(tx):
    """Return the transaction with the same call, but without the program's events."""
    told = msgspec.json.decode(tx.raw(with_index=False))
    told["meta"]["logMessages"] = [
        line for line in told["meta"]["logMessages"] if not line.startswith("Program data:")
    ]
    return told


@pytest.mark.parametrize("moved", [0, 3], ids=["in the same slot", "in another slot"])
@pytest.mark.parametrize("first", [naming_only, empty])
async def test_what_was_not_ours_on_one_fork_is_folded_when_the_other_makes_it_ours(
    database_url, first, moved
):
    late = next(tx for tx in reversed(STORY.txs) if tx.err is None and tx.events)
    txs = [tx for tx in STORY.txs if tx.slot <= late.slot]
    async with serving(STORY) as node, engine_asking(database_url, node.url) as engine:
        node.shown, node.final_slot = txs, 0
        node.raws[late.signature] = msgspec.json.encode(first(late))
        await work(engine)
        count = "SELECT count(*) FROM chain_events WHERE signature = $1"
        assert await engine.pool.fetchval(count, late.signature) == 0
        assert (await progress_of(engine)).gap_free_through_slot < late.slot
        node.raws.clear()
        landed = type(late)(late.signature, late.slot + moved, late.index, late.events)
        node.shown = [landed if tx is late else tx for tx in txs]
        node.final_slot = None
        for _ in range(3):
            await work(engine)
        assert await engine.pool.fetchval(count, late.signature) == len(late.events)
        assert (await progress_of(engine)).gap_free_through_slot == node.tip()


async def test_what_a_hint_named_and_seemed_not_to_be_ours_is_read_again_when_the_chain_lists_it(
    database_url,
):
    late = STORY.txs[-1]
    told = naming_only(late)
    told["transaction"]["message"]["accountKeys"][1] = key(43)
    async with serving(STORY) as node, engine_asking(database_url, node.url) as engine:
        node.shown = STORY.txs[:-1]
        node.raws[late.signature] = msgspec.json.encode(told)
        await inbox.store(engine.pool, "logs", [inbox.Hint(late.signature, late.slot, None)])
        await settle(engine)
        state = "SELECT state FROM inbox WHERE signature = $1"
        assert await engine.pool.fetchval(state, late.signature) == "done"
        node.shown = STORY.txs
        await work(engine)
        assert await engine.pool.fetchval(state, late.signature) == "pending", (
            "the node contradicts its own list"
        )
        assert (await progress_of(engine)).gap_free_through_slot < late.slot
        node.raws.clear()
        await work(engine)
        assert (await progress_of(engine)).gap_free_through_slot == node.tip()


async def test_what_only_names_the_program_holds_nothing_up(database_url):
    late = STORY.txs[-1]
    async with serving(STORY) as node, engine_asking(database_url, node.url) as engine:
        node.raws[late.signature] = msgspec.json.encode(naming_only(late))
        await work(engine)
        assert (await progress_of(engine)).gap_free_through_slot == node.tip()
        assert await engine.pool.fetchval("SELECT count(*) FROM inbox") == 0
        assert late.signature not in str(without_lone_places(await tables(database_url)))


async def test_what_a_node_shows_of_a_fork_that_the_index_has_passed_waits_until_it_is_final(database_url):
    """A2, INV-10: a node that is behind returns a transaction of an abandoned fork, in a slot that is already complete.

    The simulator found this with the seed 1020.
    """
    late = next(tx for tx in reversed(STORY.txs[:-1]) if tx.err is None and tx.events)
    count, state = (
        "SELECT count(*) FROM chain_events WHERE signature = $1",
        "SELECT last_error FROM inbox WHERE signature = $1",
    )
    async with serving(STORY) as node, engine_asking(database_url, node.url) as engine:
        node.shown = [tx for tx in STORY.txs if tx is not late]
        await work(engine)
        through = (await progress_of(engine)).gap_free_through_slot
        assert through == node.tip() > late.slot
        node.raws[late.signature] = late.raw()
        await inbox.store(engine.pool, "logs", [inbox.Hint(late.signature, late.slot, None)])
        await settle(engine)
        assert await engine.pool.fetchval(count, late.signature) == 0
        assert "it must be final there" in await engine.pool.fetchval(state, late.signature)
        node.shown = STORY.txs
        await engine.pool.execute("UPDATE inbox SET next_attempt_at = now()")
        await settle(engine)
        assert await engine.pool.fetchval(count, late.signature) == len(late.events)
