"""Open a connection that is certainly a session of its own.

A connection pooler in transaction mode gives each transaction whichever session is free: session locks, LISTEN and
prepared statements are lost without an error. Two connections of ours then share a backend, or one changes it.
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
    """Yield a connection that keeps its backend. Raises SettingError for a pooler in transaction mode, otherwise as
    `connect`."""
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
    """Whether both ever have the same backend, or one of them ever has another one than before."""
    pids: dict[Connection, set[int]] = {first: set(), second: set()}
    try:
        # Each twice in a row: a pooler that gives its backends in turn would else look like two sessions.
        for connection in (first, first, second, second) * _ROUNDS:
            pids[connection].add(await _backend(connection))
    except POOLED_ERRORS:
        return True
    except Unavailable as problem:
        if "pooling mode" in str(problem):
            return True  # PgBouncer's words in statement mode, where it refuses BEGIN
        raise
    return len(pids[first]) > 1 or len(pids[second]) > 1 or pids[first] == pids[second]


async def _backend(connection: Connection) -> int:
    async with connection.transaction():
        pid: int = await connection.fetchval(_PID)
        return pid
