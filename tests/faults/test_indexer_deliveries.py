"""A delivery and its content are only hints: a sender who knows the webhook's secret decides nothing (cases A2, I5)."""

from __future__ import annotations

import asyncio
import random

import httpx
import msgspec
import pytest

from kit.chain_story import Story, Tx
from kit.forgeries import EVIL, FORGERIES, honest, invented
from kit.indexer import (
    engine_on,
    settings_of,
    settle,
    tables,
    without_lone_places,
)
from kit.story_node import serving
from kit.waiting import until
from zmart.market import events as e
from zmart.market.types import VoteKind
from zmart.services.indexer.maintenance import Maintenance
from zmart.services.indexer.service import Indexer
from zmart.services.indexer.worker import BatchOutcome
from zmart.services.webhook import PATH
from zmart.store import (
    alerts,
    deliveries,
    inbox,
    inbox_backlog,
    index_progress,
    vote_judgements,
    vote_log,
    votes,
)

STORY = Story(29, markets=2, trades=8)
CALLS_IN_A_LOOP = 40


@pytest.fixture(scope="module")
def truth_once():
    return {}


@pytest.fixture
async def truth(truth_once, new_database, migrated_template):
    """Return the tables of an index that was built from the RPC alone."""
    if not truth_once:
        other = new_database(migrated_template)
        async with serving(STORY) as node, engine_on(other, node.url) as engine:
            await engine.scanner.scan()
            await settle(engine)
        truth_once.update(without_lone_places(await tables(other)))
    return truth_once


async def deliver_values(engine, values):
    """Store these elements as deliveries of a webhook and run the worker, but no other part of the indexer."""
    raws = [msgspec.json.encode(value) for value in values]
    hints = [
        inbox.Hint(value["transaction"]["signatures"][0], min(value["slot"], 2**63 - 1), raw)
        for value, raw in zip(values, raws, strict=True)
    ]
    await inbox.store(engine.pool, "webhook", hints)
    while await engine.worker.turn() is BatchOutcome.WORKED:
        pass


async def come_true(engine, node):
    """Make all waiting work due and do it, until the index is complete; AssertionError after 40 rounds."""
    open_rows = f"""SELECT (SELECT count(*) FROM inbox WHERE {inbox_backlog.IS_REAL} OR state = 'dead')
        + (SELECT count(*) FROM unconfirmed_transactions)"""
    for _ in range(CALLS_IN_A_LOOP):
        await due_now(engine)
        await settle(engine)
        await engine.scanner.scan()
        if await through(engine) == node.tip() and not await engine.pool.fetchval(open_rows):
            return
    rows = await engine.pool.fetch("SELECT signature, slot, state, listed, attempts, last_error FROM inbox")
    raise AssertionError(f"through {await through(engine)} of {node.tip()}: {[tuple(row) for row in rows]}")


async def due_now(engine):
    for table in ("inbox", "unconfirmed_transactions"):
        await engine.pool.execute(f"UPDATE {table} SET next_attempt_at = now()")


async def through(engine):
    return (await index_progress.read(engine.pool)).gap_free_through_slot


async def same_as(truth, database_url):
    result = without_lone_places(await tables(database_url))
    for name, rows in truth.items():
        assert result[name] == rows, name


async def finalized(engine):
    rows = await engine.pool.fetch("SELECT signature FROM chain_transactions WHERE finality = 'finalized'")
    return {row["signature"] for row in rows}


def victim(chance):
    return chance.choice([tx for tx in STORY.txs if tx.events])


QUIET = {"dropped_logs", "cut_log", "unfoldable", "garbage", "other_version"}


def is_folded(tx, forge):
    """Return whether a forged delivery is folded, and so named as false later: of others nothing is believed at all."""
    lacks_an_event_that_is_due = forge.__name__ == "dropped_events" and tx.calls
    return forge.__name__ not in QUIET and not lacks_an_event_that_is_due


"""Forgeries of which nothing may be folded, so that they need not be recorded as false deliveries."""
EACH = [pytest.param((forge,), id=forge.__name__, marks=pytest.mark.slow) for forge in FORGERIES]


