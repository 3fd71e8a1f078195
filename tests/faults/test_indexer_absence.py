"""Transactions that the RPC cannot return are requested without limit; only a proven absence ends that."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from prometheus_client import REGISTRY

from kit.chain_story import PROGRAM, Story, Tx, key
from kit.indexer import (
    again,
    deliver,
    deliver_raw,
    engine_asking,
    engine_on,
    settle,
    tables,
    without_lone_places,
)
from kit.rpc_proxy import MUTE, Body, Call, Edit, Proxy, Refuse, Say, honest
from kit.story_node import StoryNode, serving
from zmart.chain import absence
from zmart.chain.rpc import Rpc
from zmart.chain.rpc_errors import TransientRpcError
from zmart.chain.slot_bounds import PUBLIC_CLUSTERS
from zmart.errors import ChainError
from zmart.services.indexer.backfill import backfill
from zmart.services.indexer.maintenance import Maintenance
from zmart.services.indexer.service import _why_not_ready
from zmart.store import alerts, inbox, inbox_backlog, index_progress

DEVNET = next(genesis for genesis, name in PUBLIC_CLUSTERS.items() if name == "devnet")
STORY = Story(23, markets=1, trades=4)
SOME = 11
"""Attempts in a test: more than the ten after which an earlier version gave up."""
FIRST_SLOT = STORY.txs[0].slot
CALLER = key(40)


async def through(engine):
    return (await index_progress.read(engine.pool)).gap_free_through_slot


async def states(engine):
    return {
        row["signature"]: row["state"]
        for row in await engine.pool.fetch("SELECT signature, state FROM inbox")
    }


async def truth(database_url):
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        await engine.scanner.scan()
        await settle(engine)
    return without_lone_places(await tables(database_url))


def only(method, fault):
    return lambda call: fault if call.method == method else None


UNREADABLE = {
    **MUTE,
    "version": Refuse(-32015, "Transaction version (1) is not supported by the requesting client"),
    "null, although listed": Say(None),
    "another shape": Say({"slot": "x"}),
    "no transaction": Say({"slot": FIRST_SLOT, "transaction": ["AAAA", "base64"], "meta": None}),
}


async def test_what_the_chain_lists_and_the_rpc_cannot_give_is_asked_for_again_for_ever(database_url):
    """W1, W3, C13, C24, I1: every kind of answer without the transaction leaves it pending."""
    async with (
        serving(STORY) as node,
        Proxy.before(node.url) as proxy,
        engine_asking(database_url, proxy.url) as engine,
    ):
        node.shown = STORY.txs[:2]
        await engine.scanner.scan()
        await engine.pool.execute("UPDATE inbox SET received_at = now() - interval '2 min'")
        given_up = set()
        for name, fault in UNREADABLE.items():
            proxy.script = only("getTransaction", fault)
            await again(engine)
            await settle(engine)
            if set((await states(engine)).values()) != {"pending"} or await through(engine) != FIRST_SLOT - 1:
                given_up.add(name)
            depth, progress = await inbox_backlog.depth(engine.pool), await index_progress.read(engine.pool)
            assert f"({depth.oldest_error})" in _why_not_ready(progress, depth, 1, "")
        assert given_up == set()
        await Maintenance(engine, 0).run_once()
        [alert] = await alerts.open_alerts(engine.pool)
        assert (alert.key, depth.oldest_error in alert.message) == ("index-unreadable", True)
        proxy.script = honest
        for _ in range(2):
            await again(engine)
            await settle(engine)
        await Maintenance(engine, 0).run_once()
        assert (await alerts.open_alerts(engine.pool), await states(engine)) == ([], {})
        assert await through(engine) == node.tip()


async def test_what_was_listed_and_left_the_chain_before_it_was_read_holds_nothing_up(database_url):
    """C13, W3: two lists that pass its slot without naming it prove its absence; a node's "null" alone does not."""
    gone = next(tx for tx in STORY.txs[2:] if tx.slot > STORY.txs[1].slot)
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.shown = [tx for tx in STORY.txs if tx.slot <= gone.slot]
        node.withheld = {gone.signature}
        await engine.scanner.scan()
        node.more_slots = 2 * absence.LONG_FINAL_SLOTS
        for _ in range(SOME):
            await again(engine)
            await settle(engine)
        assert await states(engine) == {gone.signature: "pending"}, "the chain still lists it"
        node.shown = [tx for tx in node.shown if tx is not gone]
        for _ in range(2):
            assert gone.signature in await states(engine)
            assert await through(engine) < gone.slot
            await again(engine)
            await settle(engine)
        await engine.scanner.scan()
        assert (await states(engine), await through(engine)) == ({}, node.tip())


