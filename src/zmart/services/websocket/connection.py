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
"""How many times as much may wait of what a newer message replaces: it grows with the markets only."""


class OutgoingFrame(msgspec.Struct, frozen=True):
    """Hold a frame for the subscribers of one channel. A newer frame with the same `latest_of` replaces it."""

    offset: int
    frame: bytes
    latest_of: str | None


class Subscription(msgspec.Struct):
    """Hold a subscription; `as_text`: with amounts as text; `active` until the client ends it."""

    channel: Channel
    by_market: bool
    as_text: bool = False
    active: bool = True


class SocketConnection:
    """Write to the transport while it accepts data; otherwise queue frames, bounded in bytes."""

    def __init__(
        self, transport: asyncio.Transport, client_id: str, address: str, limits: SocketLimits
    ) -> None:
        transport.set_write_buffer_limits(high=_TRANSPORT_BUFFER_BYTES)
        self._transport = transport
        self._limits = limits
        self._queue: dict[object, bytes] = {}
        self._queued_bytes = self._latest_bytes = 0
        self._count = 0
        self._writable = asyncio.Event()
        self._writable.set()
        self.client_id = client_id
        self.address = address
        self.allowance = MessageAllowance(limits.messages_per_s)
        self.subscriptions: dict[str, Subscription] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.as_text = False
        self.closing = self.has_resumed = False
        self.last_frame_at = self.pinged_at = time.monotonic()

    def send(self, payload: bytes) -> None:
        """Send an answer to this client."""
        self._put(frames.text(payload), None)

    def send_all(self, payloads: Sequence[bytes]) -> None:
        """Send several messages in one write."""
        parts = [frames.text(payload) for payload in payloads]
        if not self.closing and self._writable.is_set():
            self._transport.write(b"".join(parts))
            return
        for part in parts:
            self._put(part, None)

    def write_batch(self, batch: Sequence[OutgoingFrame], joined: bytes) -> None:
        """Send one tick's messages in order; `joined` are all their frames in one."""
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
        """Send a close frame unless one was sent: the answer to the client's, or with the code of its error."""
        if self.closing:
            return
        if error_code is not None:
            metrics.closed.labels(str(error_code)).inc()
        self._transport.write(frame)

    async def writable(self) -> None:
        """Wait until the client has received what was sent."""
        await self._writable.wait()

    def paused(self) -> None:
        """Handle a full transport buffer: queue from now on."""
        self._writable.clear()

    def resumed(self) -> None:
        """Handle an emptied transport buffer: send the queued frames, in order."""
        self._writable.set()
        queue, self._queue = self._queue, {}
        self._queued_bytes = self._latest_bytes = 0
        if queue and not self.closing:
            self._transport.write(b"".join(queue.values()))

    def close(self, code: frames.CloseCode, reason: str) -> None:
        """Send a close frame, wait briefly for the client's own, then end the connection."""
        if self.closing:
            return
        self.closing = True
        self._queue.clear()
        metrics.closed.labels(str(int(code))).inc()
        self._transport.write(frames.close(code, reason))
        asyncio.get_running_loop().call_later(_CLOSE_WAIT_S, self._transport.abort)

    def dismiss(self, why: str) -> None:
        """Close it, to be opened again and resumed after a time of its own, so that not all come at once."""
        retry_ms = random.randint(*_RETRY_MS)  # noqa: S311  # spreads load, no secret
        self.close(frames.CloseCode.RESTART, f"{why}; retry_ms={retry_ms}")

    def end(self) -> None:
        """End our side once what was written is sent, after both close frames or an error of the protocol.

        What the client still sends is read for a while: if it met a closed socket, our close frame could be lost.
        """
        self.closing = True
        self._transport.write_eof()
        asyncio.get_running_loop().call_later(_CLOSE_WAIT_S, self._transport.abort)

    def ended(self) -> None:
        """Release everything after the transport has ended."""
        self.closing = True
        self._queue.clear()
        self._writable.set()
        for subscription in self.subscriptions.values():
            subscription.active = False
        for task in self.tasks:
            task.cancel()

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
