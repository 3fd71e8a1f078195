"""End the sessions of stopped processes that hold a lock for which a statement of this process waits.

PostgreSQL itself ends a session that is idle in a transaction for some seconds (store/server_sessions.py). It does not
end a session in the middle of a statement. The driver sends a statement that is not prepared in the session in two
parts, and a process that is stopped between them keeps its locks for as long as its kernel answers keepalive probes.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import datetime

import asyncpg
import msgspec
import structlog

STOPPED_AFTER_S = 6.0
"""Seconds without the second part of a statement after which its client counts as stopped. With the time until the
waiting statement is first examined, this is about as long as a session may be idle in a transaction (8 seconds)."""
_FORGET_AFTER_S = 60.0

# COPY is left out: it waits for its client in many places, and a client that restores a dump may be slow.
_WAITING_FOR_CLIENT = """
SELECT pid, query_start FROM pg_stat_activity
WHERE pid = ANY (pg_blocking_pids($1)) AND state = 'active' AND wait_event = 'ClientRead'
  AND usename = current_user AND query !~* '^\\s*copy'
"""
_END = """
SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
JOIN unnest($1::integer[], $2::timestamptz[]) AS h (holder_pid, statement_began_at)
    ON pid = holder_pid AND query_start = statement_began_at
WHERE state = 'active' AND wait_event = 'ClientRead'
"""
log = structlog.get_logger()


class HeldStatement(msgspec.Struct, frozen=True):
    """A statement of another session that waits for its client while the session holds a lock. `pid`: the backend's
    process id; `began_at`: when the statement began."""

    pid: int
    began_at: datetime


class StoppedHolders:
    """Remember when each HeldStatement was first seen by this process. The statements that wait for its locks may time
    out earlier, so the time is kept here and not with them."""

    def __init__(self, stopped_after_s: float = STOPPED_AFTER_S) -> None:
        self._stopped_after_s = stopped_after_s
        self._since: dict[HeldStatement, float] = {}

    async def end(self, connection: asyncpg.Connection, waiting_pid: int) -> None:
        """End the sessions of stopped processes that hold a lock for which the session `waiting_pid` waits. Raises
        errors of the driver."""
        rows = await connection.fetch(_WAITING_FOR_CLIENT, waiting_pid)
        stopped = self.stopped_of(
            [HeldStatement(row["pid"], row["query_start"]) for row in rows], time.monotonic()
        )
        if stopped:
            pids, starts = [each.pid for each in stopped], [each.began_at for each in stopped]
            if await connection.fetchval(_END, pids, starts):
                log.warning("the session of a stopped process is ended: it held a lock", pids=pids)

    def stopped_of(self, statements: Collection[HeldStatement], now_s: float) -> list[HeldStatement]:
        """Return those of the statements that were first seen so long ago that their process counts as stopped.
        `now_s` is the time by the monotonic clock."""
        self._since = {each: since for each, since in self._since.items() if now_s - since < _FORGET_AFTER_S}
        for each in statements:
            self._since.setdefault(each, now_s)
        return [each for each in statements if now_s - self._since[each] >= self._stopped_after_s]


HOLDERS = StoppedHolders()
"""The statements that this process has seen, shared by all its connections."""