@pytest.mark.parametrize("forgeries", [pytest.param(FORGERIES, id="together"), *EACH])
async def test_a_forged_delivery_that_comes_first_never_becomes_final(database_url, truth, forgeries):
    """Case A2: the delivery comes first; our own RPC does not know the transaction yet, then returns the true one."""
    chance = random.Random(len(forgeries))
    victims = chance.sample([tx for tx in STORY.txs if tx.events], len(forgeries))
    forged = {tx.signature: forge for tx, forge in zip(victims, forgeries, strict=True)}
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.raws = dict.fromkeys(forged)
        values = [
            forged[tx.signature](tx, STORY.txs, chance) if tx.signature in forged else honest(tx)
            for tx in STORY.txs
        ]
        await deliver_values(engine, values)
        await engine.scanner.scan()
        await settle(engine)
        await settle(engine)
        assert await through(engine) < min(tx.slot for tx in victims), "nothing shows yet what they say"
        assert not forged.keys() & await finalized(engine)
        node.raws = {}
        await come_true(engine, node)
        await same_as(truth, database_url)
        assert forged.keys() <= await finalized(engine)
        _, result = await deliveries.false_ones(engine.pool, 3600, 100)
        loud = {tx.signature for tx in victims if is_folded(tx, forged[tx.signature])}
        assert loud <= {one.signature for one in result} <= forged.keys()


@pytest.mark.parametrize("forgeries", [pytest.param(FORGERIES, id="together"), *EACH])
async def test_a_forged_delivery_that_comes_later_changes_nothing(database_url, truth, forgeries):
    """Case A2: the RPC has returned the transactions before the delivery comes."""
    chance = random.Random(len(forgeries))
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        await engine.scanner.scan()
        await engine.fetcher.turn()
        victims = chance.sample([tx for tx in STORY.txs if tx.err is None], 20)
        await deliver_values(engine, [chance.choice(forgeries)(tx, STORY.txs, chance) for tx in victims])
        await come_true(engine, node)
        await deliver_values(engine, [chance.choice(forgeries)(tx, STORY.txs, chance) for tx in victims])
        assert await engine.pool.fetchval("SELECT count(*) FROM false_deliveries") == 0
        await same_as(truth, database_url)


async def test_the_alert_names_the_delivery_and_what_differed_and_the_feed_tells_the_correction(database_url):
    """Case A2: a delivery turns one vote into forty."""
    chance = random.Random(1)
    tx = next(
        tx for tx in STORY.txs if any(isinstance(event, e.ProposalVoteSubmitted) for event in tx.events)
    )
    forty = next(forge for forge in FORGERIES if forge.__name__ == "one_vote_made_forty")
    before = STORY.txs[: STORY.txs.index(tx)]
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.shown = STORY.txs[: len(before) + 1]
        await deliver_values(engine, [*map(honest, before), forty(tx, STORY.txs, chance)])
        votes = "SELECT count(*) FROM onchain_votes WHERE signature = $1"
        assert await engine.pool.fetchval(votes, tx.signature) >= 40, "it is visible at once"
        head = await engine.pool.fetchval("SELECT head FROM feed_head")
        await settle(engine)
        assert await engine.pool.fetchval(votes, tx.signature) == 1
        rows = await engine.pool.fetch('SELECT topic, op FROM change_feed WHERE "offset" > $1', head)
        assert ("onchain_votes", "deleted") in {(row["topic"], row["op"]) for row in rows}
        await Maintenance(engine, 0).run_once()
        [alert] = [a for a in await alerts.open_alerts(engine.pool) if a.key == "index-false-deliveries"]
        assert tx.signature in alert.message
        assert "log lines, events" in alert.message


