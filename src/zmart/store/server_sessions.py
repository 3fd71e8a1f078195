"""Examine and end a session of PostgreSQL by another connection, when its own connection may be dead.

A connection can hang without an error: a host is gone, a proxy stopped, a firewall forgot it. Only the server knows
whether it still works on a statement, and the session keeps its locks until the server ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import datetime
from enum import StrEnum

import asyncpg
import msgspec

from zmart.store.database_hosts import open_connection
from zmart.store.driver_errors import DRIVER_ERRORS
from zmart.store.stopped_holders import HOLDERS

WITHIN_S = 2.0

# Settings of the session, for the server's end of a connection that is gone: it must not keep locks. Nor must that of a
# process that is stopped, whose kernel still answers: nothing of ours pauses for seconds within a transaction.
_BEGIN = """
SELECT pid, backend_start AS started_at, set_config('tcp_keepalives_idle', '10', false),
    set_config('tcp_keepalives_interval', '5', false), set_config('tcp_keepalives_count', '3', false),
    set_config('tcp_user_timeout', '20000', false), set_config('idle_in_transaction_session_timeout', '8000', false)
FROM pg_stat_activity WHERE pid = pg_backend_pid()
"""
# A statement that this session does not know is sent in two parts: between them the server waits for the client.
# Another role's session and a server that does not track activity show no state: then the session is taken to work.
_STATE = """
SELECT CASE WHEN count(*) = 0 THEN 'gone'
            WHEN bool_or(coalesce(state LIKE 'idle%' OR wait_event IN ('ClientRead', 'ClientWrite'), false)) THEN 'idle'
            WHEN bool_or(wait_event_type = 'Lock') THEN 'locked' ELSE 'working' END
FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2
"""
_END = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
JOIN unnest($1::integer[], $2::timestamptz[]) AS s (session_pid, started_at)
    ON pid = session_pid AND backend_start = started_at
WHERE usename = current_user
"""


class ServerSession(msgspec.Struct, frozen=True):
    """A session of the server. Process ids are used again: the start distinguishes two sessions."""

    pid: int
    started_at: datetime


async def begin(connection: asyncpg.Connection) -> ServerSession | None:
    """Bound how long the server keeps the session of a client that is gone, and return the session; None where the
    role does not see it. Raises errors of the driver."""
    row = await connection.fetchrow(_BEGIN)
    if row is None or row["started_at"] is None:
        return None
    return ServerSession(row["pid"], row["started_at"])


class SessionState(StrEnum):
    """What the server says of a session: it works on a statement, waits for a lock, does neither, or is not there."""

    WORKING = "working"
    LOCKED = "locked"
    IDLE = "idle"
    GONE = "gone"


async def state_of(database_url: str, session: ServerSession) -> SessionState:
    """Return what the server does with the session's statement. Where it waits for a lock, a stopped process that holds
    it loses its session. Raises errors of the driver."""
    async with short_connection(database_url) as connection:
        state = SessionState(await connection.fetchval(_STATE, session.pid, session.started_at))
        if state is SessionState.LOCKED:
            await HOLDERS.end(connection, session.pid)
        return state


async def end(database_url: str, sessions: Collection[ServerSession]) -> None:
    """End sessions, and with them their locks. Does nothing while the server cannot be reached."""
    try:
        async with short_connection(database_url) as connection:
            pids, starts = [s.pid for s in sessions], [s.started_at for s in sessions]
            await connection.execute(_END, pids, starts)
    except DRIVER_ERRORS:
        return


@asynccontextmanager
async def short_connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Open a connection for one question, with WITHIN_S for the whole block. Raises errors of the driver."""
    async with asyncio.timeout(WITHIN_S):
        connection = await open_connection(database_url, timeout=WITHIN_S, statement_cache_size=0)
        try:
            yield connection
        finally:
            connection.terminate()
