"""Receive notifications of PostgreSQL on a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from zmart.errors import StoreError, Unavailable
from zmart.store.connection import connect
from zmart.store.pool import Connection

CHECK_EVERY_S = 3.0


class NotificationListener:
    """Signal the notifications of one channel: `notified` is set by each of them, and by the loss of the connection."""

    def __init__(self, connection: Connection) -> None:
        self.notified = asyncio.Event()
        self._connection = connection

    def clear(self) -> None:
        """Discard earlier notifications. Raises Unavailable when the connection was lost: no more will come."""
        self.notified.clear()
        if self._connection.is_closed():
            raise Unavailable("The connection that listens for notifications was lost.")


@asynccontextmanager
async def listening(database_url: str, channel: str) -> AsyncIterator[NotificationListener]:
    """Listen on `channel` within the block. Raises StoreError."""
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
        connection.terminate()  # it may hang, and has nothing to end in order


async def check_until_closed(connection: Connection) -> None:
    """Return once a connection that only listens has ended. One that hangs is ended: it gives no other sign than that
    a statement is not answered."""
    closed = asyncio.Event()
    connection.add_termination_listener(lambda *_: closed.set())
    while not connection.is_closed():
        try:
            async with asyncio.timeout(CHECK_EVERY_S):
                await closed.wait()
        except TimeoutError:
            with suppress(StoreError):
                await connection.execute("SELECT 1")
