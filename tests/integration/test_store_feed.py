"""Tests of the change feed: a committed change is a message, nothing else is, and offsets follow the commits."""

import asyncio
import random

import asyncpg
import pytest

from zmart.store.pool import Pool

MARKET = "ab" * 32
COMMENT = f"INSERT INTO discussions (market_id, wallet, content) VALUES ('{MARKET}', repeat('1', 32), $1)"
FEED = 'SELECT "offset", op, topic, old_row, new_row ->> \'content\' AS content FROM change_feed ORDER BY "offset"'


async def test_insert_update_and_delete_are_messages_in_the_order_of_the_statements(pool: Pool) -> None:
    async with pool.transaction() as connection:
        await connection.execute(COMMENT, "one")
        await connection.execute(COMMENT, "two")
        await connection.execute("UPDATE discussions SET content = 'changed' WHERE content = 'one'")
    await pool.execute("DELETE FROM discussions WHERE content = 'two'")
    rows = await pool.fetch(FEED)
    assert [(r["offset"], r["op"], r["content"]) for r in rows] == [
        (1, "created", "one"),
        (2, "created", "two"),
        (3, "updated", "changed"),
        (4, "deleted", None),
    ]


async def test_a_rolled_back_change_is_no_message_and_leaves_no_hole(pool: Pool) -> None:
    await pool.execute(COMMENT, "before")
    with pytest.raises(ZeroDivisionError):
        async with pool.transaction() as connection:
            await connection.execute(COMMENT, "never")
            raise ZeroDivisionError
    await pool.execute(COMMENT, "after")
    assert [(r["offset"], r["content"]) for r in await pool.fetch(FEED)] == [(1, "before"), (2, "after")]


async def test_an_update_that_changes_nothing_is_no_message(pool: Pool) -> None:
    await pool.execute(COMMENT, "same")
    await pool.execute("UPDATE discussions SET content = 'same'")
    assert len(await pool.fetch(FEED)) == 1


async def test_offsets_are_dense_and_a_reader_never_sees_one_before_its_predecessor(pool: Pool) -> None:
    chance = random.Random(7)
    done = asyncio.Event()

    async def write(name: int) -> None:
        for number in range(30):
            async with pool.transaction() as connection:
                for part in range(chance.randint(1, 3)):
                    await connection.execute(COMMENT, f"{name}.{number}.{part}")
                    await asyncio.sleep(0)

    async def read() -> list[int]:
        seen: list[int] = []
        while True:
            finished = done.is_set()
            last = seen[-1] if seen else 0
            rows = await pool.fetch('SELECT "offset" FROM change_feed WHERE "offset" > $1 ORDER BY 1', last)
            seen += [row["offset"] for row in rows]
            if finished:
                return seen

    reader = asyncio.create_task(read())
    await asyncio.gather(*(write(name) for name in range(5)))
    done.set()
    seen = await reader
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) == await pool.fetchval("SELECT count(*) FROM discussions")


async def test_a_commit_notifies_with_the_last_offset(pool: Pool) -> None:
    received: asyncio.Queue[str] = asyncio.Queue()
    async with pool.acquire() as listener:
        await listener.add_listener("zmart_feed", lambda *event: received.put_nowait(event[3]))
        async with pool.transaction() as connection:
            await connection.execute(COMMENT, "one")
            await connection.execute(COMMENT, "two")
        assert await asyncio.wait_for(received.get(), 5) == "2"
        await listener.reset()


async def test_what_a_rolled_back_savepoint_wrote_is_no_message(pool: Pool) -> None:
    """A rolled-back savepoint writes no message, even if the row of the commit itself was made within it."""
    async with pool.transaction() as connection:
        for name in ("first", "second"):
            savepoint = connection.transaction()
            await savepoint.start()
            await connection.execute(COMMENT, f"{name} never")
            await savepoint.rollback()
            await connection.execute(COMMENT, name)
    assert [(r["offset"], r["content"]) for r in await pool.fetch(FEED)] == [(1, "first"), (2, "second")]
    assert await pool.fetchval("SELECT count(*) FROM feed_commits") == 1


async def test_a_commit_that_has_its_offsets_takes_no_further_changes(pool: Pool) -> None:
    """Changes that a transaction makes after its offsets were reserved get offsets of their own.

    Otherwise they would have the offsets of other commits.
    """
    async with pool.transaction() as connection:
        await connection.execute(COMMENT, "one")
        await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        await connection.execute("SET CONSTRAINTS ALL DEFERRED")
        await connection.execute(COMMENT, "two")
        await connection.execute(COMMENT, "three")
    await pool.execute(COMMENT, "four")
    rows = [(r["offset"], r["content"]) for r in await pool.fetch(FEED)]
    assert rows == [(1, "one"), (2, "two"), (3, "three"), (4, "four")]


PUBLISHED = ("markets", "trades", "votes", "onchain_votes", "discussions")
FOLLOWED = (*PUBLISHED, "market_documents", "dispute_reviews", "vote_rules", "vote_judgements")


@pytest.mark.parametrize("table", FOLLOWED)
async def test_truncate_of_a_table_that_readers_follow_is_refused(pool: Pool, table: str) -> None:
    await pool.execute(COMMENT, "stays")
    with pytest.raises(asyncpg.FeatureNotSupportedError, match=f"TRUNCATE of {table} would reach no reader"):
        await pool.execute(f"TRUNCATE {table} CASCADE")
    assert len(await pool.fetch(FEED)) == 1
