"""Open a connection that is known to have a server session (backend) of its own.

A connection pooler in transaction mode gives each transaction any backend that is free: session locks, LISTEN and
prepared statements are lost without an error. Such a pooler is detected with two connections: they share a backend, or
the backend of one changes between transactions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from zmart.errors import SettingError, Unavailable
from zmart.store.connection import connect_unprepared
from zmart.store.driver_errors import POOLED, POOLED_ERRORS
from zmart.store.pool import Connection

_ROUNDS = 2
_PID = "SELECT pg_backend_pid()"


@asynccontextmanager
async def session(database_url: str) -> AsyncIterator[Connection]:
    """Yield a connection that keeps the same backend. Raises SettingError for a connection pooler in transaction mode,
    otherwise as `connect`."""
    async with AsyncExitStack() as stack:
        first, second = [await _opened(stack, database_url) for _ in range(2)]
        if await _share_backends(first, second):
            raise SettingError(POOLED)
        await second.close()
        yield first
        await first.close()


async def _opened(stack: AsyncExitStack, database_url: str) -> Connection:
    connection = await connect_unprepared(database_url)
    stack.callback(connection.terminate)
    return connection


async def _share_backends(first: Connection, second: Connection) -> bool:
    """Return whether a pooler gives the connections their backends. It does if both have the same backend, or if one
    of them has more than one."""
    pids: dict[Connection, set[int]] = {first: set(), second: set()}
    try:
        # Each connection is asked twice in a row: otherwise a pooler that gives its backends in turn would give each
        # connection the same backend every time.
        for connection in (first, first, second, second) * _ROUNDS:
            pids[connection].add(await _backend(connection))
    except POOLED_ERRORS:
        return True
    except Unavailable as problem:
        if "pooling mode" in str(problem):
            return True  # PgBouncer's message in statement mode, where it refuses BEGIN
        raise
    return len(pids[first]) > 1 or len(pids[second]) > 1 or pids[first] == pids[second]


async def _backend(connection: Connection) -> int:
    async with connection.transaction():
        pid: int = await connection.fetchval(_PID)
        return pid
