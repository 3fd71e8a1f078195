"""A client of the live feed that checks the numbers of its changes for holes and repeats, over all its connections.

It resumes from its position if the server offers that.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import cast

from feed_database import MARK
from readers import handshake

_RETRY_S = 0.2
_NUMBER = len(MARK) + 20
_OFFSET = b'"offset":'
_CHANGES = (b'{"type":"trade"', b'{"type":"INSERT"', b'{"type" : "INSERT"')
"""How messages of changes begin, for our server and the peers; messages of states contain trades, too."""


class FeedClient:
    """One client with its counts over all connections.

    `last` is the largest number of a change so far. `holes` counts missed changes, `repeats` repeated ones, `gaps` gaps
    that the server reported, `attempts` attempts to connect, `losses` lost connections. In a storm, `back` is set at
    `back_at` when the change `target` has arrived.
    """

    def __init__(self, port: int, path: str, address: str | None = None) -> None:
        self._port = port
        self._path = path
        self._address = None if address is None else (address, 0)
        self._connection: FeedConnection | None = None
        self.position: tuple[str, int] | None = None
        self.last = 0
        self.holes = self.repeats = self.gaps = self.attempts = self.losses = 0
        self.opening: asyncio.Future[None] | None = None
        self.target = 0
        self.back_at = 0.0
        self.back = asyncio.Event()

    async def connect(self) -> None:
        """Connect until a server accepts the handshake."""
        loop = asyncio.get_running_loop()
        while True:
            self.attempts += 1
            self.opening = loop.create_future()
            connection = self._connection = FeedConnection(self)
            try:
                await loop.create_connection(
                    lambda: connection,  # noqa: B023  # it is called before the next turn
                    "127.0.0.1",
                    self._port,
                    local_addr=self._address,
                )
                await self.opening
                return
            except asyncio.CancelledError:
                connection.end()  # otherwise it would count as lost
                raise
            except OSError:
                await asyncio.sleep(_RETRY_S)

    def disconnect(self) -> None:
        """Abort the connection without a closing handshake, as when the client's network is gone."""
        if self._connection is not None:
            self._connection.end()
            self._connection = None

    def opened(self) -> None:
        assert self.opening is not None
        if not self.opening.done():  # no longer awaited when the client is disconnecting
            self.opening.set_result(None)

    def lost(self) -> None:
        """Count a lost connection; connect again if the storm has begun and the client is not back yet."""
        assert self.opening is not None
        self.losses += 1
        if not self.opening.done():
            self.opening.set_exception(ConnectionError("lost before the handshake"))
        elif self.target and not self.back_at:
            self.again = asyncio.get_running_loop().create_task(self.connect())

    def path(self) -> str:
        """Return the path to request, with the position to resume from if the server gave one."""
        if self.position is None:
            return self._path
        epoch, offset = self.position
        return f"{self._path}&epoch={epoch}&offset={offset}"

    def message(self, buffer: bytes, start: int, end: int) -> None:
        if not buffer.startswith(_CHANGES, start):
            self._answer(buffer[start:end])
            return
        at = buffer.index(MARK, start, end)
        number = int(buffer[at + _NUMBER : at + _NUMBER + 12])
        if self.last and number > self.last + 1:
            self.holes += number - self.last - 1
        if number <= self.last:
            self.repeats += 1
        self.last = max(self.last, number)
        if self.position is not None:
            offset_at = buffer.find(_OFFSET, start, end) + len(_OFFSET)
            self.position = (self.position[0], int(buffer[offset_at : buffer.index(b",", offset_at)]))
        if self.target and self.last >= self.target and not self.back_at:
            self.back_at = time.monotonic()
            self.back.set()

    def _answer(self, text: bytes) -> None:
        if b'"type":"gap"' in text:
            self.gaps += 1
        elif b'"type":"subscribed"' in text and self.position is None:
            answer = json.loads(text)
            self.position = (answer["epoch"], answer["offset"])


class FeedConnection(asyncio.Protocol):
    """One connection of a client, which sends the handshake and passes on each complete message."""

    def __init__(self, client: FeedClient) -> None:
        self._client = client
        self._rest = b""
        self._is_open = self._is_ended = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._is_ended:
            self._transport.abort()
            return
        self._transport.write(handshake(self._client.path()))

    def end(self) -> None:
        self._is_ended = True
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._is_ended:
            return
        buffer = self._rest + data
        if not self._is_open:
            head, end, rest = buffer.partition(b"\r\n\r\n")
            if not end:
                self._rest = buffer
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self._is_open, buffer = True, rest
            self._client.opened()
        self._rest = buffer[self._frames(buffer) :]

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._is_ended:
            self._client.lost()

    def _frames(self, buffer: bytes) -> int:
        """Read the complete frames in the buffer; return the index at which the rest begins."""
        at = 0
        while len(buffer) - at >= 4:
            size, head = buffer[at + 1], 2
            if size >= 126:
                head = 4 if size == 126 else 10
                size = int.from_bytes(buffer[at + 2 : at + head], "big")
            end = at + head + size
            if end > len(buffer):
                break
            if buffer[at] == 0x81:
                self._client.message(buffer, at + head, end)
            at = end
        return at
