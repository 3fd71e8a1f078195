"""Events that come a little late, as webhooks bring them all the time: the rows are right, and few events are read."""

from __future__ import annotations

import random

import pytest
from prometheus_client import REGISTRY

from kit.chain_story import Story
from kit.indexer import deliver, engine_on, tables, without_lone_places
from kit.story_node import serving
from zmart.market.events import SharesBought, SharesSold
from zmart.store import chain_events, index_progress, projections

STORY = Story(31, markets=2, trades=30)
LONG = Story(32, markets=1, trades=60)
TRADES = (SharesBought, SharesSold)


def refolds() -> float:
    """Return how often a market was folded again from its first event."""
    return REGISTRY.get_sample_value("zmart_indexer_refolds_total") or 0.0


def nearly_ordered(story: Story, chance: random.Random, lateness: float) -> list:
    """Return the story's transactions, each up to `lateness` places later than on chain."""
    places = sorted((number + chance.uniform(0, lateness), number) for number in range(len(story.txs)))
    return [story.txs[number] for _, number in places]


async def perfect(story: Story, database_url: str) -> dict:
    async with serving(story) as node, engine_on(database_url, node.url) as engine:
        await deliver(engine, story.txs)
        assert not await projections.stuck(engine.pool)
    return without_lone_places(await tables(database_url))


def trades_of(story: Story) -> list:
    return [tx for tx in story.txs if any(isinstance(event, TRADES) for event in tx.events)]


def market_of(story: Story) -> str:
    return next(event.market_id for event in trades_of(story)[0].events if isinstance(event, TRADES))


@pytest.mark.parametrize("with_index", [True, False])
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 8))])
async def test_events_in_nearly_the_chains_order_give_the_same_rows(
    database_url, new_database, migrated_template, seed, with_index
):
    chance = random.Random(seed)
    reported = nearly_ordered(STORY, chance, chance.choice([2, 5, 20]))
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        while reported:
            size = chance.randint(1, 3)
            await deliver(engine, reported[:size], with_index=with_index)
            del reported[:size]
    expected = await perfect(STORY, new_database(migrated_template))
    assert without_lone_places(await tables(database_url)) == expected


async def without(engine, late) -> None:
    """Deliver the transactions of LONG through its last trade one by one, all but `late`."""
    for tx in LONG.txs[: LONG.txs.index(trades_of(LONG)[-1]) + 1]:
        if tx not in late:
            await deliver(engine, [tx])


async def same_when_folded_from_the_first_event(engine, database_url: str) -> None:
    whole = await tables(database_url)
    assert not await projections.stuck(engine.pool)
    async with engine.pool.transaction() as connection:
        await engine.projector.refold(connection, [market_of(LONG)])
    assert await tables(database_url) == whole


@pytest.mark.parametrize("back", [2, 5, 20])
async def test_a_late_trade_folds_what_comes_after_it_and_not_its_whole_market(
    database_url, monkeypatch, back
):
    late = trades_of(LONG)[-back]
    read: list[int] = []
    events_from = chain_events.of_market_from

    async def counted(*arguments):
        events = await events_from(*arguments)
        read.append(len(events))
        return events

    async with serving(LONG) as node, engine_on(database_url, node.url) as engine:
        await without(engine, [late])
        monkeypatch.setattr(chain_events, "of_market_from", counted)
        before = refolds()
        await deliver(engine, [late])
        assert refolds() == before
        assert 1 <= sum(read) <= 2 * back + 8
        await same_when_folded_from_the_first_event(engine, database_url)


async def test_of_two_missing_trades_the_later_one_may_come_first(database_url):
    trades = trades_of(LONG)
    first, second = trades[-9], trades[-4]
    async with serving(LONG) as node, engine_on(database_url, node.url) as engine:
        await without(engine, [first, second])
        before = refolds()
        await deliver(engine, [second])
        assert len(await projections.read_every_market(engine.pool)) == 1
        await deliver(engine, [first])
        assert refolds() == before
        await same_when_folded_from_the_first_event(engine, database_url)


async def test_an_event_later_than_the_gap_leaves_the_market_at_the_gap(database_url):
    trades = trades_of(LONG)
    first, second = trades[-9], trades[-4]
    async with serving(LONG) as node, engine_on(database_url, node.url) as engine:
        await without(engine, [first, second])
        await deliver(engine, [first])
        assert await projections.fold_error(engine.pool, market_of(LONG)) is not None
        await deliver(engine, [second])
        await same_when_folded_from_the_first_event(engine, database_url)


async def test_more_events_behind_a_gap_than_fit_in_memory_are_folded_in_pieces(database_url):
    late = trades_of(LONG)[-20]
    async with serving(LONG) as node, engine_on(database_url, node.url) as engine:
        engine.projector.refold_events_max = engine.projector.refold_piece_events = 5
        await without(engine, [late])
        before = refolds()
        await deliver(engine, [late])
        assert refolds() == before + 1
        await same_when_folded_from_the_first_event(engine, database_url)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
async def test_two_indexers_that_take_turns_close_each_others_gaps(
    database_url, new_database, migrated_template, seed
):
    chance = random.Random(seed)
    reported = nearly_ordered(STORY, chance, 6)
    async with (
        serving(STORY) as node,
        engine_on(database_url, node.url) as one,
        engine_on(database_url, node.url) as other,
    ):
        while reported:
            size = chance.randint(1, 3)
            await deliver(chance.choice([one, other]), reported[:size])
            del reported[:size]
    expected = await perfect(STORY, new_database(migrated_template))
    assert without_lone_places(await tables(database_url)) == expected


async def test_a_transaction_that_left_the_chain_behind_a_gap_is_not_folded(database_url):
    trades = trades_of(LONG)
    late, gone = trades[-9], trades[-4]
    async with serving(LONG) as node, engine_on(database_url, node.url) as engine:
        await without(engine, [late])
        async with engine.pool.transaction() as connection:
            await index_progress.lock_writer(connection)
            affected = await chain_events.remove(connection, [gone.signature])
            await engine.projector.refold_affected(connection, affected)
        await deliver(engine, [late])
        rows = (await tables(database_url))["trades"]
        assert gone.signature not in {row[0] for row in rows}
        assert late.signature in {row[0] for row in rows}
        async with engine.pool.transaction() as connection:
            await engine.projector.refold(connection, [market_of(LONG)])
        assert (await tables(database_url))["trades"] == rows
