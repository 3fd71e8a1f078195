"""Being told of commits: LISTEN on a connection of its own, until it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from zmart.errors import StoreError


@asynccontextmanager
async def listening(database_url: str, channel: str) -> AsyncIterator[asyncio.Event]:
    """An event that is set by every notification on `channel`, and when the connection is lost (then nothing
    more will come: leave the block). Raises StoreError when PostgreSQL is away."""
    try:
        connection = await asyncpg.connect(database_url, timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError) as problem:
        raise StoreError(f"PostgreSQL does not answer ({type(problem).__name__}).") from problem
    heard = asyncio.Event()

    def notified(*_: object) -> None:
        heard.set()

    try:
        await connection.add_listener(channel, notified)
        connection.add_termination_listener(notified)
        heard.set()  # commits that came before LISTEN made no sound here
        yield heard
    finally:
        connection.remove_termination_listener(notified)
        await connection.close(timeout=2)