async def test_a_foreign_transaction_made_to_look_like_ours_is_taken_back(database_url, truth):
    not_ours = Tx("4" * 87, STORY.txs[-1].slot + 1, 3, [], program=EVIL)
    event = next(event for tx in STORY.txs for event in tx.events if isinstance(event, e.SharesBought))
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.shown = [*STORY.txs, not_ours]
        ours = Tx(not_ours.signature, not_ours.slot, not_ours.index, [event])
        await deliver_values(engine, [*map(honest, STORY.txs), honest(ours)])
        count = "SELECT count(*) FROM chain_events WHERE signature = $1"
        assert await engine.pool.fetchval(count, ours.signature) == 1
        await settle(engine)
        assert await engine.pool.fetchval(count, ours.signature) == 0
        await same_as(truth, database_url)
        await come_true(engine, node)


async def test_a_foreign_transaction_in_another_slot_is_taken_back_by_who_trusts_webhooks(
    database_url, truth
):
    not_ours = Tx("4" * 87, STORY.txs[-1].slot + 1, 3, [], program=EVIL)
    ours = Tx(not_ours.signature, STORY.txs[-1].slot, 200, STORY.txs[-1].events)
    async with (
        serving(STORY) as node,
        engine_on(database_url, node.url, indexer_trust_webhooks=True) as engine,
    ):
        node.shown = [*STORY.txs, not_ours]
        await deliver_values(engine, [*map(honest, STORY.txs), honest(ours)])
        await come_true(engine, node)
        await same_as(truth, database_url)


async def test_an_invented_transaction_vanishes_and_holds_nothing_up_for_long(database_url, truth):
    """Case A2: no node knows the transaction; it has events of the program, or failed, or does not name the program."""
    chance = random.Random(5)
    known = invented(STORY.txs, chance)
    failed_one = invented(STORY.txs, chance)
    failed_one["meta"]["err"] = {"x": 1}
    not_ours = msgspec.json.decode(
        msgspec.json.encode(invented(STORY.txs, chance)).replace(STORY.txs[0].program.encode(), EVIL.encode())
    )
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        await deliver_values(engine, [*map(honest, STORY.txs), known, failed_one, not_ours])
        await engine.scanner.scan()
        await come_true(engine, node)
        await same_as(truth, database_url)
        assert (await inbox_backlog.depth(engine.pool)).dead == 0


async def test_another_place_in_the_block_is_put_right(database_url, truth):
    """Case A2: the content of the deliveries is true, but the index within the block is not."""
    slots = {}
    for tx in STORY.txs:
        if tx.events:
            slots.setdefault(tx.slot, []).append(tx)
    shared = next(members for members in slots.values() if len(members) > 2)
    turned = {tx.signature: 100 - tx.index for tx in shared}
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        values = [honest(tx) | {"indexWithinBlock": turned.get(tx.signature, tx.index)} for tx in STORY.txs]
        await deliver_values(engine, values)
        await come_true(engine, node)
        await same_as(truth, database_url)
        _, result = await deliveries.false_ones(engine.pool, 60, 100)
        assert {one.signature for one in result} == turned.keys()
        assert {tuple(one.differs) for one in result} == {("place in its block",)}


async def test_what_two_honest_sources_tell_differently_is_no_difference(database_url):
    tx = next(tx for tx in STORY.txs if tx.calls)
    theirs, own = honest(tx), honest(tx)
    del own["indexWithinBlock"], own["version"]
    own["blockTime"] = None
    own["meta"]["innerInstructions"] = None
    message = own["transaction"]["message"]
    # Account keys in another order, most of them loaded from a lookup table; no stack heights.
    keys = message["accountKeys"]
    order = [0, *reversed(range(1, len(keys)))]
    static, loaded = order[:2], order[2:]
    message["accountKeys"] = [keys[n] for n in static]
    own["meta"]["loadedAddresses"] = {"writable": [keys[n] for n in loaded], "readonly": []}
    for call in message["instructions"]:
        call["programIdIndex"] = order.index(call["programIdIndex"])
        call["accounts"] = [order.index(n) for n in call["accounts"]]
        del call["stackHeight"]
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.raws[tx.signature] = msgspec.json.encode(own)
        await deliver_values(engine, [theirs])
        assert await engine.confirmer.turn() == 1
        assert (await deliveries.waiting(engine.pool)).number == 0
        assert await engine.pool.fetchval("SELECT count(*) FROM false_deliveries") == 0


