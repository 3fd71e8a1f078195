"""Receive notifications of PostgreSQL (LISTEN) on a dedicated connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from zmart.errors import StoreError, Unavailable
from zmart.store.connection import connect
from zmart.store.pool import Connection

CHECK_EVERY_S = 3.0


class NotificationListener:
    """Signal the notifications of one channel. The event `notified` is set by each notification, and when the
    connection is lost."""

    def __init__(self, connection: Connection) -> None:
        self.notified = asyncio.Event()
        self._connection = connection

    def clear(self) -> None:
        """Clear `notified`. Raises Unavailable when the connection was lost: no more notifications will come."""
        self.notified.clear()
        if self._connection.is_closed():
            raise Unavailable("The connection that listens for notifications was lost.")


@asynccontextmanager
async def listening(database_url: str, channel: str) -> AsyncIterator[NotificationListener]:
    """Listen on `channel` within the block. Yields a listener that counts as notified at the beginning. Raises
    StoreError."""
    connection = await connect(database_url)
    listener = NotificationListener(connection)

    def notified(*_: object) -> None:
        listener.notified.set()

    checks = asyncio.create_task(check_until_closed(connection))
    try:
        await connection.add_listener(channel, notified)
        connection.add_termination_listener(notified)
        notified()  # commits before LISTEN sent no notification to us
        yield listener
    finally:
        connection.remove_termination_listener(notified)
        checks.cancel()
        connection.terminate()  # it may hang, and needs no orderly end


async def check_until_closed(connection: Connection) -> None:
    """Return once a connection that only listens has ended. Run a statement every CHECK_EVERY_S: a connection that
    hangs is detected, and then ended, only by a statement without an answer."""
    closed = asyncio.Event()
    connection.add_termination_listener(lambda *_: closed.set())
    while not connection.is_closed():
        try:
            async with asyncio.timeout(CHECK_EVERY_S):
                await closed.wait()
        except TimeoutError:
            with suppress(StoreError):
                await connection.execute("SELECT 1")
