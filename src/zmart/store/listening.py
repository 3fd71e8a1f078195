"""Receive notifications of PostgreSQL on a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from zmart.store.connection import connect


@asynccontextmanager
async def listening(database_url: str, channel: str) -> AsyncIterator[asyncio.Event]:
    """Yield an event that every notification on `channel` sets, and the loss of the connection: then leave the block.
    Raises StoreError."""
    connection = await connect(database_url)
    notified_event = asyncio.Event()

    def notified(*_: object) -> None:
        notified_event.set()

    try:
        await connection.add_listener(channel, notified)
        connection.add_termination_listener(notified)
        notified_event.set()  # commits before LISTEN sent no notification to us
        yield notified_event
    finally:
        connection.remove_termination_listener(notified)
        await connection.close(timeout=2)
