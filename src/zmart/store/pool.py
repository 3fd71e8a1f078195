"""Pool asyncpg connections, first come, first served.

Connections are not reset, which would take a round trip: one that is returned inside a transaction, closed, or after
a statement that timed out or was cancelled, is discarded instead. Waiters are served in order of arrival, so that load
starves none. The connection that was used last is lent first, and one that nobody needed for minutes is closed: each
session of PostgreSQL keeps what it has read of the schema and of statements, some 10 MB in time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

from zmart.errors import Busy, RolledBack
from zmart.store import metrics, server_sessions
from zmart.store.connection import connect
from zmart.store.server_sessions import ServerSession

# asyncpg publishes no types; a record behaves as a read-only mapping of column names to values.
Record = Any
Connection = Any

_MOST_ROLLBACKS = 3
_IDLE_S = 300.0
_SUSPECT_AFTER_S = 1.0
"""A statement without an answer for so long puts the idle connections in doubt, too."""


class Pool:
    """A pool of connections. Open it with `Pool.open(url, size)`; then use fetch, fetchrow, fetchval and execute for
    single statements, or `acquire()` and `transaction()`.

    jsonb is text (encode and decode it with msgspec), numeric is int. Raises Unavailable, Busy (also when no
    connection becomes free within `wait_s`) and ReadOnly, all of them StoreError; any other error is a bug.
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
        """Return a pool with one connection made, so that a wrong address is reported at once. Raises as `connect`."""
        pool = cls(database_url, size, wait_s)
        pool._free.append(await connect(database_url))
        return pool

    @property
    def in_use(self) -> int:
        """How many connections are in use."""
        return self.size - self._permits

    @property
    def idle(self) -> int:
        """How many connections are open and not in use."""
        return len(self._free)

    @property
    def waiting(self) -> int:
        """How many callers wait for a connection."""
        return sum(not waiter.done() for waiter in self._waiters)

    async def close(self) -> None:
        """Close all idle connections; those in use are closed when they are returned."""
        self._closed = True
        metrics.POOLS.remove(self)
        free, self._free = self._free, deque()
        await asyncio.gather(*(connection.close() for connection in free))
        if self._ending is not None:
            self._hung_sessions.put_nowait([])  # the last
            await asyncio.wait([self._ending])

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        """Hold one connection for the block."""
        connection = await self._lend()
        try:
            yield connection
        finally:
            self._take_back(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Hold one connection inside a transaction, which is committed at the end and rolled back by an exception."""
        async with self.acquire() as connection, connection.transaction():
            yield connection

    async def fetch(self, sql: str, *arguments: object) -> Sequence[Record]:
        """Run a statement by itself and return its rows."""
        connection = await self._lend()
        try:
            rows: Sequence[Record] = await _with_retries(connection.fetch, sql, arguments)
            return rows
        finally:
            self._take_back(connection)

    async def fetchrow(self, sql: str, *arguments: object) -> Record | None:
        """Run a statement by itself and return its first row; None when there is none."""
        connection = await self._lend()
        try:
            return await _with_retries(connection.fetchrow, sql, arguments)
        finally:
            self._take_back(connection)

    async def fetchval(self, sql: str, *arguments: object) -> Any:  # noqa: ANN401  # a column of any type
        """Run a statement by itself and return the first column of its first row; None when there is none."""
        connection = await self._lend()
        try:
            return await _with_retries(connection.fetchval, sql, arguments)
        finally:
            self._take_back(connection)

    async def execute(self, sql: str, *arguments: object) -> str:
        """Run a statement by itself and return its status, as "UPDATE 3"."""
        connection = await self._lend()
        try:
            status: str = await _with_retries(connection.execute, sql, arguments)
            return status
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
            self._discard_hung(connection)
        elif self._closed or connection.is_closed() or connection.is_in_transaction():
            connection.terminate()
        else:
            self._free.append(connection)
            self._end_idle()

    def _end_idle(self) -> None:
        """End the connection that was not used for longest, if that is long ago."""
        if monotonic() - self._free[0].answered_at_s > _IDLE_S:
            self._free.popleft().terminate()

    def _discard_hung(self, connection: Connection) -> None:
        """Discard a connection that may hang, and with it the idle ones that have not answered since its statement
        began. Their sessions are ended by another connection: this one may not reach a server that holds locks. A pool
        that is closed only terminates: its process ends, and nobody would wait for more."""
        hung = [connection]
        if monotonic() - connection.hung_since_s > _SUSPECT_AFTER_S:
            hung += [idle for idle in self._free if idle.answered_at_s < connection.hung_since_s]
            self._free = deque(idle for idle in self._free if idle not in hung)
        for each in hung:
            each.terminate()
        sessions = [each.session for each in hung if each.session is not None]
        if sessions and not self._closed:
            self._hung_sessions.put_nowait(sessions)

    async def _end_hung_sessions(self) -> None:
        """End sessions for as long as the pool is open. A task of its own: what discards a connection may be cancelled,
        or the last thing that its event loop does."""
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
                self._give_permit()  # it was granted in the same moment: pass it on
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


async def _with_retries(run: Callable[..., Awaitable[Any]], sql: str, arguments: tuple[object, ...]) -> Any:  # noqa: ANN401
    """Run a statement by itself; one that PostgreSQL rolled back in favor of another had no effect, and is repeated."""
    for _ in range(_MOST_ROLLBACKS):
        try:
            return await run(sql, *arguments)
        except RolledBack:
            continue
    return await run(sql, *arguments)


def _give_up(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(False)