def called_by_another(tx):
    """Return a transaction in which another program calls ours: whole, with inner instructions, and without them."""
    reported = msgspec.json.decode(tx.raw(with_index=False))
    message, meta = reported["transaction"]["message"], reported["meta"]
    message["accountKeys"].append(CALLER)
    inner = [{**each, "stackHeight": 2} for each in message["instructions"]]
    outer = {"accounts": [], "data": "", "stackHeight": None}
    message["instructions"] = [{**outer, "programIdIndex": len(message["accountKeys"]) - 1}]
    lines = [line.replace("invoke [1]", "invoke [2]") for line in meta["logMessages"]]
    meta["logMessages"] = [f"Program {CALLER} invoke [1]", *lines, f"Program {CALLER} success"]
    whole = {**reported, "meta": {**meta, "innerInstructions": [{"index": 0, "instructions": inner}]}}
    return whole, {**reported, "meta": {**meta, "innerInstructions": None}}


UNSHOWN = {
    "null": {"innerInstructions": None},
    "null, no log": {"innerInstructions": None, "logMessages": None},
    "empty list": {"innerInstructions": []},
    "list of another": {
        "innerInstructions": [
            {
                "index": 0,
                "instructions": [{"programIdIndex": 0, "accounts": [], "data": "", "stackHeight": 2}],
            }
        ]
    },
}
"""What a node returns in place of the inner instructions among which is a call of the program."""


@pytest.mark.parametrize("unshown", UNSHOWN)
async def test_calls_that_a_node_does_not_show_are_not_taken_for_none(database_url, unshown):
    """I5, W3: another program calls ours, and the node returns no inner instructions, or only some of them."""
    whole, hidden = called_by_another(STORY.txs[0])
    hidden["meta"] |= UNSHOWN[unshown]
    signature = STORY.txs[0].signature
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.raws[signature] = msgspec.json.encode(hidden)
        for _ in range(SOME):
            await engine.scanner.scan()
            await again(engine)
            await settle(engine)
        assert await states(engine) == {signature: "pending"}
        assert await through(engine) == FIRST_SLOT - 1
        node.raws[signature] = msgspec.json.encode(whole)
        await again(engine)
        await settle(engine)
        assert (await states(engine), await through(engine)) == ({}, node.tip())
        result = await engine.pool.fetchval(
            "SELECT event_count FROM chain_transactions WHERE signature = $1", signature
        )
        assert result == len(STORY.txs[0].events)


async def test_a_list_by_a_node_that_is_behind_the_others_completes_nothing(database_url):
    """P1, W3: one URL stands for many nodes, and the node that lists has not reached the others' final slot."""
    behind = STORY.txs[-3].slot

    def balanced(call):
        if call.method != "getSignaturesForAddress":
            return None
        if call.params[1].get("minContextSlot", 0) > behind:
            return Refuse(-32016, "Minimum context slot has not been reached")
        return Edit(lambda lines: [line for line in lines if line["slot"] <= behind])

    async with (
        serving(STORY) as node,
        Proxy.before(node.url, balanced) as proxy,
        engine_asking(database_url, proxy.url) as engine,
    ):
        with pytest.raises(TransientRpcError):
            await engine.scanner.scan()
        await settle(engine)
        assert await through(engine) <= behind
        proxy.script = honest
        await engine.scanner.scan()
        await settle(engine)
        assert await through(engine) == node.tip()