async def test_a_delivery_is_asked_for_once_and_what_the_rpc_told_never(database_url):
    delivered, named = STORY.txs[::2], STORY.txs[1::2]
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        await deliver_values(engine, [honest(tx) for tx in delivered])
        await inbox.store(engine.pool, "logs", [inbox.Hint(tx.signature, tx.slot, None) for tx in named])
        await settle(engine)
        assert node.calls["getTransaction"] == len(STORY.txs)


async def test_who_trusts_webhooks_saves_the_calls(database_url):
    async with (
        serving(STORY) as node,
        engine_on(database_url, node.url, indexer_trust_webhooks=True) as engine,
    ):
        await deliver_values(engine, [honest(tx) for tx in STORY.txs])
        await settle(engine)
        assert node.calls.get("getTransaction", 0) == 0
        assert (await deliveries.waiting(engine.pool)).number == 0


async def test_a_slot_that_a_webhook_made_up_lets_nothing_slip_through(database_url, truth):
    """Case A2: a delivery names a slot far ahead and another program; the RPC's list has the true slot."""
    tx = victim(random.Random(8))
    value = not_ours = msgspec.json.decode(tx.raw().replace(tx.program.encode(), EVIL.encode()))
    value["slot"] = tx.slot + 10**6
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.raws[tx.signature] = None
        await deliver_values(engine, [not_ours])
        for _ in range(3):
            await engine.scanner.scan()
            await settle(engine)
        assert await through(engine) == tx.slot - 1
        del node.raws[tx.signature]
        await come_true(engine, node)
        await same_as(truth, database_url)


async def test_what_is_told_of_a_completed_slot_is_not_even_shown(database_url, truth):
    """Case A2: at or below the gap-free slot there is no row that is not final."""
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        await engine.scanner.scan()
        await settle(engine)
        assert await through(engine) == node.tip()
        await deliver_values(engine, [invented(STORY.txs, random.Random(n)) for n in range(5)])
        await same_as(truth, database_url)
        await come_true(engine, node)


async def test_no_count_sees_what_a_webhook_alone_told(database_url):
    """Case A2: a delivery has the opposite of the wallets' true votes, and a vote of another wallet."""
    votes = [
        (tx, event) for tx in STORY.txs for event in tx.events if isinstance(event, e.ProposalVoteSubmitted)
    ]
    market_id = votes[0][1].market_id
    mine = [(tx, event) for tx, event in votes if event.market_id == market_id]
    begun = STORY.txs[: STORY.txs.index(mine[-1][0]) + 1]
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.shown = begun
        await engine.scanner.scan()
        await settle(engine)
        true = await counted(engine, market_id)
        assert len(true) == len(mine)
        turned = [msgspec.structs.replace(event, vote=not event.vote) for _, event in mine]
        turned.append(msgspec.structs.replace(mine[0][1], user=EVIL))
        await deliver_values(engine, [honest(Tx("5" * 87, node.tip() + 1, 1, turned))])
        displayed = "SELECT count(*) FROM onchain_votes WHERE market_id = $1 AND signature = $2"
        assert await engine.pool.fetchval(displayed, market_id, "5" * 87) == len(turned), "it is shown"
        assert await counted(engine, market_id) == true


async def test_a_vote_that_a_webhook_alone_told_keeps_nobody_from_voting(database_url):
    """Case A2: a forged vote does not keep its wallet from voting until the delivery is compared with the RPC."""
    cast = next(x for tx in STORY.txs for x in tx.events if isinstance(x, e.ProposalVoteSubmitted))
    begun = STORY.txs[: 1 + next(n for n, tx in enumerate(STORY.txs) if cast in tx.events)]
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.shown = begun
        await engine.scanner.scan()
        await settle(engine)
        forged = msgspec.structs.replace(cast, user=EVIL)
        await deliver_values(engine, [honest(Tx("5" * 87, node.tip() + 1, 1, [forged]))])
        assert not await votes.has_voted(engine.pool, cast.market_id, VoteKind.PROPOSAL, EVIL)
        assert await votes.has_voted(engine.pool, cast.market_id, VoteKind.PROPOSAL, cast.user)


