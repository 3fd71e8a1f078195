"""False or temporary statements of a chain, a node or an unknown sender, which the index must not keep."""

from __future__ import annotations

import base64

import msgspec
import pytest

from kit.chain_story import PROGRAM, Story, Tx, key
from kit.indexer import deliver, deliver_raw, engine_on, settle, tables
from kit.story_node import serving
from zmart.errors import ChainError
from zmart.market import events as e
from zmart.services.indexer.backfill import backfill
from zmart.services.indexer.finality import FinalityWatcher
from zmart.services.indexer.maintenance import Maintenance
from zmart.services.indexer.reread import reread
from zmart.services.indexer.worker import BatchOutcome
from zmart.store import alerts, backfills, index_progress

STORY = Story(17, markets=2, trades=8)
EVIL = key(66)


def last_buy(txs):
    return next(tx for tx in reversed(txs) if any(isinstance(x, e.SharesBought) for x in tx.events))


async def through(engine):
    return (await index_progress.read(engine.pool)).gap_free_through_slot


async def feed(engine):
    rows = await engine.pool.fetch('SELECT topic, op, new_row, old_row FROM change_feed ORDER BY "offset"')
    return [(row["topic"], row["op"], row["old_row"], row["new_row"]) for row in rows]


async def test_a_confirmed_transaction_that_disappears_is_undone_and_announced(database_url):
    last = last_buy(STORY.txs)
    before = [tx for tx in STORY.txs if tx.slot < last.slot]
    gone = Tx(last.signature, last.slot + 100, last.index, last.events)
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.shown = before
        await engine.scanner.scan()
        await settle(engine)
        without = await tables(database_url)
        assert await through(engine) == node.tip()
        node.shown, node.final_slot = [*before, gone], before[-1].slot
        await engine.scanner.scan()
        await settle(engine)
        assert await tables(database_url) != without, "a confirmed transaction is visible"
        finality = "SELECT finality FROM chain_transactions WHERE signature = $1"
        assert await engine.pool.fetchval(finality, gone.signature) == "confirmed"
        assert await through(engine) < gone.slot
        reported = len(await feed(engine))
        node.shown = [*before, Tx(key(9) + key(9), gone.slot + 200, 0, [], err={"x": 1})]
        for _ in range(2):
            await engine.scanner.scan()
            await engine.finality.check()
            assert await through(engine) < gone.slot or gone.signature not in await signatures(engine)
        assert await tables(database_url) == without
        corrections = (await feed(engine))[reported:]
        bought = {x.market_id for x in gone.events}
        assert ("trades", "deleted") in {(topic, op) for topic, op, _, _ in corrections}
        updated = [
            msgspec.json.decode(new)
            for topic, op, _, new in corrections
            if (topic, op) == ("markets", "updated")
        ]
        assert {row["market_id"] for row in updated} == bought
        node.final_slot = None
        await engine.scanner.scan()
        await engine.finality.check()
        await engine.scanner.scan()
        assert await through(engine) == node.tip()


async def signatures(engine):
    return {row["signature"] for row in await engine.pool.fetch("SELECT signature FROM chain_transactions")}


async def test_a_transaction_that_lands_again_in_another_slot_is_folded_there(database_url):
    moved = last_buy(STORY.txs)
    until = [tx for tx in STORY.txs if tx.slot <= moved.slot]
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.shown, node.final_slot = until, 0
        await deliver(engine, until)
        other = Tx(moved.signature, moved.slot + 3, 2, moved.events)
        node.shown = [other if tx is moved else tx for tx in until]
        node.final_slot = None
        for _ in range(2):
            await engine.finality.check()
        await settle(engine)
        rows = await engine.pool.fetch(
            "SELECT DISTINCT slot FROM trades WHERE signature = $1", moved.signature
        )
        assert [row["slot"] for row in rows] == [other.slot]


