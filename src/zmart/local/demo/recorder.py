"""Record the live feed with a WebSocket client that resumes after a lost connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from zmart.errors import ZmartError
from zmart.loopback import socket_proxy

_RETRY_S = 0.2
_CONFIRMATIONS = {"subscribed", "unsubscribed", "welcome", "pong", "gap", "error"}


class RecordedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Hold one message of the server (envelope: docs/websocket.md)."""

    type: str
    channel: str = ""
    market_id: str = ""
    epoch: str = ""
    offset: int = 0
    data: dict[str, object] = {}


class SocketRecorder:
    """Subscribe to channels and record. After a lost connection each channel resumes from its last offset."""

    def __init__(self, url: str, channels: list[str], since: tuple[str, int] | None = None) -> None:
        self._url = url
        self._channels = channels
        self._last: dict[str, int] = {}
        self._since = since
        self.epoch = since[0] if since else ""
        self._changed = asyncio.Condition()
        self._connection: ClientConnection | None = None
        self.messages: list[RecordedMessage] = []
        self.gaps = 0
        self.reconnects = -1

    @classmethod
    @asynccontextmanager
    async def listening(
        cls, url: str, channels: list[str], since: tuple[str, int] | None = None
    ) -> AsyncIterator[SocketRecorder]:
        """Run a recorder for the block; entered once it is connected and its channels are confirmed.

        `since` is an (epoch, offset) from which every channel is replayed.
        """
        recorder = cls(url, list(channels), since)
        task = asyncio.create_task(recorder._run())
        try:
            await recorder.wait_for(lambda m: m.type == "welcome", "its welcome", within_s=15)
            for channel in channels:
                await recorder.subscribed(channel)
            yield recorder
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def subscribed(self, channel: str) -> None:
        """Wait for the server's confirmation of a channel."""
        await self.wait_for(lambda m: m.type == "subscribed" and m.channel == channel, f"channel {channel}")

    async def message(self, channel: str, what: str, **data: object) -> RecordedMessage:
        """Return the message of `channel` whose data contains `data`, received or to come."""
        return await self.wait_for(
            lambda m: (
                m.channel == channel and m.type not in _CONFIRMATIONS and data.items() <= m.data.items()
            ),
            what,
        )

    async def through(self, channel: str, offset: int) -> None:
        """Wait until a channel was received through `offset`."""
        await self.wait_for(lambda m: m.channel == channel and m.offset >= offset, f"{channel} #{offset}")

    async def add(self, channel: str) -> None:
        """Subscribe to one more channel from now on."""
        self._channels.append(channel)
        if self._connection is not None:
            with suppress(WebSocketException):  # the next connection subscribes to all channels
                await self._connection.send(self._subscribe(channel))

    async def wait_for(
        self, matches: Callable[[RecordedMessage], bool], what: str, within_s: float = 20
    ) -> RecordedMessage:
        """Return the first message, received or to come, that matches; ZmartError names `what` was missed."""
        position = 0

        def is_there() -> bool:
            nonlocal position
            while position < len(self.messages):
                if matches(self.messages[position]):
                    return True
                position += 1
            return False

        try:
            async with asyncio.timeout(within_s), self._changed:
                await self._changed.wait_for(is_there)
        except TimeoutError:
            raise ZmartError(f"the socket did not send {what} within {within_s:.0f} s") from None
        return self.messages[position]

    @property
    def first_offset(self) -> int:
        """Return the first offset that was received on any channel."""
        return min((m.offset for m in self.messages if m.offset and m.type not in _CONFIRMATIONS), default=1)

    def tape(self, channel: str) -> list[RecordedMessage]:
        """Return the messages of one channel, without the confirmations of subscriptions."""
        return [m for m in self.messages if m.channel == channel and m.type not in _CONFIRMATIONS]

    async def _run(self) -> None:
        while True:
            try:
                async with connect(self._url, max_size=None, proxy=socket_proxy(self._url)) as connection:
                    self._connection = connection
                    self.reconnects += 1
                    for channel in self._channels:
                        await connection.send(self._subscribe(channel))
                    async for frame in connection:
                        await self._take(frame)
            except (OSError, WebSocketException, TimeoutError):
                pass
            self._connection = None
            await asyncio.sleep(_RETRY_S)

    def _subscribe(self, channel: str) -> str:
        request: dict[str, object] = {"action": "subscribe", "channel": channel}
        last = self._last.get(channel, self._since[1] if self._since else None)
        if last is not None:
            request |= {"epoch": self.epoch, "offset": last}
        return msgspec.json.encode(request).decode()

    async def _take(self, frame: str | bytes) -> None:
        message = msgspec.json.decode(frame, type=RecordedMessage)
        self.gaps += message.type == "gap"
        self.epoch = message.epoch or self.epoch
        if message.channel and message.offset:
            self._last[message.channel] = max(self._last.get(message.channel, 0), message.offset)
        async with self._changed:
            self.messages.append(message)
            self._changed.notify_all()