async def test_a_trade_that_a_webhook_alone_told_makes_nobody_eligible(database_url):
    """Case A2: the false trade has a time before the vote opened."""
    last = next(tx for tx in reversed(STORY.txs) if any(isinstance(x, e.SharesBought) for x in tx.events))
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.shown = STORY.txs[: STORY.txs.index(last)]
        await engine.scanner.scan()
        await settle(engine)
        trades = [msgspec.structs.replace(x, user=EVIL, timestamp=1) for x in last.events]
        await deliver_values(engine, [honest(Tx("5" * 87, node.tip() + 1, 1, trades))])
        assert await engine.pool.fetchval("SELECT count(*) FROM trades WHERE wallet = $1", EVIL) == len(
            trades
        )
        assert await engine.pool.fetchval(vote_judgements.TRADED, EVIL, 2**31) == 0


async def counted(engine, market_id):
    async with engine.pool.transaction() as connection:
        return await vote_log.unlogged_onchain_votes(connection, market_id, VoteKind.PROPOSAL, 2**31)


async def test_an_rpc_that_cannot_say_is_asked_for_ever_and_somebody_is_told(database_url, truth):
    async with serving(STORY) as node, engine_on(database_url, node.url, rpc_timeout_s=0.3) as engine:
        await deliver_values(engine, [honest(tx) for tx in STORY.txs[-5:]])
        node.raws = {tx.signature: None for tx in STORY.txs}
        for _ in range(30):
            await due_now(engine)
            await engine.confirmer.turn()
        await engine.pool.execute(
            "UPDATE unconfirmed_transactions SET received_at = now() - interval '11 minutes'"
        )
        waiting = await deliveries.waiting(engine.pool)
        assert waiting.number == 5
        await Maintenance(engine, 0).run_once()
        [alert] = [a for a in await alerts.open_alerts(engine.pool) if a.key == "index-unconfirmed"]
        assert "does not know" in alert.message
        pause = "SELECT max(next_attempt_at) - now() < interval '61 seconds' FROM unconfirmed_transactions"
        assert await engine.pool.fetchval(pause)
        node.raws = {}
        await come_true(engine, node)
        await Maintenance(engine, 0).run_once()
        assert "index-unconfirmed" not in {a.key for a in await alerts.open_alerts(engine.pool)}
        await same_as(truth, database_url)


