"""Pool asyncpg connections. Callers that wait for a connection are served in order of arrival.

A returned connection is not reset, which would take a round trip. Instead it is discarded if it is inside a
transaction or closed, or if a statement on it timed out or was cancelled. The connection that was used last is lent
first, and a connection that was not used for five minutes is closed. So is one that is ten minutes old, once it is
returned: a session of PostgreSQL caches parts of the schema and statements, some 12 MB over time, and frees them at its
end only.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, TypeVar

import asyncpg

from zmart.errors import Busy, RolledBack
from zmart.store import metrics, server_sessions
from zmart.store.connection import StoreConnection, connect
from zmart.store.server_sessions import ServerSession

Record = asyncpg.Record
Connection = StoreConnection
_Result = TypeVar("_Result")

_MOST_ROLLBACKS = 3
_IDLE_S = 300.0
_OLD_S = 600.0
_SUSPECT_AFTER_S = 1.0
"""Seconds without an answer to a statement after which the pool's idle connections are suspected to hang, too."""


class Pool:
    """A pool of connections. Open it with `Pool.open(url, size)`. Use fetch, fetchrow, fetchval and execute for single
    statements, or `acquire()` and `transaction()`.

    jsonb is text (encode and decode it with msgspec), numeric is int. All methods raise Unavailable, Busy (also when no
    connection becomes free within `wait_s` seconds) and ReadOnly, which are StoreErrors. Any other error is a bug.
    """

    def __init__(self, database_url: str, size: int, wait_s: float) -> None:
        self._url = database_url
        self._wait_s = wait_s
        self._free: deque[Connection] = deque()
        self._waiters: deque[asyncio.Future[bool]] = deque()
        self._permits = size
        self.size = size
        self._closed = False
        self._hung_sessions: asyncio.Queue[list[ServerSession]] = asyncio.Queue()
        self._ending: asyncio.Task[None] | None = None
        metrics.POOLS.add(self)

    @classmethod
    async def open(cls, database_url: str, size: int = 8, wait_s: float = 2.0) -> Pool:
        """Return a pool of at most `size` connections. One is opened now, so that a wrong address is reported at once.
        A caller waits at most `wait_s` seconds for a free connection. Raises as `connect`."""
        pool = cls(database_url, size, wait_s)
        pool._free.append(await connect(database_url))
        return pool

    @property
    def in_use(self) -> int:
        """The number of connections that are in use."""
        return self.size - self._permits

    @property
    def idle(self) -> int:
        """The number of connections that are open and not in use."""
        return len(self._free)

    @property
    def waiting(self) -> int:
        """The number of callers that wait for a connection."""
        return sum(not waiter.done() for waiter in self._waiters)

    async def close(self) -> None:
        """Close all idle connections; those in use are closed when they are returned."""
        self._closed = True
        metrics.POOLS.remove(self)
        free, self._free = self._free, deque()
        await asyncio.gather(*(connection.close() for connection in free))
        if self._ending is not None:
            self._hung_sessions.put_nowait([])  # ends the task
            await asyncio.wait([self._ending])

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        """Lend one connection to the block, and take it back at its end."""
        connection = await self._lend()
        try:
            yield connection
        finally:
            self._take_back(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend one connection inside a transaction to the block. The transaction is committed at the end of the block,
        and rolled back when the block raises an exception."""
        async with self.acquire() as connection, connection.transaction():
            yield connection

    async def fetch(self, sql: str, *arguments: object) -> Sequence[Record]:
        """Run a statement in a transaction of its own and return its rows."""
        connection = await self._lend()
        try:
            return await _with_retries(connection.fetch, sql, arguments)
        finally:
            self._take_back(connection)

    async def fetchrow(self, sql: str, *arguments: object) -> Record | None:
        """Run a statement in a transaction of its own and return its first row; None when there is none."""
        connection = await self._lend()
        try:
            return await _with_retries(connection.fetchrow, sql, arguments)
        finally:
            self._take_back(connection)

    async def fetchval(self, sql: str, *arguments: object) -> Any:  # noqa: ANN401  # a column of any type
        """Run a statement in a transaction of its own and return the first column of its first row. Returns None
        when there is no row."""
        connection = await self._lend()
        try:
            return await _with_retries(connection.fetchval, sql, arguments)
        finally:
            self._take_back(connection)

    async def execute(self, sql: str, *arguments: object) -> str:
        """Run a statement in a transaction of its own and return PostgreSQL's command tag, such as "UPDATE 3"."""
        connection = await self._lend()
        try:
            return await _with_retries(connection.execute, sql, arguments)
        finally:
            self._take_back(connection)

    async def _connection(self) -> Connection:
        while self._free:
            connection = self._free.pop()
            if not connection.is_closed():
                return connection
        return await connect(self._url)

    async def _lend(self) -> Connection:
        if self._ending is None and not self._closed:
            self._ending = asyncio.create_task(self._end_hung_sessions())
        await self._take_permit()
        try:
            return await self._connection()
        except BaseException:
            self._give_permit()
            raise

    def _take_back(self, connection: Connection) -> None:
        try:
            self._keep_or_end(connection)
        finally:
            self._give_permit()

    def _keep_or_end(self, connection: Connection) -> None:
        if connection.hung_since_s is not None:
            self._discard_hung(connection, connection.hung_since_s)
        elif self._closed or connection.is_closed() or connection.is_in_transaction() or _is_old(connection):
            connection.terminate()
        else:
            self._free.append(connection)
            self._end_idle()

    def _end_idle(self) -> None:
        """End the idle connection whose last use is longest ago, if that is more than _IDLE_S."""
        if monotonic() - self._free[0].answered_at_s > _IDLE_S:
            self._free.popleft().terminate()

    def _discard_hung(self, connection: Connection, since_s: float) -> None:
        """Discard a connection that may hang; its statement began at `since_s`, by the monotonic clock. If that is more
        than _SUSPECT_AFTER_S ago, also discard the idle connections that have not answered since.

        Unless the pool is closed, the sessions of these connections are ended over another connection: they may hold
        locks, and their own connections may not reach the server any more.
        """
        hung = [connection]
        if monotonic() - since_s > _SUSPECT_AFTER_S:
            hung += [idle for idle in self._free if idle.answered_at_s < since_s]
            self._free = deque(idle for idle in self._free if idle not in hung)
        for each in hung:
            each.terminate()
        sessions = [each.session for each in hung if each.session is not None]
        if sessions and not self._closed:
            self._hung_sessions.put_nowait(sessions)

    async def _end_hung_sessions(self) -> None:
        """End the sessions of discarded connections, while the pool is open. This is a separate task, because the code
        that discards a connection may be cancelled, or may run at the very end of its event loop."""
        while sessions := await self._hung_sessions.get():
            await server_sessions.end(self._url, sessions)

    async def _take_permit(self) -> None:
        if self._permits > 0 and not self._waiters:
            self._permits -= 1
            return
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiters.append(waiter)
        patience = loop.call_later(self._wait_s, _give_up, waiter)
        try:
            granted = await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.result():
                self._give_permit()  # the permit was granted at the moment of the cancellation: pass it on
            raise
        finally:
            patience.cancel()
        if not granted:
            metrics.errors.labels(Busy.__name__).inc()
            raise Busy(
                f"All {self.size} database connections are busy: try again, or raise DATABASE_POOL_SIZE."
            )

    def _give_permit(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(True)
                return
        self._permits += 1


async def fetch_existing(db: Pool | Connection, sql: str, *arguments: object) -> Record:
    """Run a statement that returns a row in any state of the database, such as a count, and return its first row.
    Raises LookupError, which is a bug, if it returns none."""
    row = await db.fetchrow(sql, *arguments)
    if row is None:
        raise LookupError(f"no row from: {sql.strip()[:200]}")
    return row


def _is_old(connection: Connection) -> bool:
    return monotonic() - connection.opened_at_s > _OLD_S


async def _with_retries(
    run: Callable[..., Awaitable[_Result]], sql: str, arguments: tuple[object, ...]
) -> _Result:
    """Run a single statement. If PostgreSQL rolls it back in favor of another, it had no effect and is repeated, at
    most three times."""
    for _ in range(_MOST_ROLLBACKS):
        try:
            return await run(sql, *arguments)
        except RolledBack:
            continue
    return await run(sql, *arguments)


def _give_up(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(False)
