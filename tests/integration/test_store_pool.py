"""The pool serves in order, never hands out a spoiled connection, and says so when it cannot serve."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from decisions_harness import until
from zmart.errors import StoreError
from zmart.store.pool import Busy, Pool, is_away


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    opened = await Pool.open(database_url, size=2, wait_s=0.2)
    yield opened
    await opened.close()


async def test_waiters_are_served_in_the_order_in_which_they_came(database_url: str) -> None:
    pool = await Pool.open(database_url, size=1, wait_s=10)
    served: list[int] = []

    async def work(number: int) -> None:
        async with pool.acquire():
            served.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(work(number) for number in range(20)))
    assert served == list(range(20))
    await pool.close()


async def test_nobody_waits_longer_than_allowed(pool: Pool) -> None:
    async with pool.acquire(), pool.acquire():
        with pytest.raises(Busy, match="DATABASE_POOL_SIZE"):
            await pool.fetchval("SELECT 1")
    assert await pool.fetchval("SELECT 1") == 1
    assert pool.in_use == 0


async def test_a_waiter_that_is_cancelled_loses_no_connection(pool: Pool) -> None:
    async with pool.acquire(), pool.acquire():
        waiting = asyncio.create_task(pool.fetchval("SELECT 1"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert [await pool.fetchval("SELECT 1") for _ in range(3)] == [1, 1, 1]
    assert pool.in_use == 0


async def test_a_statement_that_was_the_victim_of_a_deadlock_is_repeated(pool: Pool) -> None:
    await pool.execute("CREATE TABLE pairs (id integer, n integer)")
    await pool.execute("INSERT INTO pairs VALUES (1, 0), (2, 0)")
    async with pool.transaction() as other:
        await other.execute("SET LOCAL deadlock_timeout = '60s'")  # the other one looks first, and gives way
        await other.execute("UPDATE pairs SET n = n + 1 WHERE id = 2")
        both = asyncio.create_task(pool.execute("UPDATE pairs SET n = n + 1"))
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"
        await until(lambda: other.fetchval(waiting), bool)
        await other.execute("UPDATE pairs SET n = n + 1 WHERE id = 1")
    assert await both == "UPDATE 2"
    assert [row["n"] for row in await pool.fetch("SELECT n FROM pairs")] == [2, 2]


async def test_a_failed_block_is_rolled_back_and_the_connection_serves_on(pool: Pool) -> None:
    with pytest.raises(asyncpg.UndefinedTableError):
        async with pool.transaction() as connection:
            await connection.execute("INSERT INTO users (wallet) VALUES (repeat('1', 32))")
            await connection.execute("SELECT * FROM no_such_table")
    assert await pool.fetchval("SELECT count(*) FROM users") == 0


async def test_a_connection_left_inside_a_transaction_is_thrown_away(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await connection.execute("BEGIN")
        first = await connection.fetchval("SELECT pg_backend_pid()")
    assert await pool.fetchval("SELECT pg_backend_pid()") != first


async def test_a_killed_connection_is_replaced(pool: Pool) -> None:
    with pytest.raises(BaseException) as caught:
        await pool.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert is_away(caught.value)
    assert await pool.fetchval("SELECT 1") == 1


async def test_numbers_come_back_as_exact_integers_and_json_as_text(pool: Pool) -> None:
    row = await pool.fetchrow("SELECT $1::u64 AS big, '{\"a\": 1}'::jsonb AS doc", 2**64 - 1)
    assert row is not None
    assert row["big"] == 2**64 - 1
    assert type(row["big"]) is int
    assert row["doc"] == '{"a": 1}'


async def test_no_server_is_one_sentence() -> None:
    with pytest.raises(StoreError, match="check DATABASE_URL"):
        await Pool.open("postgresql://postgres@127.0.0.1:1/none")
