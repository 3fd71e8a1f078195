"""End the sessions of stopped processes whose locks a statement of this process waits for.

PostgreSQL itself ends a session that is idle in a transaction for seconds (store/server_sessions.py). It does not while
the session is in the middle of a statement: the driver sends one that the session does not know in two parts, and a
process that is stopped between them holds its locks for as long as its kernel answers.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import datetime

import asyncpg
import msgspec
import structlog

STOPPED_AFTER_S = 6.0
"""A client that has not sent the second part of its statement for so long is stopped, or gone. Together with the first
examination of a waiting statement this is as long as a session may be idle in a transaction."""
_FORGET_AFTER_S = 60.0

# COPY waits for its client in many places, and a client that restores a dump may be slow.
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
    """A statement of another session that waits for its client while it holds a lock."""

    pid: int
    began_at: datetime


class StoppedHolders:
    """Remember since when each such statement is known: those that wait for its locks may be given up sooner."""

    def __init__(self, stopped_after_s: float = STOPPED_AFTER_S) -> None:
        self._stopped_after_s = stopped_after_s
        self._since: dict[HeldStatement, float] = {}

    async def end(self, connection: asyncpg.Connection, waiting_pid: int) -> None:
        """End those for whose locks the session `waiting_pid` waits, once they are known for long. Raises errors of
        the driver."""
        rows = await connection.fetch(_WAITING_FOR_CLIENT, waiting_pid)
        stopped = self.stopped_of(
            [HeldStatement(row["pid"], row["query_start"]) for row in rows], time.monotonic()
        )
        if stopped:
            pids, starts = [each.pid for each in stopped], [each.began_at for each in stopped]
            if await connection.fetchval(_END, pids, starts):
                log.warning("the session of a stopped process is ended: it held a lock", pids=pids)

    def stopped_of(self, statements: Collection[HeldStatement], now_s: float) -> list[HeldStatement]:
        """Return those of the statements that are known for so long that their process is stopped."""
        self._since = {each: since for each, since in self._since.items() if now_s - since < _FORGET_AFTER_S}
        for each in statements:
            self._since.setdefault(each, now_s)
        return [each for each in statements if now_s - self._since[each] >= self._stopped_after_s]


HOLDERS = StoppedHolders()
"""Those that this process knows."""
