"""Distribute each batch of the feed to its subscribers: one frame per channel, one write per connection."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

from zmart.feed.channels import ChannelKind
from zmart.feed.wire import WireMessage
from zmart.services.websocket import frames, metrics
from zmart.services.websocket.client_log import ClientLog
from zmart.services.websocket.connection import OutgoingFrame, SocketConnection

RECENT = 4_096
"""How many of the newest feed messages are held in memory: a client that resumes within them needs no database."""

_by_offset = attrgetter("offset")


class Audience(NamedTuple):
    """The subscribers of a channel that get the same bytes: all with amounts as numbers, or all with `as_text`."""

    channel: str
    as_text: bool = False


class SocketHub:
    """Hold all connections and the subscribers of each channel, and distribute the feed to them.

    `position` is the last offset of `epoch` that was distributed.
    """

    def __init__(self) -> None:
        self.epoch = ""
        self.position = 0
        self.connections: set[SocketConnection] = set()
        self.client_log = ClientLog(lambda: len(self.connections))
        self._subscribers: dict[Audience, dict[SocketConnection, None]] = {}
        self._recent: deque[WireMessage] = deque(maxlen=RECENT)
        self._moved = asyncio.Event()

    def begin(self, epoch: str, position: int) -> None:
        """Continue at `position` of the feed's `epoch`, and discard the messages in memory.

        The caller closes all connections, so that their clients reconnect and resume.
        """
        self.epoch, self.position = epoch, position
        self._recent.clear()
        self._notify()

    def join(self, channel: str, connection: SocketConnection, *, as_text: bool = False) -> None:
        """Add a subscriber: `connection` gets each later message of `channel`; `as_text`: with amounts as text."""
        self._subscribers.setdefault(Audience(channel, as_text), {})[connection] = None

    def leave(self, channel: str, connection: SocketConnection, *, as_text: bool = False) -> bool:
        """Remove a subscriber: `connection` gets no further message of `channel`. Return whether it was one."""
        audience = Audience(channel, as_text)
        subscribers = self._subscribers.get(audience)
        if subscribers is None or connection not in subscribers:
            return False
        del subscribers[connection]
        if not subscribers:
            del self._subscribers[audience]
        return True

    def forget(self, connection: SocketConnection) -> None:
        """Remove a connection that has ended, with its subscriptions."""
        self.connections.discard(connection)
        for channel, subscription in connection.subscriptions.items():
            self.leave(channel, connection, as_text=subscription.as_text)

    def subscribers_of(self, message: WireMessage) -> int:
        """Return how many connections get a message."""
        audiences = [Audience(name, as_text) for name in message.channels for as_text in (False, True)]
        return len({one for audience in audiences for one in self._subscribers.get(audience, ())})

    def since(self, offset: int) -> list[WireMessage] | None:
        """Return the messages after `offset`, or None if some of them are no longer in memory."""
        if offset >= self.position:
            return []
        if not self._recent or self._recent[0].offset > offset + 1:
            return None
        return list(islice(self._recent, offset + 1 - self._recent[0].offset, None))

    async def reached(self, offset: int) -> None:
        """Wait until `position` is at least `offset`."""
        while self.position < offset:
            await self._moved.wait()

    def publish(self, messages: Sequence[WireMessage]) -> None:
        """Write messages with consecutive offsets to all their subscribers, and advance `position`."""
        begun = time.perf_counter()
        self._recent.extend(messages)
        self.position = messages[-1].offset
        parts: dict[SocketConnection, list[list[OutgoingFrame]]] = {}
        for audience, batch in self._batches(messages).items():
            for connection in self._subscribers[audience]:
                parts.setdefault(connection, []).append(batch)
        self._write(parts)
        self._notify()
        metrics.position.set(self.position)
        metrics.publish_s.observe(time.perf_counter() - begun)

    def _batches(self, messages: Sequence[WireMessage]) -> dict[Audience, list[OutgoingFrame]]:
        """Return the frames of these messages for each audience that has subscribers."""
        batches: dict[Audience, list[OutgoingFrame]] = {}
        for message in messages:
            text: WireMessage | None = None
            for channel in message.channels:
                if (numbers := Audience(channel)) in self._subscribers:
                    batches.setdefault(numbers, []).append(outgoing(message, channel))
                if (as_text := Audience(channel, as_text=True)) in self._subscribers:
                    text = text or message.with_text_amounts()
                    batches.setdefault(as_text, []).append(outgoing(text, channel))
        return batches

    def _write(self, parts: dict[SocketConnection, list[list[OutgoingFrame]]]) -> None:
        count = 0
        joined: dict[int, bytes] = {}  # subscribers of the same single channel share the joined bytes
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

    def _notify(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()


def outgoing(message: WireMessage, channel: str) -> OutgoingFrame:
    """Return the frame of a message for one of its channels."""
    latest_of = message.market_id if channel == ChannelKind.MARKETS.value else None
    return OutgoingFrame(message.offset, frames.text(message.payload(channel)), latest_of)