def partly_hidden(tx, *, truncated):
    """Return a transaction whole, and as a node shows it that hides one of its two calls of the program."""
    reported = msgspec.json.decode(tx.raw(with_index=False))
    message, meta = reported["transaction"]["message"], reported["meta"]
    message["accountKeys"].append(CALLER)
    inner = [{**each, "stackHeight": 2} for each in message["instructions"]]
    shown = {"accounts": [], "data": "", "stackHeight": None}
    outer = {**shown, "programIdIndex": len(message["accountKeys"]) - 1}
    message["instructions"] = [outer, {**shown, "programIdIndex": 1}]
    own = [f"Program {PROGRAM.address} invoke [1]", f"Program {PROGRAM.address} success"]
    lines = [line.replace("invoke [1]", "invoke [2]") for line in meta["logMessages"]]
    meta["logMessages"] = [f"Program {CALLER} invoke [1]", *lines, f"Program {CALLER} success", *own]
    whole = {**reported, "meta": {**meta, "innerInstructions": [{"index": 0, "instructions": inner}]}}
    cut = {"logMessages": [*meta["logMessages"][:1], "Log truncated"]} if truncated else {}
    hidden = {**reported, "meta": {**meta, "innerInstructions": None, **cut}}
    return msgspec.json.encode(whole), msgspec.json.encode(hidden)


CREATED = next(tx for tx in STORY.txs if tx.calls)


@pytest.mark.parametrize("logs", ["kept", "truncated"])
async def test_calls_that_a_node_hides_beside_those_that_it_shows_are_waited_for(database_url, logs):
    """I5, W3: one instruction calls our program, another program's does, too, and the node shows only the first."""
    whole, hidden = partly_hidden(CREATED, truncated=logs == "truncated")
    expected = await truth(database_url)
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        await engine.pool.execute("DELETE FROM chain_transactions WHERE signature = $1", CREATED.signature)
        await engine.pool.execute("DELETE FROM chain_events WHERE signature = $1", CREATED.signature)
        node.raws[CREATED.signature] = hidden
        await inbox.store(engine.pool, "scan", [inbox.Hint(CREATED.signature, CREATED.slot, None)])
        await settle(engine)
        assert await states(engine) == {CREATED.signature: "pending"}
        node.raws[CREATED.signature] = whole
        await again(engine)
        await settle(engine)
    assert without_lone_places(await tables(database_url)) == expected


def wholly_hidden(tx):
    whole, hidden = called_by_another(tx)
    hidden["meta"]["innerInstructions"] = []
    return msgspec.json.encode(whole), msgspec.json.encode(hidden)


@pytest.mark.parametrize("logs", ["kept", "truncated", "kept, empty list"])
async def test_a_node_that_hides_calls_does_not_make_a_delivery_false(database_url, logs):
    """I5, A2: what the RPC does not show is no reason to withdraw what the webhook has told."""
    whole, hidden = (
        wholly_hidden(CREATED)
        if logs == "kept, empty list"
        else partly_hidden(CREATED, truncated=logs == "truncated")
    )
    earlier = STORY.txs[: STORY.txs.index(CREATED)]
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.raws[CREATED.signature] = hidden
        await deliver(engine, earlier)
        await deliver_raw(engine, [whole])
        assert await engine.pool.fetchval("SELECT count(*) FROM false_deliveries") == 0
        assert await engine.pool.fetchval("SELECT count(*) FROM unconfirmed_transactions") == 1
        node.raws[CREATED.signature] = whole
        await engine.pool.execute("UPDATE unconfirmed_transactions SET next_attempt_at = now()")
        await settle(engine)
        assert await engine.pool.fetchval("SELECT count(*) FROM unconfirmed_transactions") == 0
        assert await engine.pool.fetchval("SELECT question_cid FROM markets")


