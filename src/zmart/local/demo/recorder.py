"""Record the messages of WebSocket channels with a client that resumes after a lost connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from zmart.errors import ZmartError
from zmart.loopback import socket_proxy

_RETRY_S = 0.2
_CONFIRMATIONS = {"subscribed", "unsubscribed", "welcome", "pong", "gap", "error"}


class RecordedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message of the WebSocket server; docs/websocket.md describes the fields."""

    type: str
    channel: str = ""
    market_id: str = ""
    epoch: str = ""
    offset: int = 0
    data: dict[str, Any] = {}

    @property
    def rows_after_gap(self) -> list[dict[str, Any]]:
        """Return the rows of the snapshot that the server sends after a gap, which holds the changes within the gap.

        The list is empty for any other message, and for a snapshot without rows (tallies).
        """
        if self.type != "subscribed" or self.data.get("outcome") != "gap":
            return []
        state = self.data.get("snapshot")
        rows = state.get("markets") if isinstance(state, dict) else state
        return rows if isinstance(rows, list) else []


class SocketRecorder:
    """Subscribe to channels, and record all messages in `messages`.

    After a lost connection, and after the error "unavailable", the client connects again and each channel resumes from
    its last offset. `reconnects` counts the connections after the first.
    """

    def __init__(self, url: str, channels: list[str], since: tuple[str, int] | None = None) -> None:
        self._url = url
        self._channels = channels
        self._last: dict[str, tuple[str, int]] = {}
        self._since = since
        self.epoch = since[0] if since else ""
        self._changed = asyncio.Condition()
        self._connection: ClientConnection | None = None
        self.messages: list[RecordedMessage] = []
        self.gaps: dict[str, list[range]] = {}
        """For each channel, the ranges of offsets whose messages the server could not deliver."""
        self.reconnects = -1

    @classmethod
    @asynccontextmanager
    async def listening(
        cls, url: str, channels: list[str], since: tuple[str, int] | None = None
    ) -> AsyncIterator[SocketRecorder]:
        """Run a recorder for the block, which begins once the server has confirmed all channels.

        With `since`, an (epoch, offset), every channel is replayed from the message after it. Raises ZmartError if the
        server does not answer within 15 s or confirm a channel within 20 s.
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
        """Wait until the server has confirmed a subscription. Raises ZmartError after 20 s."""
        await self.wait_for(lambda m: m.type == "subscribed" and m.channel == channel, f"channel {channel}")

    async def message(
        self, channel: str, what: str, known_gaps: int | None = None, **data: object
    ) -> RecordedMessage:
        """Return the first message of `channel` whose data contains `data`; waits for it if it has not arrived yet.

        A snapshot after a gap is returned if one of its rows contains `data`. With `known_gaps`, the number of gaps on
        the channel so far, a further gap is returned, too: its data may have been lost in the gap. Raises ZmartError,
        which names `what`, after 20 s.
        """

        def matches(m: RecordedMessage) -> bool:
            if m.channel != channel:
                return False
            if m.type == "gap":
                return known_gaps is not None and len(self.gaps[channel]) > known_gaps
            changes = m.rows_after_gap if m.type in _CONFIRMATIONS else [m.data]
            return any(data.items() <= change.items() for change in changes)

        return await self.wait_for(matches, what)

    def gaps_of(self, channel: str) -> int:
        """Return the number of gaps that the server has reported on a channel."""
        return len(self.gaps.get(channel, []))

    async def through(self, channel: str, offset: int) -> None:
        """Wait for a message of `channel` with `offset` or a later one. Raises ZmartError after 20 s."""
        await self.wait_for(lambda m: m.channel == channel and m.offset >= offset, f"{channel} #{offset}")

    async def add(self, channel: str) -> None:
        """Subscribe to a further channel; later connections subscribe to it, too."""
        self._channels.append(channel)
        if self._connection is not None:
            with suppress(WebSocketException):  # the next connection subscribes to all channels
                await self._connection.send(self._subscribe(channel))

    async def wait_for(
        self, matches: Callable[[RecordedMessage], bool], what: str, within_s: float = 20
    ) -> RecordedMessage:
        """Return the first message that `matches` accepts; waits for it if it has not arrived yet.

        Raises ZmartError, which names `what`, after `within_s` seconds.
        """
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
        """Return the smallest offset of the recorded messages of all channels; 1 if there is none."""
        return min((m.offset for m in self.messages if m.offset and m.type not in _CONFIRMATIONS), default=1)

    def tape(self, channel: str) -> list[RecordedMessage]:
        """Return the messages of one channel, without confirmations, gaps and errors."""
        return [m for m in self.messages if m.channel == channel and m.type not in _CONFIRMATIONS]

    def displayed(self, channel: str) -> list[dict[str, Any]]:
        """Return the changes from which a client builds its display of a channel.

        These are all messages of the channel; after a gap, the rows of the snapshot that followed it (as "created"),
        and the messages since.
        """
        changes: list[dict[str, Any]] = []
        for m in self.messages:
            if m.channel == channel and m.type not in _CONFIRMATIONS:
                changes.append(m.data)
            elif m.channel == channel and m.type == "subscribed" and m.data.get("outcome") == "gap":
                changes = [{**row, "action": "created"} for row in m.rows_after_gap]
        return changes

    async def _run(self) -> None:
        while True:
            try:
                async with connect(self._url, max_size=None, proxy=socket_proxy(self._url)) as connection:
                    self.reconnects += 1
                    for channel in self._channels:  # also those that are added meanwhile
                        await connection.send(self._subscribe(channel))
                    # From now on `add` subscribes: never both, or changes come twice.
                    self._connection = connection
                    async for frame in connection:
                        await self._take(frame)
            except (OSError, WebSocketException, TimeoutError):
                pass
            self._connection = None
            await asyncio.sleep(_RETRY_S)

    def _subscribe(self, channel: str) -> str:
        request: dict[str, object] = {"action": "subscribe", "channel": channel}
        last = self._last.get(channel, self._since)
        if last is not None:
            request |= {"epoch": last[0], "offset": last[1]}
        return msgspec.json.encode(request).decode()

    async def _take(self, frame: str | bytes) -> None:
        message = msgspec.json.decode(frame, type=RecordedMessage)
        self.epoch = message.epoch or self.epoch
        if message.type == "gap":  # its snapshot follows; to resume from the gap's own offset would miss that
            missed = range(message.data["from"], message.data["to"] + 1)
            self.gaps.setdefault(message.channel, []).append(missed)
        elif message.channel:
            self._last[message.channel] = message.epoch, message.offset
        async with self._changed:
            self.messages.append(message)
            self._changed.notify_all()
        if message.type == "error" and message.data.get("code") == "unavailable":
            raise ConnectionError(message.data.get("error"))  # a subscription failed: connect again