@pytest.mark.parametrize("failed", [None, {"x": 1}], ids=["succeeded there", "failed there"])
async def test_a_transaction_that_landed_earlier_on_the_other_fork_holds_the_gap_free_slot(
    database_url, failed
):
    moved = last_buy(STORY.txs)
    before = [tx for tx in STORY.txs if tx.slot < moved.slot]
    on_fork = Tx(moved.signature, moved.slot + 40, moved.index, [] if failed else moved.events, err=failed)
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.shown, node.final_slot = [*before, on_fork], before[-1].slot
        await engine.scanner.scan()
        await settle(engine)
        node.shown, node.final_slot, node.more_slots = [*before, moved], moved.slot + 20, 60
        for _ in range(3):
            await engine.scanner.scan()
            await engine.finality.check()
            assert await through(engine) < moved.slot
        node.final_slot = None
        for _ in range(2):
            await engine.finality.check()
        await settle(engine)
        await engine.scanner.scan()
        await settle(engine)
        slot = "SELECT DISTINCT slot FROM trades WHERE signature = $1"
        assert await engine.pool.fetchval(slot, moved.signature) == moved.slot
        assert await through(engine) == node.tip()


async def test_one_who_failed_on_a_fork_and_landed_after_all_is_folded(database_url):
    late = last_buy(STORY.txs)
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.shown = [
            Tx(t.signature, t.slot, t.index, [], err={"x": 1}) if t is late else t for t in STORY.txs
        ]
        node.final_slot = 0
        await engine.scanner.scan()
        await settle(engine)
        node.shown, node.final_slot = STORY.txs, None
        for _ in range(2):
            await engine.finality.check()
        await settle(engine)
        count = "SELECT count(*) FROM trades WHERE signature = $1"
        assert await engine.pool.fetchval(count, late.signature) == len(late.events)


@pytest.mark.parametrize("failed", [None, {"x": 1}], ids=["succeeded", "failed"])
async def test_a_transaction_without_a_status_is_final_once_the_node_returns_it_as_final(
    database_url, failed
):
    """A node may have a transaction whose status it has lost: the gap-free slot must not stop there."""
    lost = last_buy(STORY.txs)
    shown = [
        Tx(t.signature, t.slot, t.index, [], err=failed) if failed and t is lost else t for t in STORY.txs
    ]
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.shown, node.final_slot, node.without_status = shown, lost.slot - 1, {lost.signature}
        await engine.scanner.scan()
        await settle(engine)
        for final_slot in (lost.slot - 1, lost.slot - 1, lost.slot):
            node.final_slot = final_slot
            await engine.finality.check()
            assert await through(engine) < lost.slot
        node.final_slot = None
        await engine.scanner.scan()
        for _ in range(2):
            await engine.finality.check()
        assert await through(engine) == node.tip()


@pytest.mark.parametrize("ignores_commitment", [False, True])
async def test_a_transaction_without_a_status_is_not_final_before_its_slot(database_url, ignores_commitment):
    lost = last_buy(STORY.txs)
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.without_status, node.ignores_commitment = {lost.signature}, ignores_commitment
        node.more_slots = 100  # the node must know the transaction, which is not final yet
        node.final_slot = lost.slot - 1
        await engine.scanner.scan()
        await settle(engine)
        for _ in range(4):
            await engine.finality.check()
        finality = "SELECT finality FROM chain_transactions WHERE signature = $1"
        assert await engine.pool.fetchval(finality, lost.signature) == "confirmed"