def without_data_lines(tx):
    reported = msgspec.json.decode(tx.raw(with_index=False))
    lines = reported["meta"]["logMessages"]
    reported["meta"]["logMessages"] = [line for line in lines if not line.startswith("Program data: ")]
    return msgspec.json.encode(reported)


async def test_a_log_without_the_event_that_an_instruction_always_emits_is_not_complete(database_url):
    """I5, W3: a node leaves out the lines `Program data:`; the log shows that the program ran, and no event."""
    expected = await truth(database_url)
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        await engine.pool.execute("DELETE FROM chain_transactions WHERE signature = $1", CREATED.signature)
        await engine.pool.execute("DELETE FROM chain_events WHERE signature = $1", CREATED.signature)
        node.raws[CREATED.signature] = without_data_lines(CREATED)
        await inbox.store(engine.pool, "scan", [inbox.Hint(CREATED.signature, CREATED.slot, None)])
        for _ in range(3):
            await again(engine)
            await settle(engine)
        assert await states(engine) == {CREATED.signature: "pending"}, (
            "the market's account is not there, either"
        )
        del node.raws[CREATED.signature]
        await inbox.store(
            engine.pool, "webhook", [inbox.Hint(CREATED.signature, CREATED.slot, CREATED.raw())]
        )
        await engine.pool.execute("UPDATE inbox SET payload = NULL")
        await again(engine)
        await settle(engine)
    assert without_lone_places(await tables(database_url)) == expected


async def test_a_delivery_without_the_event_that_an_instruction_always_emits_is_not_folded(database_url):
    """A2, I5: the webhook's provider, or a sender who knows its secret, leaves out the lines `Program data:`."""
    earlier = STORY.txs[: STORY.txs.index(CREATED)]
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        await deliver(engine, earlier)
        await deliver_raw(engine, [without_data_lines(CREATED)])
        assert await engine.pool.fetchval("SELECT question_cid FROM markets"), "read from our own RPC"
        assert await engine.pool.fetchval("SELECT count(*) FROM false_deliveries") == 0


def unable_to_continue(node, behind):
    """Let a node that has reached slot `behind` list what follows the first page, as Agave does: it does not know the
    transaction before which the list continues."""

    def balanced(call):
        if call.method != "getSignaturesForAddress" or "before" not in call.params[1]:
            return None
        if call.params[1].get("minContextSlot", 0) > behind:
            return Refuse(-32016, "Minimum context slot has not been reached")
        slots = {tx.signature: tx.slot for tx in node.shown}
        return Say([]) if slots[call.params[1]["before"]] > behind else None

    return balanced


async def test_a_node_that_cannot_continue_the_list_of_another_does_not_end_it(database_url):
    """P1, W3: one URL stands for many nodes; the one that is behind has reached the final slot, but not the page's."""
    behind = STORY.txs[-6].slot
    async with (
        serving(STORY) as node,
        Proxy.before(node.url, unable_to_continue(node, behind)) as proxy,
        engine_asking(database_url, proxy.url) as engine,
    ):
        node.final_slot, node.longest_page = behind, 3
        with pytest.raises(TransientRpcError):
            await engine.scanner.scan()
        await settle(engine)
        assert await through(engine) < FIRST_SLOT
        proxy.script = honest
        await engine.scanner.scan()
        await settle(engine)
        assert await through(engine) == behind
        assert await engine.pool.fetchval("SELECT count(*) FROM chain_transactions") == len(STORY.txs)


