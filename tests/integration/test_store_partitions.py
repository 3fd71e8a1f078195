"""Tests of the partitions of chain_events: they are made ahead of the chain, and no event is lost or refused."""

from __future__ import annotations

import asyncio
import re

import asyncpg
import pytest

from kit.chain_story import Story
from kit.indexer import engine_on
from kit.rows import add_markets, market_fold
from kit.story_node import serving
from kit.wallets import address_of, market_id, wallet
from zmart.market.events import ChainEvent, ProposalApproved
from zmart.market.types import Address, ChainTime, MarketId, Signature, Slot
from zmart.services.indexer.event_partitions import PartitionKeeper
from zmart.services.indexer.maintenance import Maintenance
from zmart.store import alerts, chain_events, index_progress, migrate, partitions, status, vote_judgements
from zmart.store.chain_events import TransactionRow
from zmart.store.partitions import PARTITION_SLOTS
from zmart.store.pool import Pool

MARKET = market_id(1)
_WHERE = "SELECT tableoid::regclass::text AS name, slot FROM chain_events ORDER BY slot, signature"
_UNPROTECTED = """
SELECT relname FROM pg_class WHERE relname LIKE 'chain\\_events%' AND relkind IN ('r', 'p') AND NOT relrowsecurity
"""
_ROWS = "SELECT chain_events::text FROM chain_events ORDER BY slot, signature, ordinal"


def transaction(slot: int, *, of: MarketId = MARKET) -> tuple[TransactionRow, ChainEvent]:
    """Return a transaction of one event in this slot, and the event."""
    row = TransactionRow(
        signature=Signature(f"{slot}-{of[:8]}"),
        slot=Slot(slot),
        index_in_block=0,
        failed=False,
        event_count=1,
    )
    approved = ProposalApproved(market_id=of, approved_by=address_of(wallet(1)), timestamp=ChainTime(slot))
    return row, ChainEvent(
        signature=row.signature, ordinal=0, slot=row.slot, index_in_block=0, event=approved
    )


async def write(db: Pool | asyncpg.Connection, *slots: int, of: MarketId = MARKET) -> None:
    """Store a transaction with an event in each of these slots, as the indexer does."""
    rows = [transaction(slot, of=of) for slot in slots]
    await chain_events.add(db, [row for row, _ in rows], [(event, of) for _, event in rows])


async def set_tip(pool: Pool, slot: int) -> None:
    """Store this slot as the chain's tip, as the indexer does."""
    await index_progress.claim(pool, Address("P" * 32), "g")
    await index_progress.listed(pool, Slot(0), Slot(slot))


async def places(pool: Pool) -> dict[int, str]:
    """Return the name of the partition of each slot's event."""
    return {row["slot"]: row["name"] for row in await pool.fetch(_WHERE)}


async def test_partitions_are_there_before_the_chain_comes_to_them(pool: Pool) -> None:
    keeper = PartitionKeeper(pool)
    assert await keeper.turn() == ""
    assert (await partitions.read(pool)).ends == [PARTITION_SLOTS], "before the chain's tip is known"
    await set_tip(pool, 25_000_001)
    assert await keeper.turn() == ""
    assert (await partitions.read(pool)).ends == [10_000_000, 30_000_000, 40_000_000, 50_000_000]
    assert await partitions.add_missing(pool) is None
    await set_tip(pool, 30_000_000)
    await keeper.turn()
    assert (await partitions.read(pool)).ends[-1] == 60_000_000
    await write(pool, 9_999_999, 29_999_999, 30_000_000, 59_999_999)
    assert await places(pool) == {
        9_999_999: "chain_events_first",
        29_999_999: "chain_events_from_20000000",
        30_000_000: "chain_events_from_30000000",
        59_999_999: "chain_events_from_50000000",
    }
    assert await pool.fetch(_UNPROTECTED) == []


async def test_an_event_outside_every_partition_is_stored_reported_and_moved_once_the_chain_is_near(
    pool: Pool, database_url: str
) -> None:
    story = Story(3, markets=1, trades=1)
    async with serving(story) as node, engine_on(database_url, node.url) as engine:
        maintenance = Maintenance(engine, 0)
        await engine.pool.execute("UPDATE index_progress SET tip_slot = 5")
        await write(engine.pool, 35_000_000, 15_000_000)
        assert set((await places(pool)).values()) == {"chain_events_default"}

        await maintenance.run_once()
        assert (await places(pool))[15_000_000] == "chain_events_from_10000000", (
            "made ahead, so moved at once"
        )
        assert (await places(pool))[35_000_000] == "chain_events_default"
        await maintenance.run_once()
        [alert] = await alerts.open_alerts(engine.pool)
        assert alert.key == "index-outside-partitions"
        assert "35000000" in alert.message
        before = await pool.fetch(_ROWS)

        await engine.pool.execute("UPDATE index_progress SET tip_slot = 16000000")
        await maintenance.run_once()
        assert (await places(pool))[35_000_000] == "chain_events_from_30000000"
        assert await pool.fetch(_ROWS) == before
        assert await alerts.open_alerts(engine.pool) == []


async def test_an_event_counts_once_in_whichever_partition_it_is(pool: Pool) -> None:
    await set_tip(pool, 1)
    slots = (3, 10_000_000, 29_999_999, 90_000_000)
    await write(pool, *slots)
    await write(pool, *slots)
    await PartitionKeeper(pool).turn()
    await write(pool, *slots)
    assert sorted(await places(pool)) == sorted(slots)
    assert await chain_events.count(pool) == len(slots)
    with pytest.raises(asyncpg.UniqueViolationError):
        await pool.execute("INSERT INTO chain_events SELECT * FROM chain_events WHERE slot = 29999999")
    async with pool.transaction() as connection:
        moved = [transaction(29_999_999)[0].signature]
        assert (await chain_events.remove(connection, moved)).markets == {MARKET}
    await write(pool, 29_999_999)
    assert await chain_events.count(pool) == len(slots)


