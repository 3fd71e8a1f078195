"""Tests of the way from the inbox to the tables: any order, repetition or gap that closes gives the same rows."""

from __future__ import annotations

import asyncio
import random

import msgspec
import pytest
from msgspec.structs import replace

from kit.chain_story import PROGRAM, Story, Tx, key
from kit.indexer import deliver, engine_on, settle, tables, without_lone_places
from kit.story_node import serving
from zmart.errors import Conflict
from zmart.market import events as e
from zmart.services.indexer.projector import Projector
from zmart.services.indexer.rebuild import rebuild
from zmart.store import (
    chain_events,
    chain_finality,
    dead_letters,
    inbox,
    inbox_backlog,
    index_progress,
    projections,
)
from zmart.store.pool import Pool

STORY = Story(11, markets=3, trades=10)
_once: dict[str, dict] = {}


@pytest.fixture
def story():
    return STORY


@pytest.fixture
async def perfect(story, new_database, migrated_template):
    """Return the tables that result when every transaction comes once and in order."""
    if "tables" not in _once:
        _once["tables"] = await _one_by_one(story, new_database(migrated_template))
    return _once["tables"]


async def _one_by_one(story, other):
    async with serving(story) as node, engine_on(other, node.url) as engine:
        for tx in story.txs:
            await deliver(engine, [tx])
        assert not await projections.stuck(engine.pool)
        assert (await inbox_backlog.depth(engine.pool)).dead == 0
    return await tables(other)


async def test_one_batch_gives_what_single_deliveries_give(story, database_url, perfect):
    async with serving(story) as node, engine_on(database_url, node.url) as engine:
        await deliver(engine, story.txs)
    assert await tables(database_url) == perfect


