"""Connect to PostgreSQL; connections raise the errors of the store."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NoReturn

import asyncpg

from zmart.errors import SettingError
from zmart.store.driver_errors import DRIVER_ERRORS, connect_error, store_error

CONNECT_WITHIN_S = 5.0
STATEMENT_WITHIN_S = 60.0


class StoreConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg publishes no types
    """asyncpg's connection. Raises Unavailable, Busy and ReadOnly; any other exception is a bug."""

    # Each method catches for itself: one coroutine around them all would cost every statement microseconds.

    async def execute(self, query: str, *arguments: object, **options: Any) -> Any:  # noqa: ANN401
        """Run a statement and return its status."""
        try:
            return await super().execute(query, *arguments, **options)
        except DRIVER_ERRORS as problem:
            self._raise(problem)

    async def executemany(self, command: str, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        """Run a statement once for each tuple of arguments."""
        try:
            return await super().executemany(command, *arguments, **options)
        except DRIVER_ERRORS as problem:
            self._raise(problem)

    async def fetch(self, query: str, *arguments: object, **options: Any) -> Any:  # noqa: ANN401
        """Run a statement and return its rows."""
        try:
            return await super().fetch(query, *arguments, **options)
        except DRIVER_ERRORS as problem:
            self._raise(problem)

    async def fetchrow(self, query: str, *arguments: object, **options: Any) -> Any:  # noqa: ANN401
        """Run a statement and return its first row; None when there is none."""
        try:
            return await super().fetchrow(query, *arguments, **options)
        except DRIVER_ERRORS as problem:
            self._raise(problem)

    async def fetchval(self, query: str, *arguments: object, **options: Any) -> Any:  # noqa: ANN401
        """Run a statement and return the first column of its first row; None when there is none."""
        try:
            return await super().fetchval(query, *arguments, **options)
        except DRIVER_ERRORS as problem:
            self._raise(problem)

    def _raise(self, problem: Exception) -> NoReturn:
        """Raise the store's error for `problem`, or `problem` itself if it is a bug."""
        error = store_error(problem, connected=not self.is_closed())
        if error is not None:
            raise error from problem
        if isinstance(problem, asyncpg.InternalClientError):
            self.terminate()  # the state of the protocol is unknown
        raise problem


async def connect(database_url: str, *, statement_within_s: float | None = STATEMENT_WITHIN_S) -> Any:  # noqa: ANN401
    """Return a new connection, which reads numeric as int and jsonb as text.

    Raises SettingError for an address that cannot be parsed, Unavailable and Busy.
    """
    try:
        connection = await asyncpg.connect(
            database_url,
            timeout=CONNECT_WITHIN_S,
            command_timeout=statement_within_s,
            connection_class=StoreConnection,
        )
        await _set_codecs(connection)
    except ValueError:  # its text holds parts of the address, and so of the password
        raise SettingError("DATABASE_URL is not an address of PostgreSQL: see .env.example.") from None
    except DRIVER_ERRORS as problem:
        raise connect_error(problem) from problem
    return connection


async def _set_codecs(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec(
        "numeric", encoder=str, decoder=_number, schema="pg_catalog", format="text"
    )
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, encoder=str, decoder=str, schema="pg_catalog", format="text")


def _number(text: str) -> int | Decimal:
    """Decode a numeric: columns hold integers, only a computed value may have a fraction."""
    return Decimal(text) if "." in text else int(text)
