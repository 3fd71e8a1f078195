"""Tests of connections to PostgreSQL that hang, also within a message: callers do not wait, and locks are freed."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
import uvloop

from kit.machine_time import machine_time, seconds_since
from kit.servers import in_a_thread
from kit.tcp_proxy import TcpProxy
from kit.waiting import until
from zmart.errors import StoreError, Unavailable
from zmart.store import inbox, index_progress
from zmart.store.connection import connect
from zmart.store.listening import listening
from zmart.store.pool import Pool

_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1"
_PID = "SELECT pg_backend_pid()"
_LOCKED = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'"
_WAITS_FOR_CLIENT = (
    "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND state = 'active' AND wait_event = 'ClientRead'"
)


@asynccontextmanager
async def pool_behind(proxy: TcpProxy, size: int) -> AsyncIterator[tuple[Pool, set[int]]]:
    """Yield a pool of `size` idle connections through `proxy`, and the process ids of their sessions."""
    pool = await Pool.open(proxy.url, size=size)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(pool.fetchval(f"{_PID} FROM pg_sleep(0.1)")) for _ in range(size)]
        yield pool, {task.result() for task in tasks}
    finally:
        await pool.close()


@pytest.mark.parametrize("offset", [1, 60, 125])
async def test_a_connection_that_is_cut_at_any_byte_is_unavailable_and_no_bug(
    database_url: str, offset: int
) -> None:
    """C7: a connection that is cut after any number of bytes raises a StoreError, and no other error."""
    outcomes = list[str]()
    async with TcpProxy.before(database_url) as proxy:
        for most in range(offset, 9_000, 187):
            proxy.cut_after_bytes = most
            outcomes.append(await rows_through(proxy.url))
    assert outcomes[0] == "unavailable"
    assert outcomes[-1] == "whole"
    assert set(outcomes) == {"unavailable", "whole"}


async def rows_through(url: str) -> str:
    """Return "whole" if a cursor and a statement both read their 50 rows, or "unavailable" after a StoreError."""
    sql = "SELECT repeat('x', 10) AS text FROM generate_series(1, $1::integer)"
    try:
        pool = await Pool.open(url, size=1)
    except StoreError:
        return "unavailable"
    try:
        async with pool.transaction() as connection:
            assert sum([len(rows) async for rows in connection.pieces(sql, 50, size=20)]) == 50
        assert len(await pool.fetch(sql, 50)) == 50
    except StoreError:
        return "unavailable"
    finally:
        await pool.close()
    return "whole"


async def test_a_connection_whose_statement_timed_out_is_never_used_again(database_url: str) -> None:
    """C8: after a statement timed out the pool uses none of its old connections, and new ones answer at once."""
    async with TcpProxy.before(database_url) as proxy, pool_behind(proxy, 4) as (pool, old):
        proxy.hang_old()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.2):
                await pool.fetchval(_PID)
        began = machine_time()
        used = {await pool.fetchval(_PID) for _ in range(8)}
        assert seconds_since(began) < 1.5, "the other idle connections, which hang as well, are not tried"
        assert not used & old
        assert pool.in_use == 0


async def test_a_short_timeout_costs_one_connection_only(database_url: str) -> None:
    async with TcpProxy.before(database_url) as proxy, pool_behind(proxy, 3) as (pool, old):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await pool.fetchval("SELECT pg_sleep(5)")
        async with pool.acquire() as one, pool.acquire() as two, pool.acquire() as three:
            used = {await connection.fetchval(_PID) for connection in (one, two, three)}
        assert len(used - old) == 1


async def test_locks_of_a_connection_that_hangs_are_free_once_its_work_is_given_up(
    database_url: str, pool: Pool
) -> None:
    """C8: a hanging connection's locks are freed when its work is given up, although the server hears nothing from it.

    Another connection ends its session.
    """
    await pool.execute("CREATE TABLE held (n integer)")
    async with TcpProxy.before(database_url) as proxy, pool_behind(proxy, 1) as (hanging, _):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3), hanging.transaction() as connection:
                await connection.execute("LOCK TABLE held")
                proxy.hang_old()
                await connection.execute("SELECT 1")
        async with asyncio.timeout(2):
            await pool.execute("INSERT INTO held VALUES (1)")


async def test_a_pool_on_a_server_that_hangs_is_closed_in_seconds_without_an_error(database_url: str) -> None:
    """C7: closing a pool whose connections hang takes seconds in all, not for each connection, and raises no error."""
    async with TcpProxy.before(database_url) as proxy:
        async with pool_behind(proxy, 5) as (pool, _):
            proxy.hang()
            began = machine_time()
        assert seconds_since(began) < 6
        assert pool.idle == 0


async def test_what_ends_a_block_on_a_closed_connection_is_not_replaced_by_the_rollback(pool: Pool) -> None:
    with pytest.raises(KeyError):
        async with pool.transaction() as connection:
            connection.terminate()
            raise KeyError("what happened")


# ------------------------------------------------------------------------------------------------------------ the watch


async def test_a_statement_on_a_dead_connection_ends_in_seconds_and_its_locks_with_it(
    database_url: str, pool: Pool
) -> None:
    """C20: a statement on a dead connection fails within seconds without a time limit from outside."""
    await pool.execute("CREATE TABLE held (n integer)")
    async with TcpProxy.before(database_url) as proxy, pool_behind(proxy, 1) as (hanging, [pid]):
        began = machine_time()
        with pytest.raises(Unavailable):
            async with hanging.transaction() as connection:
                await connection.execute("LOCK TABLE held")
                proxy.hang_old()
                await connection.execute("SELECT 1")
        # the server ends a session a moment after it was told to
        await until(lambda: pool.fetchval(_SESSIONS, pid), lambda sessions: sessions == 0)
        assert seconds_since(began) < 6
        await pool.execute("INSERT INTO held VALUES (1)")
        assert await hanging.fetchval("SELECT 1") == 1


@asynccontextmanager
async def within_a_statement(holder: Any, proxy: TcpProxy, pool: Pool) -> AsyncIterator[int]:
    """Keep the session of `holder` waiting for its client within a statement; yield its process id.

    The session has locked the table `held`. `proxy` hangs after the statement was sent and before its arguments are.
    """
    pid = await holder.fetchval(_PID)
    await holder.execute("LOCK TABLE held")
    async with pool.transaction() as other:
        await other.execute("LOCK TABLE asked")
        asking = asyncio.create_task(holder.fetchval("SELECT count(*) FROM asked WHERE n > $1", 0))
        await until(lambda: pool.fetchval(_LOCKED, pid))
        proxy.hang_old()
    await until(lambda: pool.fetchval(_WAITS_FOR_CLIENT, pid))
    try:
        yield pid
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def test_a_connection_that_dies_within_a_statement_is_given_up_and_its_locks_are_free(
    database_url: str, pool: Pool
) -> None:
    """C20: a connection that dies between a statement and its arguments is given up, and its locks are freed.

    PostgreSQL has parsed the statement, and waits for the arguments.
    """
    await pool.execute("CREATE TABLE held (n integer); CREATE TABLE asked (n integer)")
    async with TcpProxy.before(database_url) as proxy, pool_behind(proxy, 1) as (hanging, _):
        with pytest.raises(Unavailable):
            async with (
                hanging.transaction() as connection,
                within_a_statement(connection, proxy, pool) as pid,
            ):
                began = machine_time()
                await until(lambda: pool.fetchval(_SESSIONS, pid), lambda sessions: sessions == 0)
                assert seconds_since(began) < 6
                raise Unavailable("as its statement does")
        await pool.execute("INSERT INTO held VALUES (1)")


async def test_who_waits_for_a_lock_of_a_process_that_is_stopped_within_a_statement_gets_it(
    database_url: str, pool: Pool
) -> None:
    """A lock that a stopped process holds within a statement is free within ten seconds for another session that waits.

    PostgreSQL does not end the stopped session: it is neither idle in a transaction nor on an unreachable host.
    """
    await pool.execute("CREATE TABLE held (n integer); CREATE TABLE asked (n integer)")
    async with TcpProxy.before(database_url) as proxy:
        stopped = await asyncpg.connect(proxy.url)  # unwatched, as of a stopped process
        try:
            await stopped.execute("BEGIN")
            async with within_a_statement(stopped, proxy, pool):
                began = machine_time()
                await pool.execute("INSERT INTO held VALUES (1)")
                assert 6 <= seconds_since(began) < 10
        finally:
            stopped.terminate()


async def test_a_writer_of_the_index_that_is_stopped_within_a_statement_is_replaced(
    database_url: str, pool: Pool
) -> None:
    """A writer of the index that is silent within a statement is ended, and another process takes its lock.

    No session waits for that lock, since processes only try to take it.
    """
    await pool.execute("CREATE TABLE held (n integer); CREATE TABLE asked (n integer)")
    async with TcpProxy.before(database_url) as proxy:
        stopped = await asyncpg.connect(proxy.url)
        try:
            await stopped.execute("BEGIN")
            assert await index_progress.try_lock_writer(stopped)
            async with within_a_statement(stopped, proxy, pool), pool.transaction() as connection:
                assert not await index_progress.end_silent_writer(connection, 60)
                assert not await index_progress.try_lock_writer(connection)
                assert await index_progress.end_silent_writer(connection, 0)
                assert await index_progress.try_lock_writer(connection)
        finally:
            stopped.terminate()


async def test_a_restore_that_waits_for_its_client_keeps_its_locks(database_url: str, pool: Pool) -> None:
    """A session that waits for the data of a COPY, as that of a slow restore, is not ended and keeps its locks."""
    await pool.execute("CREATE TABLE held (n integer)")
    slow, over = await asyncpg.connect(database_url), asyncio.Event()

    async def rows() -> AsyncIterator[bytes]:
        yield b"1\n"
        await over.wait()

    try:
        await slow.execute("BEGIN; LOCK TABLE held")
        copying = asyncio.create_task(slow.copy_to_table("held", source=rows(), format="text"))
        await until(lambda: pool.fetchval(_WAITS_FOR_CLIENT, slow.get_server_pid()))
        waiting = asyncio.create_task(pool.fetchval("SELECT count(*) FROM held"))
        await asyncio.wait({waiting}, timeout=9)
        assert not waiting.done()
        over.set()
        await copying
        await slow.execute("COMMIT")
        assert await waiting == 1
    finally:
        slow.terminate()


async def test_a_statement_that_takes_long_is_left_alone(database_url: str, pool: Pool) -> None:
    """C20: a statement that runs long and a statement that waits for a lock are not given up."""
    await pool.execute("CREATE TABLE held (n integer)")
    async with TcpProxy.before(database_url) as proxy, pool_behind(proxy, 2) as (slow, _):
        working = asyncio.create_task(slow.fetchval("SELECT 1 FROM pg_sleep(5)"))
        async with pool.transaction() as holder:
            await holder.execute("LOCK TABLE held")
            waiting = asyncio.create_task(slow.execute("INSERT INTO held VALUES (1)"))
            assert await working == 1
            assert not waiting.done()
        assert await waiting == "INSERT 0 1"


async def test_while_nothing_reaches_the_database_a_statement_is_given_up(database_url: str) -> None:
    """C8, C20: while no bytes reach the database, each statement fails within seconds; later a new one succeeds."""
    async with TcpProxy.before(database_url) as proxy, pool_behind(proxy, 1) as (pool, _):
        proxy.hang()
        began = machine_time()
        with pytest.raises(Unavailable):
            await pool.fetchval("SELECT 1")
        with pytest.raises(Unavailable):
            await pool.fetchval("SELECT 1")
        assert seconds_since(began) < 13
        await proxy.restore()
        assert await pool.fetchval("SELECT 1") == 1


# ------------------------------------------------------------------------------------------------------- TCP options


async def options_of(database_url: str) -> tuple[dict[str, int], dict[str, str]]:
    """Return the TCP options of a new connection's socket here, and the settings of its session at the server."""
    connection = await connect(database_url)
    try:
        here = connection._transport.get_extra_info("socket")
        with socket.socket(fileno=os.dup(here.fileno())) as same:
            ours: dict[str, Any] = {
                name: same.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
                for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
            }
            ours["SO_KEEPALIVE"] = same.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        names = ("tcp_keepalives_idle", "tcp_user_timeout", "idle_in_transaction_session_timeout")
        return ours, {name: await connection.fetchval(f"SHOW {name}") for name in names}
    finally:
        await connection.close()


