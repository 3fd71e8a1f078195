"""Tests of each migration on a database with rows: up, down and up again keep the rows, and services work after it."""

import asyncio

import asyncpg
import pytest

from kit.chain_story import Story
from kit.indexer import deliver, engine_on
from kit.schema_dump import load
from kit.story_node import serving
from kit.wallets import market_id
from zmart.market.types import VoteKind
from zmart.services.indexer.rebuild import rebuild
from zmart.store import change_feed, live_state, migrate, status, votes
from zmart.store.migrations import REVISIONS
from zmart.store.pool import Pool

_TABLES = """
SELECT c.table_name, string_agg(quote_ident(c.column_name), ', ' ORDER BY c.ordinal_position) AS columns
FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE'
    AND c.table_name NOT LIKE 'pgqueuer%' AND c.table_name NOT IN ('alembic_version', 'schema_migrations')
GROUP BY c.table_name
"""
_VOTED = market_id(9)

Columns = dict[str, str]


async def read(url: str, columns: Columns | None = None) -> tuple[Columns, dict[str, list[str]]]:
    """Return every table's columns, or those that `columns` names, and its rows as sorted text."""
    connection = await asyncpg.connect(url)
    try:
        result = columns or {row["table_name"]: row["columns"] for row in await connection.fetch(_TABLES)}
        rows = {
            table: sorted(
                row[0]
                for row in await connection.fetch(f"SELECT r::text FROM (SELECT {names} FROM {table}) AS r")
            )
            for table, names in result.items()
        }
        return result, rows
    finally:
        await connection.close()


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_a_used_database_keeps_every_row_up_down_and_up_again(empty_database_url: str, revision: str) -> None:
    asyncio.run(load(empty_database_url, revision))
    columns, before = asyncio.run(read(empty_database_url))
    assert [table for table, rows in before.items() if not rows] == []
    result = asyncio.run(migrate.status(empty_database_url))
    assert (result.current, result.problem, result.up_to_date) == (revision, None, False)

    assert migrate.upgrade(empty_database_url).up_to_date
    _, after = asyncio.run(read(empty_database_url, columns))
    assert after == before

    assert migrate.rollback(empty_database_url, revision).current == revision
    assert asyncio.run(read(empty_database_url)) == (columns, before)

    assert migrate.upgrade(empty_database_url).up_to_date
    assert asyncio.run(read(empty_database_url, columns))[1] == before
    migrate.rollback(empty_database_url, "base")


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_an_upgraded_database_serves_and_goes_on(empty_database_url: str, revision: str) -> None:
    asyncio.run(load(empty_database_url, revision))
    migrate.upgrade(empty_database_url)
    asyncio.run(_goes_on(empty_database_url))


async def _goes_on(url: str) -> None:
    pool = await Pool.open(url, size=2)
    try:
        head = await change_feed.head(pool)
        changes = await change_feed.read_after(pool, 0, head.head)
        assert [change.offset for change in changes] == list(range(1, head.head + 1))
        assert (await votes.counts(pool, _VOTED))[VoteKind.PROPOSAL].total == 5, (
            "as they were counted at the close"
        )
        assert (await live_state.market(pool, _VOTED)).head == head.head
        assert (await status.queues(pool)).dead_letters == 1
        story = Story(11, markets=3, trades=8)
        async with serving(story) as node, engine_on(url, node.url) as engine:
            await deliver(engine, story.txs[-20:])
            await rebuild(engine.pool, engine.projector)
        after = await change_feed.head(pool)
        assert after.head > head.head
        assert len(await change_feed.read_after(pool, head.head, 10_000)) == after.head - head.head
    finally:
        await pool.close()
