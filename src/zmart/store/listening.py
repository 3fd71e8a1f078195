"""Being told of commits: LISTEN on a connection of its own, until it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from zmart.store.connection import connect


@asynccontextmanager
async def listening(database_url: str, channel: str) -> AsyncIterator[asyncio.Event]:
    """An event that is set by every notification on `channel`, and when the connection is lost (then nothing
    more will come: leave the block). Raises StoreError."""
    connection = await connect(database_url)
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
