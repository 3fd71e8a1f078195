"""Tests of the pool: it serves in order, lends no spoiled connection, and says so when it cannot serve."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

import asyncpg
import pytest

from kit.waiting import until
from zmart.errors import Busy, ConfigError, ReadOnly, StoreError, Unavailable
from zmart.store.connection import connect
from zmart.store.pool import Connection, Pool


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


async def test_as_few_sessions_do_the_work_as_can(pool: Pool) -> None:
    """The connection that was used last is lent first, so those that only a burst needed stay idle."""
    async with pool.acquire(), pool.acquire():
        pass
    assert len({await pool.fetchval("SELECT pg_backend_pid()") for _ in range(10)}) == 1


async def test_a_connection_that_nobody_needed_for_minutes_is_closed(pool: Pool) -> None:
    async with pool.acquire() as one, pool.acquire() as other:
        pass
    assert pool.idle == 2
    one.answered_at_s -= 301
    other.answered_at_s -= 301
    assert await pool.fetchval("SELECT 1") == 1
    assert pool.idle == 1
    assert await pool.fetchval("SELECT 1") == 1
    assert pool.idle == 1


async def test_a_connection_is_replaced_after_ten_minutes(pool: Pool) -> None:
    """P21: a session's memory only grows while it lives."""
    async with pool.acquire() as connection:
        first = await connection.fetchval("SELECT pg_backend_pid()")
        connection.opened_at_s -= 599
    assert await pool.fetchval("SELECT pg_backend_pid()") == first
    async with pool.acquire() as connection:
        connection.opened_at_s -= 1
        assert await connection.fetchval("SELECT pg_backend_pid()") == first
    assert pool.idle == 0
    assert await pool.fetchval("SELECT pg_backend_pid()") != first
    assert pool.idle == 1


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
        await other.execute("SET LOCAL deadlock_timeout = '60s'")  # the other one detects it and gives way
        await other.execute("UPDATE pairs SET n = n + 1 WHERE id = 2")
        both = asyncio.create_task(pool.execute("UPDATE pairs SET n = n + 1"))
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"
        await until(lambda: other.fetchval(waiting))
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
    with pytest.raises(Unavailable, match="terminating connection"):
        await pool.execute("SELECT pg_terminate_backend(pg_backend_pid())")
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


# ------------------------------------------------------------------------- what a real server says, and what it means


async def _listen(connection: Connection) -> None:
    await connection.add_listener("anything", lambda *_: None)


async def _transact(connection: Connection) -> None:
    async with connection.transaction():
        pass


async def _read_in_pieces(connection: Connection) -> None:
    async for _ in connection.pieces("SELECT 1", size=1):
        pass


@pytest.mark.parametrize(
    "begin",
    [
        lambda connection: connection.execute("SELECT 1"),
        lambda connection: connection.executemany("SELECT $1::integer", [(1,)]),
        lambda connection: connection.fetch("SELECT 1"),
        lambda connection: connection.fetchrow("SELECT 1"),
        lambda connection: connection.fetchval("SELECT 1"),
        _listen,
        _read_in_pieces,
        _transact,
    ],
    ids=["execute", "executemany", "fetch", "fetchrow", "fetchval", "listen", "pieces", "transaction"],
)
async def test_what_begins_on_a_connection_that_was_cut_is_unavailable_and_not_a_bug(
    pool: Pool, begin: Callable[[Connection], Awaitable[object]]
) -> None:
    async with pool.acquire() as connection:
        ended = asyncio.Event()
        connection.add_termination_listener(lambda *_: ended.set())
        await pool.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
        await asyncio.wait_for(ended.wait(), 5)
        with pytest.raises(Unavailable, match="ended the connection"):
            await begin(connection)


async def test_two_statements_at_once_on_one_connection_are_a_bug_and_not_unavailable(pool: Pool) -> None:
    async with pool.acquire() as connection:
        first = asyncio.create_task(connection.execute("SELECT pg_sleep(0.2)"))
        await asyncio.sleep(0)
        with pytest.raises(asyncpg.InterfaceError, match="another operation"):
            await connection.fetchval("SELECT 1")
        await first
        with pytest.raises(asyncpg.DataError, match="invalid input for query argument"):
            await connection.fetchval("SELECT $1::integer", "one")
    assert await pool.fetchval("SELECT 1") == 1


@pytest.mark.parametrize("limit", ["lock_timeout", "statement_timeout"])
async def test_a_limit_of_the_role_that_is_over_is_busy(pool: Pool, limit: str) -> None:
    await pool.execute("CREATE TABLE held (n integer)")
    async with pool.transaction() as holder, pool.acquire() as other:
        await holder.execute("LOCK TABLE held")
        await other.execute(f"SET {limit} = '20ms'")
        with pytest.raises(Busy):
            await other.fetch("SELECT * FROM held")
        await other.execute(f"RESET {limit}")


async def test_a_write_that_the_role_may_not_do_now_is_read_only_and_reads_go_on(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await connection.execute("SET default_transaction_read_only = on")
        with pytest.raises(ReadOnly, match="read-only transaction"):
            await connection.execute("INSERT INTO users (wallet) VALUES (repeat('1', 32))")
        assert await connection.fetchval("SELECT count(*) FROM users") == 0
        await connection.execute("RESET default_transaction_read_only")


async def test_two_transactions_that_cannot_be_serialized_are_busy(pool: Pool) -> None:
    await pool.execute("CREATE TABLE counted (n integer)")
    await pool.execute("INSERT INTO counted VALUES (0)")
    with pytest.raises(Busy, match="SerializationError"):
        async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
            await connection.fetch("SELECT n FROM counted")
            await pool.execute("UPDATE counted SET n = 1")
            await connection.execute("UPDATE counted SET n = 2")
    assert await pool.fetchval("SELECT n FROM counted") == 1


async def test_a_schema_that_changed_meanwhile_is_busy_and_the_next_transaction_succeeds(pool: Pool) -> None:
    await pool.execute("CREATE TABLE changed (n integer)")
    async with pool.acquire() as connection:
        await connection.fetch("SELECT * FROM changed")
        await pool.execute("ALTER TABLE changed ADD COLUMN m integer")
        with pytest.raises(Busy):
            async with connection.transaction():
                await connection.fetch("SELECT * FROM changed")
        async with connection.transaction():
            assert await connection.fetch("SELECT * FROM changed") == []


async def test_too_many_connections_are_busy(pool: Pool, database_url: str) -> None:
    await pool.execute("CREATE ROLE guest LOGIN PASSWORD 'secret' CONNECTION LIMIT 0")
    address = urlsplit(database_url)
    try:
        with pytest.raises(Busy, match="too many connections"):
            await connect(address._replace(netloc=f"guest:secret@127.0.0.1:{address.port}").geturl())
    finally:
        await pool.execute("DROP ROLE guest")


async def test_an_address_that_cannot_be_read_is_a_wrong_setting_and_keeps_its_password() -> None:
    with pytest.raises(ConfigError, match="DATABASE_URL") as caught:
        await connect("postgresql://u:TopSecretPart#ss@h/db")
    assert "TopSecret" not in str(caught.value)
    assert caught.value.__suppress_context__