async def test_a_list_whose_last_transaction_left_the_chain_has_not_ended(database_url):
    """P1: a node that has dropped the transaction before which the list continues lists nothing."""
    dropped = STORY.txs[-3]

    def drops_it(call):
        is_after = call.method == "getSignaturesForAddress" and "before" in call.params[1]
        return Say([]) if is_after else None

    async with (
        serving(STORY) as node,
        Proxy.before(node.url, drops_it) as proxy,
        engine_asking(database_url, proxy.url) as engine,
    ):
        node.final_slot, node.longest_page, node.withheld = STORY.txs[-6].slot, 3, {dropped.signature}
        with pytest.raises(ChainError, match=dropped.signature):
            await engine.scanner.scan()
        node.withheld, proxy.script = set(), honest
        await engine.scanner.scan()
        assert await engine.pool.fetchval("SELECT count(*) FROM inbox") == len(STORY.txs)


async def test_a_backfill_by_a_node_that_is_behind_is_not_over(database_url):
    behind, low, high = STORY.txs[-2].slot - 1, STORY.txs[5].slot, STORY.txs[-4].slot
    inside = [tx for tx in STORY.txs if low <= tx.slot <= high]
    async with (
        serving(STORY) as node,
        Proxy.before(node.url, honest) as proxy,
        engine_asking(database_url, proxy.url) as engine,
    ):
        node.shown = [tx for tx in STORY.txs if tx not in inside]
        await engine.scanner.scan()
        await settle(engine)
        node.shown = list(STORY.txs)
        proxy.script = unable_to_continue(node, min(behind, high))
        with pytest.raises(TransientRpcError):
            await backfill(engine, low, high)
        proxy.script = honest
        assert (await backfill(engine, low, high)).new_count == len(inside)


def later(tx, slot):
    return Tx(tx.signature, slot, tx.index, tx.events)


@pytest.mark.parametrize("from_slot", [None, FIRST_SLOT + 600])
async def test_a_node_whose_history_is_shorter_than_the_downtime_completes_nothing(database_url, from_slot):
    """P1: after a long stop the RPC that answers may keep only the newest transactions; its list ends where they do."""
    *before, missed, newest = STORY.txs
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.shown, node.more_slots = before, 700
        await engine.scanner.scan()
        await settle(engine)
        await engine.finality.check()
        reached = await through(engine)
        missed, newest = later(missed, reached + 5_000), later(newest, reached + 10_000)
        node.shown = [newest]
        for _ in range(2):
            with pytest.raises(ChainError, match="too little history"):
                if from_slot is None:
                    await engine.scanner.scan()
                else:
                    await backfill(engine, from_slot, reached + 20_000)
            await settle(engine)
            assert await through(engine) == reached
        node.shown = [*before, missed, newest]
        await engine.scanner.scan()
        await settle(engine)
        assert await engine.pool.fetchval("SELECT count(*) FROM chain_transactions") == len(STORY.txs)


@pytest.mark.parametrize("in_one_slot", [1, 4, 12])
async def test_a_list_meets_what_is_known_however_many_transactions_a_slot_has(database_url, in_one_slot):
    """A scan meets transactions that it knows, and does not ask for all that the program ever had."""
    story = Story(24, markets=1, trades=40)
    slot = story.txs[-in_one_slot].slot
    crowd = [Tx(tx.signature, slot, n, tx.events, tx.err) for n, tx in enumerate(story.txs[-in_one_slot:])]
    txs = [*story.txs[:-in_one_slot], *crowd]
    async with (
        serving(story) as node,
        Proxy.before(node.url, honest) as proxy,
        engine_asking(database_url, proxy.url) as engine,
    ):
        node.shown, node.more_slots = txs, 700
        await engine.scanner.scan()
        await settle(engine)
        await engine.finality.check()
        asked = []

        def watching(call):
            if call.method == "getSignaturesForAddress":
                asked.append(call.params[1].get("until"))

        proxy.script = watching
        for _ in range(2):
            await engine.scanner.scan()
        assert {tx.slot for tx in txs if tx.signature in asked} <= set(range(slot))
        assert None not in asked