async def test_one_who_is_asked_on_a_node_that_is_behind_takes_nothing_back(database_url):
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        await deliver(engine, STORY.txs[:-1])
        whole = await tables(database_url)
        await engine.pool.execute("UPDATE chain_transactions SET finality = 'confirmed'")
        node.shown, node.final_slot = STORY.txs[: len(STORY.txs) // 2], 0
        watcher = FinalityWatcher(engine.pool, engine.rpc, engine.projector, 1)
        newest = STORY.txs[-2].slot
        assert node.tip() - 32 < newest
        await watcher.check()
        late = set(watcher._suspects)
        after = {tx.signature for tx in STORY.txs[:-1] if tx.slot > node.tip() - 32}
        assert not late & after
        assert await tables(database_url) == whole


def forged(tx, lines):
    value = msgspec.json.decode(tx.raw())
    value["meta"]["logMessages"] = lines
    keys = value["transaction"]["message"]["accountKeys"]
    keys.append(EVIL)
    value["transaction"]["message"]["instructions"].append(
        {"programIdIndex": len(keys) - 1, "accounts": [], "data": "", "stackHeight": None}
    )
    return msgspec.json.encode(value)


@pytest.mark.parametrize(
    "around",
    [
        (f"Program {EVIL} invoke [1]", None, f"Program {EVIL} success"),
        (
            f"Program {PROGRAM.address} invoke [1]",
            f"Program {EVIL} invoke [2]",
            None,
            f"Program {EVIL} success",
            f"Program {PROGRAM.address} success",
        ),
        (
            f"Program {EVIL} invoke [1]",
            f"Program {PROGRAM.address} invoke [2]",
            f"Program {PROGRAM.address} success",
            None,
            f"Program {EVIL} success",
        ),
        (
            f"Program {EVIL} invoke [1]",
            f"Program log: Program {PROGRAM.address} invoke [1]",
            None,
            f"Program {EVIL} success",
        ),
        (
            f"Program {EVIL} invoke [1]",
            f"Program return: {PROGRAM.address} invoke [1]",
            None,
            f"Program {EVIL} success",
        ),
    ],
)
async def test_another_programs_forged_event_is_ignored(database_url, around):
    event = next(x for tx in STORY.txs for x in tx.events if isinstance(x, e.SharesBought))
    line = "Program data: " + base64.b64encode(PROGRAM.events.encode(event)).decode()
    tx = Tx(key(5) + key(6), STORY.txs[-1].slot + 1, 3, [])
    ours = [f"Program {PROGRAM.address} invoke [1]", f"Program {PROGRAM.address} success"]
    lines = [line if part is None else part for part in around]
    raw = forged(tx, lines if any(part in around for part in ours) else [*ours, *lines])
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.shown = [*STORY.txs, tx]
        await deliver(engine, STORY.txs)
        before = await tables(database_url)
        node.raws[tx.signature] = raw
        await deliver_raw(engine, [raw])
        assert await engine.pool.fetchval("SELECT count(*) FROM false_deliveries") == 0
        assert await tables(database_url) == before
        assert tx.signature in await signatures(engine)


async def test_a_delivery_that_names_a_slot_which_does_not_come_is_taken_back(database_url):
    event = next(x for tx in STORY.txs for x in tx.events if isinstance(x, e.SharesBought))
    made_up = Tx(key(5) + key(6), 10**12, 3, [event])
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        await engine.scanner.scan()
        await settle(engine)
        before = await tables(database_url)
        await deliver(engine, [made_up])
        for _ in range(2):
            await engine.finality.check()
        assert made_up.signature in await signatures(engine)  # the chain may come there yet
        await engine.pool.execute("UPDATE chain_transactions SET indexed_at = now() - interval '2 minutes'")
        for _ in range(2):
            await engine.finality.check()
        assert await tables(database_url) == before


async def test_a_node_that_fell_far_behind_takes_nothing_back(database_url):
    """W3: listed transactions that are not final yet stay; a node that is behind their slots proves nothing."""
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        await engine.scanner.scan()
        while await engine.fetcher.turn() or await engine.worker.turn() is BatchOutcome.WORKED:
            pass
        before = await signatures(engine)
        await engine.pool.execute("UPDATE chain_transactions SET indexed_at = now() - interval '2 minutes'")
        node.final_slot = STORY.txs[0].slot
        node.shown = [tx for tx in STORY.txs if tx.slot <= node.final_slot]
        assert node.tip() + 150 < STORY.txs[-1].slot
        for _ in range(3):
            await engine.finality.check()
        assert await signatures(engine) == before
        assert await through(engine) <= node.tip()


async def test_a_failed_transaction_that_carries_events_is_remembered_and_ignored(database_url):
    bought = last_buy(STORY.txs)
    failed = Tx(key(5) + key(6), bought.slot + 1, 3, bought.events, err={"InstructionError": [0, "x"]})
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.shown = [*STORY.txs, failed]
        await deliver(engine, STORY.txs)
        before = await tables(database_url)
        await deliver(engine, [failed])
        assert await tables(database_url) == before
        row = await engine.pool.fetchrow(
            "SELECT failed, event_count FROM chain_transactions WHERE signature = $1", failed.signature
        )
        assert tuple(row) == (True, 0)


async def test_an_unknown_event_is_kept_counted_and_alerted_and_read_again(database_url):
    strange = base64.b64encode(b"\x01\x02\x03\x04\x05\x06\x07\x08later version").decode()
    tx = STORY.txs[4]
    value = msgspec.json.decode(tx.raw())
    value["meta"]["logMessages"][1:1] = [f"Program data: {strange}"]
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.raws[tx.signature] = msgspec.json.encode(value)
        await deliver_raw(engine, [node.raws[tx.signature]])
        await deliver(engine, [t for t in STORY.txs if t is not tx])
        [row] = await engine.pool.fetch("SELECT signature, ordinal, payload FROM unknown_events")
        assert tuple(row) == (tx.signature, 0, base64.b64decode(strange))
        maintenance = Maintenance(engine, 0)
        await maintenance.run_once()
        [alert] = await alerts.open_alerts(engine.pool)
        assert (alert.key, tx.signature in alert.message) == ("index-unknown-events", True)
        node.raws.clear()
        assert await reread(engine) == 1  # now the node returns it as a version that knows the event reads it
        await settle(engine)
        await maintenance.run_once()
        assert await alerts.open_alerts(engine.pool) == []
        assert await engine.pool.fetchval("SELECT count(*) FROM unknown_events") == 0
        assert await engine.pool.fetchval("SELECT count(*) FROM chain_events") == sum(
            len(t.events) for t in STORY.txs if t.err is None
        )


async def test_a_node_that_answers_short_pages_hides_nothing(database_url):
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.longest_page = 7
        assert await engine.scanner.scan() == len(STORY.txs)


async def test_a_list_that_repeats_itself_is_not_believed(database_url):
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.longest_page, node.ignores_before = 7, True
        with pytest.raises(ChainError, match="twice"):
            await engine.scanner.scan()
        assert (await index_progress.read(engine.pool)).listed_through_slot == 0


async def test_slots_that_go_backwards_are_told_to_people(database_url):
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        turned = [
            Tx(t.signature, t.slot - 50 if n > 20 else t.slot, t.index, t.events)
            for n, t in enumerate(STORY.txs)
        ]
        node.shown = turned
        await engine.scanner.scan()
        await Maintenance(engine, 0).run_once()
        assert "index-slots-backwards" in {alert.key for alert in await alerts.open_alerts(engine.pool)}


async def test_a_dead_letter_is_a_gap_until_somebody_decides(database_url):
    poison = STORY.txs[10]
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        await engine.scanner.scan()
        await engine.pool.execute(
            "UPDATE inbox SET state = 'dead', last_error = 'x' WHERE signature = $1", poison.signature
        )
        await settle(engine)
        assert await through(engine) == poison.slot - 1
        maintenance = Maintenance(engine, 0)
        await maintenance.run_once()
        assert "index-dead-letters" in {alert.key for alert in await alerts.open_alerts(engine.pool)}
        await engine.pool.execute("UPDATE inbox SET state = 'dropped' WHERE state = 'dead'")
        await settle(engine)
        await maintenance.run_once()
        assert await through(engine) == node.tip()
        assert "index-dead-letters" not in {alert.key for alert in await alerts.open_alerts(engine.pool)}


async def test_a_backfill_that_breaks_off_goes_on_where_it_was(database_url, monkeypatch):
    low, high = STORY.txs[5].slot, STORY.txs[-6].slot
    inside = [tx for tx in STORY.txs if low <= tx.slot <= high]
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.longest_page = 10
        pages = 0
        reached = backfills.listed_to

        async def break_off(*arguments):
            nonlocal pages
            await reached(*arguments)
            pages += 1
            if pages == 2:
                raise ChainError("away")

        monkeypatch.setattr(backfills, "listed_to", break_off)
        with pytest.raises(ChainError):
            await backfill(engine, low, high)
        requested = node.calls["getSignaturesForAddress"]
        answer = []
        done = await backfill(engine, low, high, lambda *what: answer.append(what))
        assert done.new_count == len(inside)
        assert node.calls["getSignaturesForAddress"] - requested < len(STORY.txs) / 10
        assert {what for what, _, _ in answer} == {"listing", "indexing"}
        assert await signatures(engine) == {tx.signature for tx in inside}
