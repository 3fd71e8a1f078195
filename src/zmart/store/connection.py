"""Connect to PostgreSQL. The connections raise the errors of the store instead of the driver's."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from time import monotonic
from typing import Any, Literal, NoReturn

import asyncpg
from asyncpg import Record
from asyncpg.transaction import Transaction

from zmart.errors import SettingError, Unavailable
from zmart.store import metrics, server_sessions
from zmart.store.connection_watch import ConnectionWatch
from zmart.store.database_hosts import open_connection
from zmart.store.driver_errors import DRIVER_ERRORS, connect_error, store_error
from zmart.store.missing_schema import REPORTED_BY, schema_error
from zmart.store.server_sessions import ServerSession

CONNECT_WITHIN_S = 3.0
STATEMENT_WITHIN_S = 60.0
_CLOSE_WITHIN_S = 2.0
_TCP_OPTIONS = {
    "TCP_KEEPIDLE": 5,
    "TCP_KEEPINTVL": 2,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 10_000,  # milliseconds
}
"""With these options a connection whose peer has vanished ends within about ten seconds, idle or not. With the
defaults of Linux it ends after hours."""
_Isolation = Literal["read_committed", "read_uncommitted", "repeatable_read", "serializable"]
_ENDED = "PostgreSQL is unavailable (it ended the connection)."
_ENDS_A_STATEMENT = (*DRIVER_ERRORS, asyncio.CancelledError)


class StoreConnection(asyncpg.Connection):
    """asyncpg's connection. It raises Unavailable, Busy and ReadOnly; any other exception is a bug.

    After a statement timed out or was cancelled, `hung_since_s` holds when the statement began, by the monotonic clock:
    whether the connection still works is unknown, and it must not be used any more. `statement_began_s` is 0 while no
    statement runs; `answered_at_s` is when the last statement ended, `opened_at_s` when the connection was
    opened.
    """

    opened_at_s = 0.0
    statement_began_s = 0.0
    answered_at_s = 0.0
    hung_since_s: float | None = None
    database_url = ""
    session: ServerSession | None = None
    watch: ConnectionWatch | None = None

    # Each method catches errors itself: one coroutine around all of them would cost every statement microseconds.

    async def execute(self, query: str, *arguments: object, timeout: float | None = None) -> str:  # noqa: ASYNC109
        """Run a statement and return PostgreSQL's command tag, such as "UPDATE 3"."""
        self._begin()
        try:
            return await super().execute(query, *arguments, timeout=timeout)
        except _ENDS_A_STATEMENT as problem:
            await self._raise(problem)
        finally:
            self.answered_at_s, self.statement_began_s = monotonic(), 0.0

    async def executemany(
        self,
        command: str,
        rows: Iterable[Sequence[object]],
        *,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> None:
        """Run a statement once for each tuple of arguments, in one transaction."""
        self._begin()
        try:
            await super().executemany(command, rows, timeout=timeout)
        except _ENDS_A_STATEMENT as problem:
            await self._raise(problem)
        finally:
            self.answered_at_s, self.statement_began_s = monotonic(), 0.0

    async def fetch(  # type: ignore[override]  # no caller needs a class of records of its own
        self,
        query: str,
        *arguments: object,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> list[Record]:
        """Run a statement and return its rows."""
        self._begin()
        try:
            return await super().fetch(query, *arguments, timeout=timeout)
        except _ENDS_A_STATEMENT as problem:
            await self._raise(problem)
        finally:
            self.answered_at_s, self.statement_began_s = monotonic(), 0.0

    async def fetchrow(  # type: ignore[override]  # no caller needs a class of records of its own
        self,
        query: str,
        *arguments: object,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> Record | None:
        """Run a statement and return its first row; None when there is none."""
        self._begin()
        try:
            return await super().fetchrow(query, *arguments, timeout=timeout)
        except _ENDS_A_STATEMENT as problem:
            await self._raise(problem)
        finally:
            self.answered_at_s, self.statement_began_s = monotonic(), 0.0

    async def fetchval(  # type: ignore[override]  # only of the first column
        self,
        query: str,
        *arguments: object,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> Any:  # noqa: ANN401
        """Run a statement and return the first column of its first row; None when there is none."""
        self._begin()
        try:
            return await super().fetchval(query, *arguments, timeout=timeout)
        except _ENDS_A_STATEMENT as problem:
            await self._raise(problem)
        finally:
            self.answered_at_s, self.statement_began_s = monotonic(), 0.0

    async def pieces(self, query: str, *arguments: object, size: int) -> AsyncIterator[list[Record]]:
        """Yield the rows of a query in lists of at most `size` rows. Needs a transaction."""
        cursor = await self._noted(self.cursor(query, *arguments))
        while rows := await self._noted(cursor.fetch(size)):
            yield rows

    async def _noted(self, statement: Awaitable[Any]) -> Any:  # noqa: ANN401
        self._begin()
        try:
            return await statement
        except _ENDS_A_STATEMENT as problem:
            await self._raise(problem)
        finally:
            self.answered_at_s, self.statement_began_s = monotonic(), 0.0

    def transaction(
        self, *, isolation: _Isolation | None = None, readonly: bool = False, deferrable: bool = False
    ) -> Transaction:
        """Return a transaction for `async with`, as in asyncpg. Raises Unavailable if the connection has ended."""
        self._check_open()
        return _StoreTransaction(self, isolation, readonly, deferrable)

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  # as in asyncpg
        """Close the connection, within `timeout` or two seconds. A connection that may hang is terminated at once."""
        if self.hung_since_s is not None:
            self.terminate()
            return
        # A server that hangs does not delay this: after the timeout the driver drops the connection.
        with suppress(*DRIVER_ERRORS):
            await super().close(timeout=timeout or _CLOSE_WITHIN_S)

    def _begin(self) -> None:
        self.statement_began_s = monotonic()
        if self.watch is not None:
            self.watch.arm()

    def _check_open(self) -> None:
        """Raise Unavailable if the connection has ended. asyncpg calls this method at the start of each operation; its
        own version raises InterfaceError, which cannot be distinguished from the error of a wrong call."""
        if self.is_closed():
            metrics.errors.labels(Unavailable.__name__).inc()
            raise Unavailable(_ENDED)

    async def _raise(self, problem: BaseException) -> NoReturn:
        """Raise the store's error for `problem`, or `problem` itself if it is a bug or a cancellation."""
        if isinstance(problem, (TimeoutError, asyncio.CancelledError)):
            self.hung_since_s = self.statement_began_s
        if not isinstance(problem, Exception):
            raise problem
        error = store_error(problem, connected=not self.is_closed())
        if error is None and isinstance(problem, REPORTED_BY) and self.database_url:
            error = await schema_error(self.database_url)
        if error is not None:
            metrics.errors.labels(type(error).__name__).inc()
            raise error from problem
        if isinstance(problem, asyncpg.InternalClientError):
            self.terminate()  # the state of the protocol is unknown
        raise problem


class _StoreTransaction(Transaction):
    """A transaction that does not wait for a connection that may hang. When its block raises on such a connection,
    or on one that has ended, the connection is terminated instead of rolled back."""

    def __init__(
        self, connection: StoreConnection, isolation: _Isolation | None, readonly: bool, deferrable: bool
    ) -> None:
        super().__init__(connection, isolation, readonly, deferrable)
        self._store_connection = connection

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        connection = self._store_connection
        if kind is not None and (connection.hung_since_s is not None or connection.is_closed()):
            connection.terminate()
            return
        await super().__aexit__(kind, error, traceback)


async def connect(
    database_url: str, *, statement_within_s: float | None = STATEMENT_WITHIN_S
) -> StoreConnection:
    """Return a new connection. It reads numeric as int (as Decimal if it has a fraction), json and jsonb as text.

    A statement times out after `statement_within_s` seconds; None sets no limit. Raises SettingError for an address
    that cannot be parsed or lacks a user, Unavailable, Busy and ReadOnly.
    """
    with _connect_errors():
        async with asyncio.timeout(CONNECT_WITHIN_S):
            connection = await _connect(database_url, command_timeout=statement_within_s)
            await _prepare(connection, database_url)
    return connection


async def connect_unprepared(database_url: str) -> StoreConnection:
    """Return a new connection that caches no prepared statements and sets no codecs. It is for use before it is
    known whether a connection pooler in transaction mode is in between. Raises as `connect`."""
    with _connect_errors():
        return await _connect(database_url, command_timeout=CONNECT_WITHIN_S, statement_cache_size=0)


async def _connect(database_url: str, **options: Any) -> StoreConnection:  # noqa: ANN401  # options of asyncpg
    connection: StoreConnection = await open_connection(
        database_url, timeout=CONNECT_WITHIN_S, connection_class=StoreConnection, **options
    )
    return connection


@contextmanager
def _connect_errors() -> Iterator[None]:
    try:
        yield
    except ValueError:  # the error's text holds parts of the address, and so of the password
        raise SettingError("DATABASE_URL is not an address of PostgreSQL: see .env.example.") from None
    except DRIVER_ERRORS as problem:
        error = connect_error(problem)
        metrics.errors.labels(type(error).__name__).inc()
        raise error from problem


async def _prepare(connection: StoreConnection, database_url: str) -> None:
    try:
        await _set_codecs(connection)
        _set_tcp_options(connection)
        connection.session = await server_sessions.begin(connection)
        connection.database_url = database_url
        connection.opened_at_s = monotonic()
    except BaseException:
        connection.terminate()
        raise
    if connection.session is not None:
        watch = connection.watch = ConnectionWatch(connection, database_url, connection.session)
        connection.add_termination_listener(lambda _: watch.stop())


def _set_tcp_options(connection: StoreConnection) -> None:
    transport = connection._transport  # type: ignore[attr-defined]  # the driver publishes no way to its socket
    transport_socket = transport.get_extra_info("socket")
    if transport_socket is None or transport_socket.family == socket.AF_UNIX:
        return
    # The event loop's socket object forbids setting options; a duplicate of its file descriptor allows it.
    with socket.socket(fileno=os.dup(transport_socket.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _TCP_OPTIONS.items():
            if hasattr(socket, name):  # not on every system
                same.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def _set_codecs(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec(
        "numeric", encoder=str, decoder=_number, schema="pg_catalog", format="text"
    )
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, encoder=str, decoder=str, schema="pg_catalog", format="text")


def _number(text: str) -> int | Decimal:
    """Decode a numeric: int without a fraction, else Decimal. Columns hold integers; only computed values have
    fractions."""
    return Decimal(text) if "." in text else int(text)
