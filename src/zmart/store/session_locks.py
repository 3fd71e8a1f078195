"""End the session that holds an advisory lock when its process no longer runs.

A process that is stopped, or whose machine is paused, keeps its session, because the kernel answers keepalive probes.
So holders of such locks run a statement regularly on the session that holds the lock, and a session that has been idle
for too long is ended. A session also counts as idle in the middle of a statement while the server waits for its client:
the driver sends a new statement in two parts.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

from zmart.store.pool import Record
from zmart.store.stopped_holders import HeldStatement, StoppedHolders

_WAITS = "(a.state LIKE 'idle%' OR a.wait_event = 'ClientRead')"
_WAITING_HOLDER = f"""
SELECT a.pid, a.state_change AS since, a.state_change < clock_timestamp() - $2 * interval '1 s' AS is_silent,
    a.state_change > clock_timestamp() AS is_ahead
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.classid::bigint = ($1::bigint >> 32) & 4294967295 AND l.objid::bigint = $1::bigint & 4294967295
  AND a.usename = current_user AND a.pid <> pg_backend_pid() AND {_WAITS}
LIMIT 1
"""
_END = f"""
SELECT count(*) FILTER (WHERE pg_terminate_backend(a.pid, 1000)) FROM pg_stat_activity a
WHERE a.pid = $1 AND a.state_change = $2 AND {_WAITS}
"""
_HOLDER = """
SELECT pid FROM pg_locks
WHERE locktype = 'advisory' AND granted AND objsubid = 1
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND classid::bigint = ($1::bigint >> 32) & 4294967295 AND objid::bigint = $1::bigint & 4294967295
"""
HOLDERS_AHEAD = StoppedHolders()
"""The sessions whose last statement lies in the future by the present clock, as this process has seen them."""


class Database(Protocol):
    """An object that runs a statement: a pool, a connection, or a connection that several tasks share."""

    async def fetchval(self, sql: str, /, *arguments: object) -> Any:  # noqa: ANN401  # a column of any type
        """Run a statement and return the first column of its first row; None when there is none."""
        ...

    async def fetchrow(self, sql: str, /, *arguments: object) -> Record | None:
        """Run a statement and return its first row; None when there is none."""
        ...


async def end_silent_holder(db: Database, key: int, silent_s: float) -> bool:
    """End the session that holds the advisory lock `key`, a 64-bit number, if the session is silent. It is silent if
    it has run no statement for `silent_s` seconds. Returns whether a session was ended. Raises StoreError."""
    row = await db.fetchrow(_WAITING_HOLDER, key, silent_s)
    if row is None or not (row["is_silent"] or (row["is_ahead"] and _is_silent_here(row))):
        return False
    return bool(await db.fetchval(_END, row["pid"], row["since"]))


def _is_silent_here(row: Record) -> bool:
    """Return whether a session whose last statement lies in the future is silent by this process's monotonic clock: the
    server's clock was set back after that statement."""
    seen = HeldStatement(row["pid"], row["since"])
    return bool(HOLDERS_AHEAD.stopped_of([seen], time.monotonic()))


async def holder(db: Database, key: int) -> object:
    """Return the session that holds the advisory lock `key`, a 64-bit number, as a value to compare: its process id.
    Returns None if no session holds it. Raises StoreError."""
    return await db.fetchval(_HOLDER, key)