async def test_an_rpc_that_takes_the_least_slot_for_a_filter_is_not_trusted(database_url):
    """W3: an RPC that lists only slots from minContextSlot on would list nothing, and the index would look complete."""

    def filtering(call):
        if call.method != "getSignaturesForAddress":
            return None
        least = call.params[1].get("minContextSlot", 0)
        return Edit(lambda lines: [line for line in lines if line["slot"] >= least])

    async with (
        serving(STORY) as node,
        Proxy.before(node.url, filtering) as proxy,
        engine_asking(database_url, proxy.url) as engine,
    ):
        with pytest.raises(ChainError, match="minContextSlot"):
            await engine.scanner.scan()
        assert await through(engine) < FIRST_SLOT


@asynccontextmanager
async def serving_devnet(story: Story) -> AsyncIterator[StoryNode]:
    """Serve the story as a node of a public cluster, of which many are behind one URL."""
    async with serving(story) as node:
        node.genesis = DEVNET
        node.time_of = lambda _slot: int(time.time()) - 10
        yield node


def ignoring_the_least_slot(node, behind):
    """Let an RPC answer lists, whatever slot they require, from a node that has reached slot `behind`."""

    def script(call):
        if call.method != "getSignaturesForAddress":
            return None
        options = {name: value for name, value in call.params[1].items() if name != "minContextSlot"}
        lines = msgspec.json.decode(node.getSignaturesForAddress(call.params[0], options))
        return Say([line for line in lines if line["slot"] <= behind])

    return script


async def test_an_rpc_that_ignores_the_least_slot_completes_nothing(database_url):
    """P1, W3: the list of a node that is behind for longer than a scan repeats would have counted as complete."""
    behind = STORY.txs[-3].slot
    async with (
        serving_devnet(STORY) as node,
        Proxy.before(node.url) as proxy,
        engine_asking(database_url, proxy.url, genesis=DEVNET) as engine,
    ):
        proxy.script = ignoring_the_least_slot(node, behind)
        for node.more_slots in (0, 200):
            with pytest.raises(ChainError, match=r"ignores minContextSlot .* Name an RPC that honours it"):
                await engine.scanner.scan()
            with pytest.raises(ChainError, match="ignores minContextSlot"):
                await backfill(engine, FIRST_SLOT, STORY.txs[-1].slot)
            await settle(engine)
            assert await engine.pool.fetchval("SELECT count(*) FROM chain_transactions"), (
                "what it lists is indexed"
            )
            assert await through(engine) < FIRST_SLOT
        await engine.scanner._scan_then_pause()
        assert "ignores minContextSlot" in engine.scanner.trouble, "/ready says so"
        proxy.script = honest
        await engine.scanner.scan()
        await settle(engine)
        assert await engine.pool.fetchval("SELECT count(*) FROM chain_transactions") == len(STORY.txs)
        assert await through(engine) == node.tip()


async def test_the_rpc_of_a_chain_with_one_node_may_ignore_the_least_slot(database_url):
    """Such a node, for example a plain Surfpool, cannot lag behind itself."""
    async with (
        serving(STORY) as node,
        Proxy.before(node.url) as proxy,
        engine_asking(database_url, proxy.url) as engine,
    ):
        proxy.script = ignoring_the_least_slot(node, node.tip())
        await engine.scanner.scan()
        await settle(engine)
        assert await through(engine) == node.tip()


@pytest.mark.parametrize("order", ["first", "second"])
async def test_every_endpoint_must_honour_the_least_slot(database_url, order):
    """P1: whichever of the URLs answers the list; one that does not answer at all holds nothing up."""
    async with (
        serving_devnet(STORY) as node,
        Proxy.before(node.url) as good,
        Proxy.before(node.url) as other,
    ):
        urls = (good.url, other.url) if order == "second" else (other.url, good.url)
        async with engine_asking(database_url, *urls, genesis=DEVNET) as engine:
            other.script = ignoring_the_least_slot(node, STORY.txs[-3].slot)
            with pytest.raises(ChainError, match=f"{other.url[-5:]} ignores minContextSlot"):
                await engine.scanner.scan()
            assert (await index_progress.read(engine.pool)).listed_through_slot < FIRST_SLOT
            other.script = only("getSignaturesForAddress", MUTE["402"])
            if order == "first":
                with pytest.raises(TransientRpcError):  # the only attempt of this test's client
                    await engine.scanner.scan()
            await engine.scanner.scan()
            await settle(engine)
            assert await through(engine) == node.tip()