async def test_what_is_to_be_confirmed_survives_a_restart(database_url, truth):
    async with serving(STORY) as node:
        async with engine_on(database_url, node.url) as engine:
            await deliver_values(engine, [honest(tx) for tx in STORY.txs])
            assert (await deliveries.waiting(engine.pool)).number == len(STORY.txs)
            await deliveries.claim(engine.pool, 10, lease_s=0)  # and its process dies
        async with engine_on(database_url, node.url) as engine:
            await come_true(engine, node)
        await same_as(truth, database_url)


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 4))])
async def test_webhooks_that_lie_leave_the_tables_of_the_truth(
    database_url, new_database, migrated_template, seed
):
    """A tenth of the deliveries are false, each forged at random; the long runs have some 2,000 transactions."""
    chance = random.Random(seed)
    story = Story(100 + seed, markets=3 if seed == 0 else 40, trades=20 if seed == 0 else 35)
    other = new_database(migrated_template)
    async with serving(story) as node, engine_on(other, node.url) as engine:
        await engine.scanner.scan()
        await settle(engine)
    truth = without_lone_places(await tables(other))
    async with serving(story) as node, engine_on(database_url, node.url, indexer_batch_size=37) as engine:
        values = [
            chance.choice(FORGERIES)(tx, story.txs, chance) if chance.random() < 0.1 else honest(tx)
            for tx in story.txs
            if chance.random() < 0.9
        ]
        values += [invented(story.txs, chance) for _ in range(len(values) // 50)]
        chance.shuffle(values)
        final_before: set[str] = set()
        while values:
            some, values = values[:23], values[23:]
            await deliver_values(engine, some)
            if chance.random() < 0.3:
                await engine.scanner.scan()
            await settle(engine)
            final = await finalized(engine)
            assert final_before <= final, "what is final stays"
            final_before = final
            await holds(engine, node, truth)
        await come_true(engine, node)
        result = without_lone_places(await tables(database_url))
        for name, rows in truth.items():
            assert result[name] == rows, name


async def holds(engine, node, truth):
    """Check that the index has every transaction through the gap-free slot, and that every final event is true."""
    slot = await through(engine)
    listed = {tx.signature for tx in node.shown if tx.slot <= slot}
    rows = await engine.pool.fetch(
        "SELECT signature, ordinal, slot, name, event FROM chain_events "
        "JOIN chain_transactions t USING (slot, signature) WHERE t.finality = 'finalized'"
    )
    true = {(row[0], row[1], row[2], row[4], row[6]) for row in truth["chain_events"]}
    assert {tuple(row) for row in rows} <= true
    known = {
        row["signature"]
        for row in await engine.pool.fetch("SELECT signature FROM chain_transactions WHERE slot <= $1", slot)
    }
    assert listed <= known, "the gap-free slot passed a hole"


def unreliable(chance, share):
    """Return a function that gives no proper answer to that share of the calls (cases W1, W4).

    The answers are refusals for a quota, errors, HTML pages, other ids, and answers without a result.
    """
    answers = (
        lambda number: (402, b"payment required"),
        lambda number: (429, b"{}"),
        lambda number: (503, b""),
        lambda number: (200, b"<html>please sign in</html>"),
        lambda number: (200, msgspec.json.encode({"jsonrpc": "2.0", "id": number + 1, "result": None})),
        lambda number: (200, msgspec.json.encode({"jsonrpc": "2.0", "id": number})),
    )
    return lambda number: chance.choice(answers)(number) if chance.random() < share else None


@pytest.mark.parametrize(
    ("share", "markets", "trades"),
    [(0.2, 2, 10), pytest.param(0.5, 40, 45, marks=pytest.mark.slow)],
    ids=["short", "2000 transactions"],
)
async def test_lying_webhooks_and_an_unreliable_rpc_together_end_in_the_truth(
    database_url, new_database, migrated_template, share, markets, trades
):
    """Case A2: a running indexer; a tenth of the deliveries are false, and a share of the RPC's calls fails."""
    chance = random.Random(markets)
    story = Story(200 + markets, markets=markets, trades=trades)
    other = new_database(migrated_template)
    async with serving(story) as node, engine_on(other, node.url) as engine:
        await engine.scanner.scan()
        await settle(engine)
    truth = without_lone_places(await tables(other))
    async with serving(story) as node:
        node.shown = story.txs[:10]
        indexer = await Indexer.open(settings_of(database_url, node.url, rpc_timeout_s=1))
        node.disturbs = unreliable(random.Random(1), share)
        stop = asyncio.Event()
        running = asyncio.create_task(indexer.run(stop))
        transport = httpx.ASGITransport(indexer.asgi())
        async with httpx.AsyncClient(transport=transport, base_url="http://indexer") as client:
            watched = indexer._engine
            while len(node.shown) < len(story.txs):
                begin = len(node.shown)
                node.shown = story.txs[: begin + chance.randint(1, 25)]
                values = [
                    chance.choice(FORGERIES)(tx, story.txs, chance) if chance.random() < 0.1 else honest(tx)
                    for tx in node.shown[begin:]
                    if chance.random() < 0.9
                ]
                values.append(invented(story.txs, chance))
                assert (await client.post(PATH, content=msgspec.json.encode(values))).status_code == 200
                await holds(watched, node, truth)

            async def complete():
                readiness = await indexer.readiness()
                assert not readiness.ready or readiness.details["dead_letters"] == 0
                await holds(watched, node, truth)
                return (
                    readiness.details["gap_free_slot"] == node.tip() and readiness.details["unconfirmed"] == 0
                )

            await until(complete, within_s=60 + len(story.txs), why=indexer.readiness)
            assert (await indexer.readiness()).ready
        stop.set()
        await asyncio.wait_for(running, 15)
        result = without_lone_places(await tables(database_url))
        for name, rows in truth.items():
            assert result[name] == rows, name
