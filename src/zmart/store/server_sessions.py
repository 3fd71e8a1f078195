"""Examine and end a session of PostgreSQL over another connection, when the session's own connection may be dead.

A connection can hang without an error: its host vanished, a proxy stopped, or a firewall dropped its state. Only the
server knows whether it still works on the session's statement, and the session keeps its locks until the server ends
the session.
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

# Settings of the session with which the server ends it when its client has vanished, so that it keeps no locks. A
# process that is stopped still answers keepalive probes, so a session that is idle in a transaction ends, too: our code
# never pauses for seconds within a transaction.
_BEGIN = """
SELECT pid, backend_start AS started_at, set_config('tcp_keepalives_idle', '10', false),
    set_config('tcp_keepalives_interval', '5', false), set_config('tcp_keepalives_count', '3', false),
    set_config('tcp_user_timeout', '20000', false), set_config('idle_in_transaction_session_timeout', '8000', false)
FROM pg_stat_activity WHERE pid = pg_backend_pid()
"""
# A statement that is not prepared in the session is sent in two parts: between them the server waits for the client.
# Another role's session and a server that does not track activity show no state: such a session counts as working.
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
    """A session of the server: the process id of its backend, and when it started. Process ids are reused; the start
    distinguishes two sessions with the same one."""

    pid: int
    started_at: datetime


async def begin(connection: asyncpg.Connection) -> ServerSession | None:
    """Set timeouts with which the server soon ends the session if its client vanishes. Returns the session; None if
    the role cannot see it in pg_stat_activity. Raises errors of the driver."""
    row = await connection.fetchrow(_BEGIN)
    if row is None or row["started_at"] is None:
        return None
    return ServerSession(row["pid"], row["started_at"])


class SessionState(StrEnum):
    """The state of a session on the server. It works on a statement (WORKING), waits for a lock (LOCKED), works on
    no statement (IDLE), or does not exist any more (GONE)."""

    WORKING = "working"
    LOCKED = "locked"
    IDLE = "idle"
    GONE = "gone"


async def state_of(database_url: str, session: ServerSession) -> SessionState:
    """Return the state of a session, read over another connection. If the session waits for a lock, the session of a
    stopped process that holds the lock is ended. Raises errors of the driver."""
    async with short_connection(database_url) as connection:
        state = SessionState(await connection.fetchval(_STATE, session.pid, session.started_at))
        if state is SessionState.LOCKED:
            await HOLDERS.end(connection, session.pid)
        return state


async def end(database_url: str, sessions: Collection[ServerSession]) -> None:
    """End sessions of our role, which frees their locks. Does nothing if the server cannot be reached."""
    try:
        async with short_connection(database_url) as connection:
            pids, starts = [s.pid for s in sessions], [s.started_at for s in sessions]
            await connection.execute(_END, pids, starts)
    except DRIVER_ERRORS:
        return


@asynccontextmanager
async def short_connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Open a connection for the block, which is limited to WITHIN_S seconds together with the connecting. Raises errors
    of the driver."""
    async with asyncio.timeout(WITHIN_S):
        connection = await open_connection(database_url, timeout=WITHIN_S, statement_cache_size=0)
        try:
            yield connection
        finally:
            connection.terminate()