@pytest.mark.parametrize("seed", range(4))
async def test_shuffled_and_repeated_delivery_gives_the_same_tables(story, database_url, perfect, seed):
    chance = random.Random(seed)
    reported = [*story.txs, *chance.sample(story.txs, len(story.txs) // 2)]
    chance.shuffle(reported)
    async with serving(story) as node, engine_on(database_url, node.url, indexer_batch_size=7) as engine:
        while reported:
            size = chance.randint(1, 9)
            await deliver(engine, reported[:size])
            del reported[:size]
    assert await tables(database_url) == perfect


async def test_transactions_that_are_only_named_are_fetched_and_put_in_order(story, database_url, perfect):
    async with serving(story) as node, engine_on(database_url, node.url) as engine:
        await engine.scanner.scan()
        await settle(engine)
        assert node.calls["getTransaction"] == sum(tx.err is None for tx in story.txs)
    assert without_lone_places(await tables(database_url)) == without_lone_places(perfect)


async def test_members_of_one_slot_that_come_one_by_one_are_put_in_order(story, database_url, perfect):
    chance = random.Random(3)
    reported = chance.sample(story.txs, len(story.txs))
    async with serving(story) as node, engine_on(database_url, node.url) as engine:
        for tx in reported:
            await deliver(engine, [tx], with_index=False)
        assert node.calls["getBlock"] > 0
    assert without_lone_places(await tables(database_url)) == without_lone_places(perfect)


async def test_a_late_event_refolds_its_market(story, database_url, perfect):
    late = next(tx for tx in story.txs if any(isinstance(event, e.SharesBought) for event in tx.events))
    async with serving(story) as node, engine_on(database_url, node.url) as engine:
        await deliver(engine, [tx for tx in story.txs if tx is not late])
        assert await tables(database_url) != perfect
        await deliver(engine, [late])
    assert await tables(database_url) == perfect


async def test_a_late_config_refolds_the_trades_that_paid_its_fees(story, database_url, perfect):
    late = next(tx for tx in story.txs if any(isinstance(event, e.ConfigUpdated) for event in tx.events))
    async with serving(story) as node, engine_on(database_url, node.url) as engine:
        await deliver(engine, [tx for tx in story.txs if tx is not late])
        await deliver(engine, [late])
    assert await tables(database_url) == perfect


async def test_a_claim_before_its_market_waits_for_it(story, database_url, perfect):
    claims = [tx for tx in story.txs if any(isinstance(event, e.WinningsClaimed) for event in tx.events)]
    assert claims
    async with serving(story) as node, engine_on(database_url, node.url) as engine:
        await deliver(engine, claims)
        await deliver(engine, [tx for tx in story.txs if tx not in claims])
    assert await tables(database_url) == perfect


async def test_rebuild_equals_the_live_rows_and_changes_nothing(story, database_url, perfect):
    async with serving(story) as node, engine_on(database_url, node.url) as engine:
        await deliver(engine, story.txs)
        head = await engine.pool.fetchval("SELECT head FROM feed_head")
        rebuilt = await rebuild(engine.pool, engine.projector)
        assert (rebuilt.markets, rebuilt.was_equal) == (3, True)
        assert await engine.pool.fetchval("SELECT head FROM feed_head") == head
    assert await tables(database_url) == perfect


async def test_rebuild_restores_what_was_spoilt(story, database_url, perfect):
    async with serving(story) as node, engine_on(database_url, node.url) as engine:
        await deliver(engine, story.txs)
        for spoil in (
            "UPDATE markets SET total_volume = total_volume + 1, traders = 99",
            "UPDATE positions SET cost_basis_yes = 7",
            "DELETE FROM trades WHERE outcome = 'yes'",
            "INSERT INTO onchain_votes SELECT market_id, kind, 'Vote111111111111111111111111111111111111111', "
            "choice, signature, slot, voted_at FROM onchain_votes LIMIT 1",
            "UPDATE program_config SET is_paused = true, dispute_period = 1",
            "UPDATE market_folds SET ordinal = 12",
        ):
            await engine.pool.execute(spoil)
        assert await tables(database_url) != perfect
        await rebuild(engine.pool, engine.projector)
    assert await tables(database_url) == perfect


async def test_rebuild_goes_on_while_transactions_come_in(story, database_url, perfect, monkeypatch):
    early, late = story.txs[: len(story.txs) // 2], story.txs[len(story.txs) // 2 :]
    async with serving(story) as node, engine_on(database_url, node.url) as engine:
        await deliver(engine, early)
        projector, pieces = engine.projector, iter([late[: len(late) // 2], late[len(late) // 2 :], []])
        fold = projector.refold

        async def fold_while_more_comes(connection, *arguments):
            await fold(connection, *arguments)
            await deliver(engine, next(pieces, []))

        monkeypatch.setattr(engine.projector, "refold", fold_while_more_comes)
        other = Projector(PROGRAM, "reference")
        engine.worker._folder = other
        rebuilt = await rebuild(engine.pool, projector, markets_at_once=1)
        assert rebuilt.was_equal
        assert await engine.pool.fetchval("SELECT to_regnamespace('zmart_rebuild')") is None
    assert await tables(database_url) == perfect


async def test_a_rebuild_does_not_restore_what_was_corrected_meanwhile(story, database_url, monkeypatch):
    def is_alone(tx):
        return [other.slot for other in story.txs].count(tx.slot) == 1

    voted = next(tx for tx in story.txs if isinstance(tx.events[0], e.ProposalVoteSubmitted) and is_alone(tx))
    forged = Tx(voted.signature, voted.slot, voted.index, [replace(voted.events[0], vote=False)])
    true = replace(voted.events[0], vote=True)
    voted = Tx(voted.signature, voted.slot, voted.index, [true])
    async with serving(story) as node, engine_on(database_url, node.url) as engine:
        node.shown = [voted if tx.signature == voted.signature else tx for tx in story.txs]
        node.raws = {voted.signature: None}
        shown = [forged if tx.signature == voted.signature else tx for tx in story.txs]
        await deliver(engine, shown, with_index=False)
        projector = engine.projector
        fold = projector.refold

        async def fold_then_correct(connection, *arguments):
            await fold(connection, *arguments)
            if node.raws:
                node.raws = {}
                await engine.pool.execute("UPDATE unconfirmed_transactions SET next_attempt_at = now()")
                await settle(engine)

        monkeypatch.setattr(engine.projector, "refold", fold_then_correct)
        await rebuild(engine.pool, projector)
        vote = "SELECT choice FROM onchain_votes WHERE signature = $1"
        assert await engine.pool.fetchval(vote, voted.signature) == "for"


async def test_a_second_rebuild_at_the_same_time_is_refused(story, database_url):
    async with serving(story) as node, engine_on(database_url, node.url) as engine:
        await deliver(engine, story.txs[:30])
        first, second = await asyncio.gather(
            *(rebuild(engine.pool, engine.projector) for _ in range(2)), return_exceptions=True
        )
    assert [type(r) for r in (first, second)].count(Conflict) == 1


@pytest.mark.parametrize("spoilt", [False, True])
async def test_a_market_too_long_for_memory_is_refolded_in_pieces(story, database_url, perfect, spoilt):
    async with serving(story) as node, engine_on(database_url, node.url) as engine:
        engine.projector.refold_events_max, engine.projector.refold_piece_events = 5, 4
        await deliver(engine, story.txs[30:])
        await deliver(engine, story.txs[:30])
        if spoilt:
            await engine.pool.execute(
                "INSERT INTO trades SELECT signature, ordinal + 100, market_id, wallet, side, outcome, shares, "
                "cost_lamports, 0, 0, 0, 0, slot, index_in_block, traded_at FROM trades LIMIT 3"
            )
            assert not (await rebuild(engine.pool, engine.projector)).was_equal
    assert await tables(database_url) == perfect


async def test_failed_and_foreign_transactions_leave_no_events(story, database_url, perfect):
    first = story.txs[-1]
    failed = Tx(
        key(5), first.slot + 1, 3, list(first.events), err={"InstructionError": [0, {"Custom": 6007}]}
    )
    not_ours = Tx(key(6), first.slot + 1, 4, list(first.events), program=key(66))
    async with serving(story) as node, engine_on(database_url, node.url) as engine:
        await deliver(engine, [*story.txs, failed, not_ours])
        assert await inbox_backlog.depth(engine.pool) == inbox_backlog.InboxDepth(
            pending=0, dead=0, gap_slot=None, oldest_s=None
        )
        rows = await engine.pool.fetch(
            "SELECT signature, failed, event_count FROM chain_transactions WHERE slot > $1", first.slot
        )
    assert [tuple(row) for row in rows] == [(failed.signature, True, 0)]
    assert await tables(database_url) == perfect


async def test_an_impossible_event_stops_its_market_only_and_says_so(story, database_url, perfect):
    bought = next(tx for tx in story.txs if any(isinstance(event, e.SharesBought) for event in tx.events))
    event = next(event for event in bought.events if isinstance(event, e.SharesBought))
    forged = Tx(
        key(5), bought.slot, bought.index + 100, [msgspec.structs.replace(event, cost=event.cost + 7)]
    )
    async with serving(story) as node, engine_on(database_url, node.url) as engine:
        node.shown = [*story.txs, forged]
        await deliver(engine, node.shown)
        await index_progress.listed(engine.pool, *[story.txs[-1].slot] * 2)
        await index_progress.advance(engine.pool)
        [(market_id, reason)] = await projections.stuck(engine.pool)
    assert market_id == event.market_id
    assert forged.signature in reason
    result = await tables(database_url)
    assert [row for row in result["markets"] if row[0] != market_id] == [
        row for row in perfect["markets"] if row[0] != market_id
    ]


async def test_a_vanished_transaction_is_taken_back_and_its_market_refolded(story, database_url, perfect):
    gone = next(
        tx for tx in reversed(story.txs) if any(isinstance(event, e.SharesBought) for event in tx.events)
    )
    async with serving(story) as node, engine_on(database_url, node.url) as engine:
        node.final_slot = 0
        await deliver(engine, [tx for tx in story.txs if tx.slot <= gone.slot])
        whole = await tables(database_url)
        node.shown = [tx for tx in story.txs if tx.slot <= gone.slot and tx is not gone]
        node.final_slot = gone.slot
        await engine.finality.check()
        assert await tables(database_url) == whole, "one look is no proof"
        await engine.finality.check()
        result = await tables(database_url)
        assert gone.signature not in {row[0] for row in result["trades"]}
        assert (
            await engine.pool.fetchval("SELECT count(*) FROM chain_transactions WHERE finality = 'confirmed'")
            == 0
        )
        node.shown = [tx for tx in story.txs if tx.slot <= gone.slot]
        await deliver(engine, [gone])
        assert await tables(database_url) == whole


async def test_the_index_is_gap_free_only_through_what_is_settled(story, database_url):
    async with serving(story) as node, engine_on(database_url, node.url) as engine:
        missing = story.txs[len(story.txs) // 2]
        node.withheld = {missing.signature}
        await engine.scanner.scan()
        await settle(engine)
        progress = await index_progress.read(engine.pool)
        assert progress.gap_free_through_slot == missing.slot - 1
        assert progress.listed_through_slot == node.tip()
        node.withheld = set()
        await engine.pool.execute("UPDATE inbox SET next_attempt_at = now() WHERE state = 'pending'")
        await settle(engine)
        progress = await index_progress.read(engine.pool)
        assert progress.gap_free_through_slot == progress.listed_through_slot


async def test_a_garbled_delivery_is_fetched_instead(story, database_url, perfect):
    async with serving(story) as node, engine_on(database_url, node.url) as engine:
        spoilt = story.txs[5]
        await inbox.store(
            engine.pool, "webhook", [inbox.Hint(spoilt.signature, spoilt.slot, b'{"not": "a transaction"}')]
        )
        await deliver(engine, [tx for tx in story.txs if tx is not spoilt])
        await engine.pool.execute("UPDATE inbox SET next_attempt_at = now() WHERE state = 'pending'")
        await settle(engine)
    assert without_lone_places(await tables(database_url)) == without_lone_places(perfect)


async def test_a_dead_letter_can_be_replayed(story, database_url):
    async with serving(story) as node, engine_on(database_url, node.url) as engine:
        first = story.txs[0]
        await inbox.store(engine.pool, "webhook", [inbox.Hint(first.signature, first.slot, first.raw())])
        [row] = await inbox.ready(engine.pool, 1)
        reason = "an instruction is unknown"
        await inbox.failed(engine.pool, [inbox.InboxFailure(id=row.id, error=reason, permanent=True)])
        [letter] = await dead_letters.page(engine.pool)
        assert (letter.signature, letter.last_error) == (first.signature, reason)
        assert await dead_letters.replay(engine.pool, first.signature) == 1
        await settle(engine)
        assert await dead_letters.page(engine.pool) == []
        assert await engine.pool.fetchval("SELECT admin FROM program_config") is not None


def test_the_story_uses_every_event_of_the_program():
    reported = {type(event) for seed in range(8) for tx in Story(seed).txs for event in tx.events}
    assert {kind.__name__ for kind in reported} == set(PROGRAM.idl.events)


async def test_two_workers_on_one_inbox_never_disturb_each_other(story, database_url, perfect):
    async with (
        serving(story) as node,
        engine_on(database_url, node.url, indexer_batch_size=3) as one,
        engine_on(database_url, node.url, indexer_batch_size=5) as other,
    ):
        chance = random.Random(9)
        hints = [inbox.Hint(tx.signature, tx.slot, tx.raw()) for tx in story.txs]
        chance.shuffle(hints)

        async def work(engine):
            while (await inbox_backlog.depth(engine.pool)).pending:
                await engine.worker.turn()

        await inbox.store(one.pool, "webhook", hints)
        await asyncio.gather(work(one), work(other))
        assert one.worker.events_total
        assert other.worker.events_total
    assert await tables(database_url) == perfect


async def test_a_row_that_breaks_its_batch_is_tried_for_ever_and_holds_nobody_up(
    story, database_url, perfect
):
    beyond_time = e.ProposalApproved(market_id="ee" * 32, approved_by=key(1), timestamp=0)
    created = e.MarketCreated(
        market_id="ee" * 32, creator=key(4), b_parameter=10**10, state=0, timestamp=2**62
    )
    poison = Tx(key(5), story.txs[9].slot, 5_000, [created, beyond_time])
    async with serving(story) as node, engine_on(database_url, node.url) as engine:
        node.shown = [*story.txs, poison]
        await deliver(engine, [*story.txs[:20], poison, *story.txs[20:]])
        assert await tables(database_url) == perfect
        for _ in range(12):
            await engine.pool.execute("UPDATE inbox SET next_attempt_at = now() WHERE state = 'pending'")
            await settle(engine)
        [row] = await engine.pool.fetch("SELECT signature, state, attempts, last_error FROM inbox")
        assert (row["signature"], row["state"], row["attempts"] > 10) == (poison.signature, "pending", True)
        assert "timestamp" in row["last_error"]
        assert (await index_progress.read(engine.pool)).gap_free_through_slot < poison.slot


async def test_a_signature_is_indexed_once_even_if_it_is_told_of_another_slot(story, database_url, perfect):
    signatures = [story.txs[0].signature, "5" * 88, "5" * 88]
    elsewhere = [
        chain_events.TransactionRow(
            signature=signature, slot=slot, index_in_block=0, failed=False, event_count=0
        )
        for slot, signature in enumerate(signatures, 1)
    ]
    async with serving(story) as node, engine_on(database_url, node.url) as engine:
        await deliver(engine, story.txs)
        await chain_events.add(engine.pool, elsewhere)
        rows = await engine.pool.fetch(
            "SELECT slot FROM chain_transactions WHERE signature = ANY($1)", signatures
        )
    assert sorted(row["slot"] for row in rows) == [2, story.txs[0].slot]
    assert await tables(database_url) == perfect


@pytest.mark.parametrize(
    ("statement", "arguments", "index"),
    [
        (inbox._READY, [100, 1_000_000, []], "inbox_to_fold"),
        (inbox._TO_FETCH, [100, 5.0], "inbox_to_fetch"),
        (index_progress._ADVANCE, [], "inbox_open"),
        (index_progress._ADVANCE, [], "chain_transactions_unfinal"),
        (inbox._PRUNE, [60.0, 100], "inbox_done"),
        (chain_events._OF_MARKETS, [["aa" * 32]], "chain_events_of_market"),
        (chain_events._OF_CONFIG, [], "chain_events_of_config"),
        (chain_events._NEIGHBOURS, [[1, 2, 3]], "chain_transactions_slot"),
        (chain_events._KNOWN, [["1" * 88, "2" * 88]], "chain_transactions_once"),
        (inbox._UNKNOWN, [["1" * 88, "2" * 88]], "chain_transactions_once"),
        (chain_finality._UNFINAL, [100, "", 256], "chain_transactions_unfinal"),
    ],
)
async def test_hot_statements_use_their_index(database_url, statement, arguments, index):
    pool = await Pool.open(database_url, size=1)
    async with pool.acquire() as connection:
        await connection.execute("SET enable_seqscan = off")
        plan = await connection.fetch(f"EXPLAIN {statement}", *arguments)
    await pool.close()
    assert index in "\n".join(row[0] for row in plan)
