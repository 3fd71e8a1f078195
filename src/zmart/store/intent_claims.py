"""Claim intents by advisory locks. A process holds all its locks on one connection that is used for nothing else.

When the process dies, or its connection to PostgreSQL breaks, the server ends the session and frees its locks. Another
process may then resume the intents. The process that lost its session can no longer write to the journal, so it sends
nothing more. The session of a process that is stopped (SIGSTOP) or paused does not end, because the kernel still
answers keepalive probes. So a session with locks runs a heartbeat statement every second, and a process that wants a
lock ends the session that holds it if that has run no statement for SILENT_AFTER_S.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from uuid import UUID

import msgspec

from zmart.errors import StoreError
from zmart.store import session_locks
from zmart.store.intents import IntentRow, Journal, one
from zmart.store.pool import Connection, Pool, Record

_KEY = "SELECT hashtextextended('zmart intent ' || $1, 0)"
_TRY_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('zmart intent ' || $1, 0))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtextextended('zmart intent ' || $1, 0))"
_IS_FREE = """
WITH lock AS (SELECT hashtextextended('zmart intent ' || $1, 0) AS key)
SELECT CASE WHEN pg_try_advisory_lock(key) THEN pg_advisory_unlock(key) ELSE false END FROM lock
"""
_HEARTBEAT = "SELECT 1"
_HEARTBEAT_EVERY_S = 1.0
SILENT_AFTER_S = 4.0
"""Seconds after which the holder of a lock that has run no statement counts as stopped. A process that is so busy that
it misses its heartbeats cannot work on its intents in time either."""
# The server gives up a peer that vanished after 8 s, so that its locks are free within 10 s.
_KEEPALIVE = """
SELECT set_config('tcp_keepalives_idle', '2', false), set_config('tcp_keepalives_interval', '2', false),
       set_config('tcp_keepalives_count', '3', false), set_config('tcp_user_timeout', '8000', false)
"""


class Claim(msgspec.Struct, frozen=True):
    """An intent that only this process may execute. `intent` is its row as it was when the lock was taken; `journal`
    writes the progress over the connection that holds the lock."""

    intent: IntentRow
    journal: Journal


class _LockSession:
    """The connection that holds the locks. Several tasks share it; it runs one statement at a time."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._statement_lock = asyncio.Lock()

    async def fetchval(self, sql: str, *arguments: object) -> object:
        async with self._statement_lock:
            return await self.connection.fetchval(sql, *arguments)

    async def fetchrow(self, sql: str, *arguments: object) -> Record | None:
        async with self._statement_lock:
            return await self.connection.fetchrow(sql, *arguments)


class Claims:
    """Claim the intents that this process executes. Use an instance as an async context manager, or call `close()`."""

    def __init__(self, pool: Pool, *, owns_pool: bool = False) -> None:
        """Use one connection of `pool` from the first claim to `close`, which also closes the pool if `owns_pool`."""
        self._pool = pool
        self._owns_pool = owns_pool
        self._session: _LockSession | None = None
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._mine: set[UUID] = set()
        self._heartbeat: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, database_url: str, wait_s: float = 30.0) -> Claims:
        """Return an instance with a pool of its own, whose one connection is opened now. `wait_s`: the longest wait for
        a connection of that pool in seconds. Raises StoreError."""
        return cls(await Pool.open(database_url, size=1, wait_s=wait_s), owns_pool=True)

    async def __aenter__(self) -> Claims:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @asynccontextmanager
    async def claim(self, intent_id: UUID) -> AsyncIterator[Claim | None]:
        """Hold the intent's lock for the block. Yields None when another process, or another task of this one, holds
        the lock.

        Raises NotFound for an unknown intent, StoreError while PostgreSQL is unavailable.
        """
        if intent_id in self._mine:  # PostgreSQL would grant the session its own lock a second time
            yield None
            return
        self._mine.add(intent_id)
        try:
            session = await self._alive()
            if not await session.fetchval(_TRY_LOCK, str(intent_id)):
                yield None
                return
            try:
                if self._heartbeat is None or self._heartbeat.done():
                    self._heartbeat = asyncio.create_task(self._run_heartbeat(session))
                yield Claim(await one(session, intent_id), Journal(session))
            finally:
                await asyncio.shield(_unlock(session, intent_id))
        finally:
            self._mine.discard(intent_id)

    async def is_free(self, intent_id: UUID) -> bool:
        """Return whether no process executes the intent now. Ends the session of a holder that counts as stopped.
        Raises StoreError."""
        if intent_id in self._mine:
            return False
        session = await self._alive()
        if await session.fetchval(_IS_FREE, str(intent_id)):
            return True
        key = await session.fetchval(_KEY, str(intent_id))
        assert isinstance(key, int)
        if not await session_locks.end_silent_holder(session, key, SILENT_AFTER_S):
            return False
        return await session.fetchval(_IS_FREE, str(intent_id)) is True

    async def close(self) -> None:
        """End the session that holds the locks, which frees every remaining lock, and close the pool if it is owned."""
        self._end_heartbeat()
        if self._session is not None:
            self._session.connection.terminate()
        await self._stack.aclose()
        if self._owns_pool:
            await self._pool.close()

    async def _alive(self) -> _LockSession:
        async with self._opening:
            if self._session is None or self._session.connection.is_closed():
                await self._stack.aclose()
                connection = await self._stack.enter_async_context(self._pool.acquire())
                await connection.execute(_KEEPALIVE)
                self._session = _LockSession(connection)
                self._end_heartbeat()  # the heartbeat of the previous session
            return self._session

    async def _run_heartbeat(self, session: _LockSession) -> None:
        """Run a statement every second until this process holds no intent. Stop if the session has ended: its next use
        opens another."""
        with suppress(StoreError):
            await asyncio.sleep(_HEARTBEAT_EVERY_S)
            while self._mine:
                await session.fetchval(_HEARTBEAT)
                await asyncio.sleep(_HEARTBEAT_EVERY_S)

    def _end_heartbeat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            self._heartbeat = None


async def _unlock(session: _LockSession, intent_id: UUID) -> None:
    try:
        await session.fetchval(_UNLOCK, str(intent_id))
    except Exception:  # the lock must not remain: the server frees it when the session ends
        session.connection.terminate()