def test_both_ends_of_a_connection_notice_that_the_other_is_gone(database_url: str) -> None:
    """C20: both ends of a connection detect that the other is gone, with asyncio's event loop and with uvloop."""
    for run in (asyncio.run, uvloop.run):
        ours, servers = in_a_thread(run, options_of(database_url))
        assert ours == {
            "SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 10_000,
        }  # fmt: skip
        assert servers == {
            "tcp_keepalives_idle": "10", "tcp_user_timeout": "20000", "idle_in_transaction_session_timeout": "8s",
        }  # fmt: skip


async def test_a_server_that_refuses_is_one_sentence_and_works_once_it_is_back(database_url: str) -> None:
    async with TcpProxy.before(database_url) as proxy:
        proxy.refuse()
        with pytest.raises(Unavailable, match="DATABASE_URL"):
            await Pool.open(proxy.url)
        await proxy.restore()
        pool = await Pool.open(proxy.url)
        assert await pool.fetchval("SELECT 1") == 1
        await pool.close()


# ----------------------------------------------------------------------------------------------------------- listening


async def test_a_connection_that_only_listens_and_hangs_is_noticed(database_url: str) -> None:
    """C20: a connection that only listens is found to hang within seconds, although no statement on it could fail."""
    woken = list[float]()
    async with (
        TcpProxy.before(database_url) as proxy,
        pool_behind(proxy, 1) as (pool, _),
        listening(proxy.url, "news") as listener,
    ):
        indexers = asyncio.create_task(inbox.listen(pool, lambda: woken.append(time.monotonic())))
        await until(lambda: woken)
        listener.clear()
        proxy.hang_old()
        began = machine_time()
        await asyncio.wait_for(asyncio.gather(listener.notified.wait(), indexers), 12)
        assert seconds_since(began) < 10
        with pytest.raises(Unavailable, match="lost"):
            listener.clear()
