"""A WebSocket client that keeps everything it hears and comes back where it left, as a careful front end would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from zmart.errors import ZmartError

_COME_BACK_S = 0.2


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """One message of the server (spec of the envelope: docs/websocket.md)."""

    type: str
    channel: str = ""
    market_id: str = ""
    epoch: str = ""
    offset: int = 0
    data: dict[str, object] = {}


class Recorder:
    """Subscribes to channels and records. After a lost connection it resumes each channel from its last offset."""

    def __init__(self, url: str, channels: list[str]) -> None:
        self._url = url
        self._channels = channels
        self._last: dict[str, int] = {}
        self._epoch = ""
        self._news = asyncio.Condition()
        self._connection: ClientConnection | None = None
        self.heard: list[Heard] = []
        self.gaps = 0
        self.reconnects = -1

    @classmethod
    @asynccontextmanager
    async def listening(cls, url: str, channels: list[str]) -> AsyncIterator[Recorder]:
        """A recorder whose task runs for the block; entered once the first subscriptions are confirmed."""
        recorder = cls(url, channels)
        task = asyncio.create_task(recorder._run())
        try:
            await recorder.wait_for(lambda m: m.type == "subscribed", "the subscription", within_s=15)
            yield recorder
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def add(self, channel: str) -> None:
        """Listen to one more channel from now on."""
        self._channels.append(channel)
        if self._connection is not None:
            with suppress(WebSocketException):  # the next connection subscribes to all channels
                await self._connection.send(self._subscribe(channel))

    async def wait_for(self, wanted: Callable[[Heard], bool], what: str, within_s: float = 20) -> Heard:
        """The first message, past or coming, for which `wanted` holds; ZmartError names `what` was missed."""
        position = 0

        def found() -> bool:
            nonlocal position
            while position < len(self.heard):
                if wanted(self.heard[position]):
                    return True
                position += 1
            return False

        try:
            async with asyncio.timeout(within_s), self._news:
                await self._news.wait_for(found)
        except TimeoutError:
            raise ZmartError(f"the socket did not tell {what} within {within_s:.0f} s") from None
        return self.heard[position]

    def tape(self, channel: str) -> list[Heard]:
        """What one channel said, without the confirmations of subscriptions."""
        quiet = {"subscribed", "unsubscribed", "welcome", "pong", "gap", "error"}
        return [m for m in self.heard if m.channel == channel and m.type not in quiet]

    async def _run(self) -> None:
        while True:
            try:
                async with connect(self._url, max_size=None) as connection:
                    self._connection = connection
                    self.reconnects += 1
                    for channel in self._channels:
                        await connection.send(self._subscribe(channel))
                    async for frame in connection:
                        await self._take(frame)
            except (OSError, WebSocketException, TimeoutError):
                pass
            self._connection = None
            await asyncio.sleep(_COME_BACK_S)

    def _subscribe(self, channel: str) -> str:
        request: dict[str, object] = {"action": "subscribe", "channel": channel}
        if channel in self._last:
            request |= {"epoch": self._epoch, "offset": self._last[channel]}
        return msgspec.json.encode(request).decode()

    async def _take(self, frame: str | bytes) -> None:
        message = msgspec.json.decode(frame, type=Heard)
        self.gaps += message.type == "gap"
        self._epoch = message.epoch or self._epoch
        if message.channel and message.offset:
            self._last[message.channel] = max(self._last.get(message.channel, 0), message.offset)
        async with self._news:
            self.heard.append(message)
            self._news.notify_all()
