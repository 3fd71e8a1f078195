"""Hands each batch of the feed to the readers of its channels: one frame a channel, one write a connection."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from itertools import islice
from operator import attrgetter

from zmart.feed.channels import Kind
from zmart.feed.wire import WireMessage
from zmart.services.websocket import frames, metrics
from zmart.services.websocket.connection import Connection, Outgoing

_RECENT = 4_096

_by_offset = attrgetter("offset")


class Hub:
    """`position` is the offset up to which everything was handed to the readers."""

    def __init__(self) -> None:
        self.epoch = ""
        self.position = 0
        self.connections: set[Connection] = set()
        self._readers: dict[str, dict[Connection, None]] = {}
        self._recent: deque[WireMessage] = deque(maxlen=_RECENT)
        self._moved = asyncio.Event()

    def begin(self, epoch: str, position: int) -> None:
        """Stand at this place of the feed; who was connected under another one must come back and resume."""
        self.epoch, self.position = epoch, position
        self._recent.clear()
        self._stir()

    def join(self, channel: str, connection: Connection) -> None:
        """From now on, what is published on `channel` goes to `connection`."""
        self._readers.setdefault(channel, {})[connection] = None

    def leave(self, channel: str, connection: Connection) -> None:
        readers = self._readers.get(channel)
        if readers is not None:
            readers.pop(connection, None)
            if not readers:
                del self._readers[channel]

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""
        self.connections.discard(connection)
        for channel in connection.subscriptions:
            self.leave(channel, connection)

    def since(self, offset: int) -> list[WireMessage] | None:
        """What was published behind `offset`, or None when that is no longer in memory."""
        if offset >= self.position:
            return []
        if not self._recent or self._recent[0].offset > offset + 1:
            return None
        return list(islice(self._recent, offset + 1 - self._recent[0].offset, None))

    async def reached(self, offset: int) -> None:
        """Waits until `position` is at least `offset`."""
        while self.position < offset:
            await self._moved.wait()

    def publish(self, messages: Sequence[WireMessage]) -> None:
        """Write consecutive messages to all their readers."""
        begun = time.perf_counter()
        self._recent.extend(messages)
        self.position = messages[-1].offset
        parts: dict[Connection, list[list[Outgoing]]] = {}
        for channel, batch in self._batches(messages).items():
            for connection in self._readers[channel]:
                parts.setdefault(connection, []).append(batch)
        self._write(parts)
        self._stir()
        metrics.position.set(self.position)
        metrics.publish_s.observe(time.perf_counter() - begun)

    def _batches(self, messages: Sequence[WireMessage]) -> dict[str, list[Outgoing]]:
        """Frames for each channel that has readers."""
        batches: dict[str, list[Outgoing]] = {}
        for message in messages:
            for channel in message.channels:
                if channel in self._readers:
                    batches.setdefault(channel, []).append(outgoing(message, channel))
        return batches

    def _write(self, parts: dict[Connection, list[list[Outgoing]]]) -> None:
        count = 0
        joined: dict[int, bytes] = {}  # readers of one channel alone share the joined bytes too
        for connection, batches in parts.items():
            if len(batches) == 1:
                batch = batches[0]
                data = joined.get(id(batch))
                if data is None:
                    data = joined[id(batch)] = b"".join([part.frame for part in batch])
            else:
                batch = sorted((part for each in batches for part in each), key=_by_offset)
                data = b"".join([part.frame for part in batch])
            connection.write_batch(batch, data)
            count += len(batch)
        metrics.frames.inc(count)

    def _stir(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()


def outgoing(message: WireMessage, channel: str) -> Outgoing:
    """The frame of a message for one of its channels."""
    latest_of = message.market_id if channel == Kind.MARKETS.value else None
    return Outgoing(message.offset, frames.text(message.payload(channel)), latest_of)
