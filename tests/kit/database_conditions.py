"""Changes that operators and managed hosts make to a database while services use it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg


class DatabaseConditions:
    """Changes a running database from outside, by sessions that override the database's own settings."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._name = database_url.rpartition("/")[2]

    async def set(self, setting: str, value: str) -> None:
        """Run `ALTER DATABASE ... SET`, as a host would: new sessions have the value; existing ones are ended."""
        await self._alter(f"SET {setting} = '{value}'")

    async def reset(self, setting: str) -> None:
        await self._alter(f"RESET {setting}")

    async def reset_for_new_sessions(self, setting: str) -> None:
        """Reset a setting and leave the existing sessions, which keep the value with which they began."""
        async with self._session() as session:
            await session.execute(f"ALTER DATABASE {self._name} RESET {setting}")

    async def cut(self) -> None:
        """End all sessions of the database."""
        await self._alter("")

    async def execute(self, sql: str, *arguments: object) -> None:
        """Run a statement in a session that may write even while the database is read-only by default."""
        async with self._session() as session:
            await session.execute(sql, *arguments)

    @asynccontextmanager
    async def locked(self, table: str) -> AsyncIterator[None]:
        """Hold an ACCESS EXCLUSIVE lock on the table within the block: no other session reads or writes it."""
        async with self._session() as session, session.transaction():
            await session.execute(f"LOCK TABLE {table}")
            yield

    async def _alter(self, change: str) -> None:
        admin = await asyncpg.connect(self._url.rpartition("/")[0] + "/postgres")
        try:
            if change:
                await admin.execute(f"ALTER DATABASE {self._name} {change}")
            cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"
            await admin.execute(cut, self._name)
        finally:
            await admin.close()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[asyncpg.Connection]:
        limits = {"default_transaction_read_only": "off", "lock_timeout": "0", "statement_timeout": "0"}
        session = await asyncpg.connect(self._url, server_settings=limits)
        try:
            yield session
        finally:
            await session.close()