async def test_a_list_completes_nothing_before_the_rpc_has_shown_that_it_honours_the_least_slot(database_url):
    """W3: an answer that is no answer proves nothing, either."""

    def quiet(call):
        is_probe = (
            call.method == "getSignaturesForAddress" and call.params[1].get("minContextSlot", 0) > 2**32
        )
        return MUTE["429 inside"] if is_probe else None

    async with (
        serving(STORY) as node,
        Proxy.before(node.url, quiet) as proxy,
        engine_asking(database_url, proxy.url) as engine,
    ):
        with pytest.raises(ChainError, match="has not shown yet"):
            await engine.scanner.scan()
        proxy.script = honest
        await engine.scanner.scan()
        await settle(engine)
        assert await through(engine) == node.tip()


async def test_pauses_grow_to_a_minute_and_no_further(database_url):
    async with (
        serving(STORY) as node,
        Proxy.before(node.url, only("getTransaction", Refuse(-32015, "version"))) as proxy,
        engine_asking(database_url, proxy.url) as engine,
    ):
        await inbox.store(engine.pool, "scan", [inbox.Hint(STORY.txs[0].signature, FIRST_SLOT, None)])
        pauses = []
        for attempts in (0, 2, 3, 9, 11, 5_000):
            await engine.pool.execute("UPDATE inbox SET attempts = $1, next_attempt_at = now()", attempts)
            await engine.fetcher.turn()
            pauses.append(round(await inbox.next_due_s(engine.pool, has_payload=False), 1))
        assert pauses == pytest.approx([0.05, 0.2, 0.4, 25.6, 60, 60], abs=0.3)


INVENTED = {
    "in a slot long past": 5,
    "without a slot": None,
    "in a slot that has just come": FIRST_SLOT,
    "in a slot to come": 10**4,
    "in a slot that never comes": 10**12,
}


@pytest.mark.parametrize("claimed", INVENTED.values(), ids=INVENTED)
async def test_a_signature_that_nobody_has_ages_out_quietly(database_url, claimed):
    """W5b: a hint without a transaction delays nothing and raises no alert; it is absent once its slot has passed."""
    invented = key(41) + key(42)
    counted = REGISTRY.get_sample_value("zmart_indexer_absent_transactions_total")
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.shown = STORY.txs[:2]
        await engine.scanner.scan()
        await settle(engine)
        await inbox.store(engine.pool, "webhook", [inbox.Hint(invented, claimed, None)])
        await engine.pool.execute("UPDATE inbox SET received_at = now() - interval '2 min'")
        for _ in range(SOME):
            await again(engine)
            await engine.scanner.scan()
            await settle(engine)
        depth, progress = await inbox_backlog.depth(engine.pool), await index_progress.read(engine.pool)
        assert await states(engine) == {invented: "pending"}, "the chain has not gone on"
        assert (depth.pending, depth.unproven, depth.dead) == (0, 1, 0)
        assert _why_not_ready(progress, depth, 1, "") == ""
        assert await through(engine) == node.tip()
        await Maintenance(engine, 0).run_once()
        assert await alerts.open_alerts(engine.pool) == []
        node.more_slots += max(claimed or 0, node.tip()) + 200 if claimed != 10**12 else 200
        await engine.scanner.scan()
        for _ in range(2):
            await again(engine)
            await settle(engine)
        assert await states(engine) == {invented: "absent"}
        assert REGISTRY.get_sample_value("zmart_indexer_absent_transactions_total") == counted + 1
        assert await through(engine) == node.tip()
        await inbox.store(engine.pool, "webhook", [inbox.Hint(invented, claimed, None)])
        assert await engine.fetcher.turn() == 0, "a repeated hint does not begin again"


