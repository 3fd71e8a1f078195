"""Detect a connection that waits for an answer while PostgreSQL does not work on its statement, and end it."""

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
"""Seconds after which a running statement is examined, once each EVERY_S. Most statements take milliseconds."""
NO_CONTACT_S = 5.0
"""Seconds after which a running statement is given up if PostgreSQL does not answer on a second connection either."""
log = structlog.get_logger()


class WatchedConnection(Protocol):
    """The attributes and methods of a connection that its watch uses.

    `statement_began_s`: when the running statement began, by the monotonic clock; 0 while none runs. The watch sets
    `hung_since_s` to this value when it ends the connection, so that the pool also doubts its other connections.
    """

    statement_began_s: float
    hung_since_s: float | None

    def is_closed(self) -> bool:
        """Return whether the connection has ended."""
        ...

    def terminate(self) -> None:
        """End the connection; a statement that waits for its answer raises."""
        ...


class ConnectionWatch:
    """Examine a connection every second while a statement runs. Each statement calls `arm`.

    The connection is ended in one of three cases. The server does not work on the statement in two examinations in a
    row (at the first, its answer may be on the way). The server has no such session, as after a fail-over. PostgreSQL
    cannot be reached for NO_CONTACT_S. A statement that the server works on may take any time.
    """

    def __init__(self, connection: WatchedConnection, database_url: str, session: ServerSession) -> None:
        self._connection = connection
        self._database_url = database_url
        self._session = session
        self._idle_in = 0.0
        """When the statement began that the server did not work on in the last examination; 0 if it worked."""
        self._examining: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def arm(self) -> None:
        """Start watching, unless the connection is watched already. Watching ends by itself once no statement runs, so
        an idle connection costs nothing."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._tick)

    def stop(self) -> None:
        """Stop watching. The connection calls it when it has ended."""
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
            return  # PostgreSQL answers and refuses this second connection: nothing is known about the first one
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
        if self._connection.statement_began_s == began_s:  # the statement's answer has not arrived meanwhile
            log.warning("a database connection hangs and is ended", reason=reason)
            self._connection.hung_since_s = began_s
            self._connection.terminate()