async def test_several_processes_at_once_make_each_partition_once(pool: Pool) -> None:
    await set_tip(pool, 42_000_000)
    await asyncio.gather(*(PartitionKeeper(pool).turn() for _ in range(4)))
    assert (await partitions.read(pool)).ends == [10_000_000, 50_000_000, 60_000_000, 70_000_000]


async def test_events_that_are_written_while_a_partition_is_made_are_all_there(
    pool: Pool, database_url: str
) -> None:
    writers = await Pool.open(database_url, size=2)

    async def write_many(first: int) -> None:
        for slot in range(first, first + 40):
            async with writers.transaction() as connection:
                await index_progress.lock_writer(connection)
                await write(connection, slot)

    async def make() -> None:
        keeper = PartitionKeeper(pool)
        for tip in range(15_000_000, 95_000_000, 10_000_000):
            await set_tip(pool, tip)
            await keeper.turn()

    await asyncio.gather(make(), *(write_many(first) for first in (25_000_000, 105_000_000)))
    await PartitionKeeper(pool).turn()
    await writers.close()
    found = await places(pool)
    assert len(found) == 80
    assert set(found.values()) == {"chain_events_from_20000000", "chain_events_from_100000000"}


async def test_a_session_that_holds_the_table_delays_a_partition_and_no_event(
    pool: Pool, database_url: str
) -> None:
    holder = await asyncpg.connect(database_url)
    try:
        async with holder.transaction():  # as a backup does
            await holder.execute("LOCK TABLE chain_events_default IN ACCESS SHARE MODE")
            await set_tip(pool, 12_000_000)
            keeper = PartitionKeeper(pool)
            await keeper.turn()
            await write(pool, 12_000_000)
            assert (await partitions.read(pool)).ends == [10_000_000]
        await PartitionKeeper(pool).turn()
        assert await places(pool) == {12_000_000: "chain_events_from_10000000"}
    finally:
        await holder.close()


@pytest.mark.parametrize("statement", ["slot", "market", "opening"])
async def test_a_read_of_a_slot_or_a_market_looks_into_no_earlier_partition(
    pool: Pool, statement: str
) -> None:
    await set_tip(pool, 1)
    async with pool.transaction() as connection:
        for start in range(10_000_000, 90_000_000, 10_000_000):
            await partitions.add(connection, start)
    for number in range(8):
        first = number * 10_000_000
        await write(pool, *range(first, first + 500), of=market_id(number + 2))
    await add_markets(pool, [market_fold(MARKET, created_slot=75_000_000)])
    await write(pool, *range(75_000_000, 75_000_100))
    await pool.execute("ANALYZE chain_events, chain_transactions, markets")
    sql, arguments = {
        "slot": (
            "SELECT FROM chain_events WHERE slot = $1 AND signature = $2",
            [75_000_001, transaction(75_000_001)[0].signature],
        ),
        "market": (status._EVENTS, [MARKET, 50, ["ProposalApproved"], 0]),
        "opening": (vote_judgements._OPENING, [MARKET, "proposal"]),
    }[statement]
    plan = "\n".join(row[0] for row in await pool.fetch(f"EXPLAIN (ANALYZE, TIMING OFF) {sql}", *arguments))
    scans = re.finditer(
        r"(?:Seq|Heap|(?<!Bitmap )Index(?: Only)?) Scan(?: Backward)?(?: using \w+)? on (chain_events_\w+) .*\(actual",
        plan,
    )
    later = {"chain_events_from_80000000", "chain_events_default"}
    assert {scan[1] for scan in scans} - later == {"chain_events_from_70000000"}, plan


def test_a_migration_down_and_up_keeps_the_rows_of_every_partition_and_who_may_read_them(
    empty_database_url: str,
) -> None:
    migrate.upgrade(empty_database_url)
    before = asyncio.run(_spread(empty_database_url))
    assert migrate.rollback(empty_database_url, "0005").current == "0005"
    assert asyncio.run(_rows(empty_database_url)) == before
    assert migrate.upgrade(empty_database_url).up_to_date
    assert asyncio.run(_rows(empty_database_url)) == before
    assert asyncio.run(_after_upgrade(empty_database_url)) == (
        {3: "chain_events_first", 25_000_000: "chain_events_first", 10**17: "chain_events_default"},
        [30_000_000],
        True,
    )


async def _spread(url: str) -> list[str]:
    pool = await Pool.open(url, size=2)
    try:
        await set_tip(pool, 25_000_000)
        await PartitionKeeper(pool).turn()
        await write(pool, 3, 25_000_000, 10**17)
        await pool.execute("DROP ROLE IF EXISTS reader_of_events; CREATE ROLE reader_of_events")
        await pool.execute("GRANT SELECT ON chain_events, chain_events_first TO reader_of_events")
        return await _rows(url)
    finally:
        await pool.close()


async def _after_upgrade(url: str) -> tuple[dict[int, str], list[int], bool]:
    pool = await Pool.open(url, size=1)
    try:
        may_read = await pool.fetchval(
            "SELECT has_table_privilege('reader_of_events', 'chain_events', 'SELECT')"
        )
        return await places(pool), list((await partitions.read(pool)).ends), may_read
    finally:
        await pool.execute("DROP OWNED BY reader_of_events; DROP ROLE reader_of_events")
        await pool.close()


async def _rows(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        return [row[0] for row in await connection.fetch(_ROWS)]
    finally:
        await connection.close()
