"""Manage one client's connection: its subscriptions, and a bounded queue of frames to send."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence

import msgspec

from zmart.feed.channels import Channel
from zmart.services.websocket import frames, metrics
from zmart.services.websocket.limits import MessageAllowance, SocketLimits

_TRANSPORT_BUFFER_BYTES = 64 * 1024
_CLOSE_WAIT_S = 3.0
_RETRY_MS = (100, 5_000)
_LATEST_QUEUES = 4
"""The limit for queued frames that newer frames replace, as a multiple of `queue_bytes`: one frame for each market."""


class OutgoingFrame(msgspec.Struct, frozen=True):
    """A frame for the subscribers of one channel, and the feed's `offset` of its message.

    In the queue of a slow client, a newer frame with the same `latest_of` replaces this one; None: it is never
    replaced.
    """

    offset: int
    frame: bytes
    latest_of: str | None


class Subscription(msgspec.Struct):
    """A subscription of one connection.

    `by_market`: the client named a market instead of a channel. `as_text`: amounts are sent as text. `active` is true
    until the client or the connection ends it.
    """

    channel: Channel
    by_market: bool
    as_text: bool = False
    active: bool = True


class SocketConnection:
    """Send frames to one client: write to the transport while it accepts data, otherwise queue frames.

    The queue is bounded in bytes; a client that exceeds it is closed with code 4008.
    """

    def __init__(
        self, transport: asyncio.Transport, client_id: str, address: str, limits: SocketLimits
    ) -> None:
        transport.set_write_buffer_limits(high=_TRANSPORT_BUFFER_BYTES)
        self._transport = transport
        self._limits = limits
        self._queue: dict[object, bytes] = {}
        self._queued_bytes = self._latest_bytes = 0
        self._count = 0
        self._abort: asyncio.TimerHandle | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.client_id = client_id
        self.address = address
        self.allowance = MessageAllowance(limits.messages_per_s)
        self.subscriptions: dict[str, Subscription] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.replaying = asyncio.Lock()
        self.as_text = False
        self.closing = self.has_resumed = False
        self.last_frame_at = self.pinged_at = time.monotonic()

    def send(self, payload: bytes) -> None:
        """Send one JSON message to this client."""
        self._put(frames.text(payload), None)

    def send_all(self, payloads: Sequence[bytes]) -> None:
        """Send several JSON messages in one write."""
        parts = [frames.text(payload) for payload in payloads]
        if not self.closing and self._writable.is_set():
            self._transport.write(b"".join(parts))
            return
        for part in parts:
            self._put(part, None)

    def write_batch(self, batch: Sequence[OutgoingFrame], joined: bytes) -> None:
        """Send the frames of one batch of the feed in order; `joined` holds the same frames, concatenated."""
        if not self.closing and self._writable.is_set():
            self._transport.write(joined)
            return
        for outgoing in batch:
            self._put(outgoing.frame, outgoing.latest_of)

    def ping(self) -> None:
        """Send a ping frame, unless the transport is full."""
        self.pinged_at = time.monotonic()
        if not self.closing and self._writable.is_set():
            self._transport.write(frames.frame(frames.Opcode.PING, b""))

    def pong(self, payload: bytes) -> None:
        """Answer a ping frame, unless the transport is full."""
        if not self.closing and self._writable.is_set():
            self._transport.write(frames.frame(frames.Opcode.PONG, payload))

    def answer_close(self, frame: bytes, error_code: int | None) -> None:
        """Write a close frame from the frame parser, unless this side is closing already.

        `error_code` is its code if it reports an error of the client, None if it answers the client's close frame.
        """
        if self.closing:
            return
        if error_code is not None:
            metrics.closed.labels(str(error_code)).inc()
        self._transport.write(frame)

    async def writable(self) -> None:
        """Wait until the transport accepts data again, or has ended."""
        await self._writable.wait()

    def paused(self) -> None:
        """Handle a full transport buffer: queue frames from now on."""
        self._writable.clear()

    def resumed(self) -> None:
        """Handle an emptied transport buffer: send the queued frames, in order."""
        self._writable.set()
        queue, self._queue = self._queue, {}
        self._queued_bytes = self._latest_bytes = 0
        if queue and not self.closing:
            self._transport.write(b"".join(queue.values()))

    def close(self, code: frames.CloseCode, reason: str) -> None:
        """Send a close frame, and abort the connection if it is still open after three seconds.

        A client that is closed as too slow has `slow_close_s`, since the close frame comes after all that it has not
        read. What waits for it meanwhile is no more than before, and its connection still counts.
        """
        if self.closing:
            return
        self.closing = True
        self._queue.clear()
        metrics.closed.labels(str(int(code))).inc()
        self._transport.write(frames.close(code, reason))
        is_slow = code is frames.CloseCode.TOO_SLOW
        self._abort_after(self._limits.slow_close_s if is_slow else _CLOSE_WAIT_S)

    def dismiss(self, why: str) -> None:
        """Close the connection with code 1012 and ask the client to reconnect after a random time.

        The close reason is `why` with `retry_ms`, 100 to 5,000, so that not all clients reconnect at once.
        """
        retry_ms = random.randint(*_RETRY_MS)  # noqa: S311  # spreads load, no secret
        self.close(frames.CloseCode.RESTART, f"{why}; retry_ms={retry_ms}")

    def end(self) -> None:
        """End this side of the connection after both close frames, or after an error of the protocol.

        What was written is sent first. Data of the client is still received for three seconds: if such data met a
        closed socket, our close frame could be lost.
        """
        self.closing = True
        self._transport.write_eof()
        self._abort_after(_CLOSE_WAIT_S)

    def ended(self) -> None:
        """Release everything after the transport has ended."""
        self.closing = True
        if self._abort is not None:
            self._abort.cancel()
        self._queue.clear()
        self._writable.set()
        for subscription in self.subscriptions.values():
            subscription.active = False
        for task in self.tasks:
            task.cancel()

    def _abort_after(self, wait_s: float) -> None:
        """Abort the connection after `wait_s` seconds, unless it will be aborted earlier."""
        loop = asyncio.get_running_loop()
        if self._abort is not None:
            if self._abort.when() <= loop.time() + wait_s:
                return
            self._abort.cancel()
        self._abort = loop.call_later(wait_s, self._transport.abort)

    def _put(self, frame: bytes, latest_of: str | None) -> None:
        if self.closing:
            return
        if self._writable.is_set():
            self._transport.write(frame)
            return
        if latest_of is None:
            self._count += 1
            self._queue[self._count] = frame
            self._queued_bytes += len(frame)
        else:
            if (older := self._queue.pop(latest_of, None)) is not None:
                self._latest_bytes -= len(older)
                metrics.conflated.inc()
            self._queue[latest_of] = frame
            self._latest_bytes += len(frame)
        most = self._limits.queue_bytes
        if self._queued_bytes > most or self._latest_bytes > _LATEST_QUEUES * most:
            self.close(frames.CloseCode.TOO_SLOW, "too slow: reconnect and resume from your last offset")
