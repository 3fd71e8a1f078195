"""Notice a connection that hangs while PostgreSQL no longer works on its statement, and end it."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

import asyncpg
import structlog

from zmart.store import server_sessions
from zmart.store.driver_errors import DRIVER_ERRORS
from zmart.store.server_sessions import ServerSession, SessionState

EVERY_S = 1.0
SUSPECT_AFTER_S = 0.9
"""A statement that takes longer is examined from the next look on: most take milliseconds."""
NO_CONTACT_S = 5.0
"""A statement that takes longer is given up when PostgreSQL does not answer on another connection either."""
log = structlog.get_logger()


class WatchedConnection(Protocol):
    """What the watch needs of a connection. `statement_began_s`: by the monotonic clock, 0 while none runs.
    `hung_since_s` is set to that when the connection is ended: others to the same server are in doubt, too."""

    statement_began_s: float
    hung_since_s: float | None

    def is_closed(self) -> bool:
        """Return whether the connection has ended."""
        ...

    def terminate(self) -> None:
        """End it; a statement that waits for its answer raises."""
        ...


class ConnectionWatch:
    """Examine a connection every second while it is used: each statement calls `arm`.

    A long statement is no fault: the connection is ended only when the server is idle in two examinations of one
    statement, for an answer may be under way at the first, when it has no such session, as after a fail-over, or when
    PostgreSQL cannot be reached at all.
    """

    def __init__(self, connection: WatchedConnection, database_url: str, session: ServerSession) -> None:
        self._connection = connection
        self._database_url = database_url
        self._session = session
        self._idle_in = 0.0
        """When the statement began that the server did not work on."""
        self._examining: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def arm(self) -> None:
        """Watch from now on; idempotent. Ends by itself once no statement runs: an idle connection costs nothing."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._tick)

    def stop(self) -> None:
        """Stop watching; called when the connection has ended."""
        if self._timer is not None:
            self._timer.cancel()
        if self._examining is not None and self._examining is not asyncio.current_task():
            self._examining.cancel()

    def _tick(self) -> None:
        self._timer = None
        began_s = self._connection.statement_began_s
        if not began_s or self._connection.is_closed():
            return
        self.arm()
        is_running = self._examining is not None and not self._examining.done()
        if not is_running and time.monotonic() - began_s > SUSPECT_AFTER_S:
            self._examining = asyncio.create_task(self._examine(began_s))

    async def _examine(self, began_s: float) -> None:
        try:
            state = await server_sessions.state_of(self._database_url, self._session)
        except asyncpg.PostgresError:
            return  # it answers, and refuses this connection: nothing is known of the other
        except DRIVER_ERRORS as problem:
            if time.monotonic() - began_s > NO_CONTACT_S:
                self._end(began_s, f"PostgreSQL does not answer ({type(problem).__name__})")
            return
        if state is SessionState.GONE:
            self._end(began_s, "PostgreSQL has no such session")
        elif state is SessionState.IDLE and self._idle_in == began_s:
            await server_sessions.end(self._database_url, [self._session])
            self._end(began_s, "PostgreSQL does not work on its statement")
        self._idle_in = began_s if state is SessionState.IDLE else 0.0

    def _end(self, began_s: float, reason: str) -> None:
        if self._connection.statement_began_s == began_s:  # its answer has not come meanwhile
            log.warning("a database connection hangs and is ended", reason=reason)
            self._connection.hung_since_s = began_s
            self._connection.terminate()