async def test_a_hint_in_a_slot_that_is_not_listed_yet_holds_the_gap_free_slot(database_url):
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        await engine.scanner.scan()
        await settle(engine)
        coming = node.tip() + 3
        await inbox.store(engine.pool, "logs", [inbox.Hint(key(41) + key(42), coming, None)])
        node.more_slots, node.final_slot = 20, coming - 1
        await engine.scanner.scan()
        await settle(engine)
        assert await through(engine) == coming - 1
        node.final_slot = None
        await engine.scanner.scan()
        await settle(engine)
        assert await through(engine) == node.tip(), (
            "complete and final through its slot, the list does not name it"
        )


async def test_what_was_given_up_comes_back_when_the_chain_lists_it(database_url):
    late = STORY.txs[-1]
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.shown = STORY.txs[:-1]
        await inbox.store(engine.pool, "webhook", [inbox.Hint(late.signature, None, None)])
        await engine.scanner.scan()
        await settle(engine)
        await engine.pool.execute("UPDATE inbox SET state = 'absent', settled_at = now() WHERE slot IS NULL")
        node.shown = STORY.txs
        assert await engine.scanner.scan() == 0
        await settle(engine)
        assert await states(engine) == {}
    assert without_lone_places(await tables(database_url)) == await truth(database_url)


@pytest.mark.parametrize(
    "second",
    [
        Refuse(-32603, "Internal error"),
        Refuse(-32015, "version"),
        Body("{}"),
        Say({"slot": 5, "meta": {"err": None}}),
    ],
)
async def test_one_endpoint_alone_proves_no_absence(database_url, second):
    """W5b: while a second endpoint gives no proper answer, a hint without a transaction stays pending."""
    invented = key(41) + key(42)
    async with (
        serving(STORY) as node,
        Proxy.before(node.url, only("getTransaction", second)) as other,
        engine_asking(database_url, node.url, other.url) as engine,
    ):
        node.shown = STORY.txs[:2]
        await engine.scanner.scan()
        await inbox.store(engine.pool, "webhook", [inbox.Hint(invented, 5, None)])
        await settle(engine)
        node.more_slots = 2_000
        await engine.scanner.scan()
        for _ in range(3):
            await again(engine)
            await settle(engine)
        assert await states(engine) == {invented: "pending"}
        other.script = honest
        await again(engine)
        await settle(engine)
        assert await states(engine) == {invented: "absent"}


async def test_a_node_that_is_behind_proves_no_absence():
    def behind(call: Call):
        return (
            Say({"context": {"slot": 7}, "value": [None]}) if call.method == "getSignatureStatuses" else None
        )

    async with serving(STORY) as node, Proxy.before(node.url, behind) as proxy, Rpc([proxy.url]) as rpc:
        with pytest.raises(TransientRpcError, match="before the final slot"):
            await absence.unknown([rpc], key(41) + key(42))
        with pytest.raises(TransientRpcError, match="before slot"):
            await absence.account([rpc], key(3), since=node.tip() + 1)


async def test_a_forged_delivery_into_a_slot_holds_up_nobody_of_that_slot(database_url):
    real = next(tx for tx in STORY.txs if tx.err is None and tx.events)
    forged = Tx(key(51) + key(52), real.slot, 0, real.events)
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        await engine.scanner.scan()
        await inbox.store(
            engine.pool, "webhook", [inbox.Hint(forged.signature, forged.slot, forged.raw(with_index=False))]
        )
        await settle(engine)
        assert await states(engine) == {forged.signature: "pending"}
        assert await through(engine) == node.tip()
    assert without_lone_places(await tables(database_url)) == await truth(database_url)
