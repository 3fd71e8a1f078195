"""One client's end: what is on its way to it, bounded, and what is known about it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import msgspec

from zmart.feed.channels import Channel
from zmart.services.websocket import frames, metrics
from zmart.services.websocket.limits import Allowance, Limits

_TRANSPORT_BUFFER_BYTES = 64 * 1024
_CLOSE_WAIT_S = 3.0


class Outgoing(msgspec.Struct, frozen=True):
    """A frame for the readers of one channel. `latest_of` names what a newer frame makes superfluous."""

    offset: int
    frame: bytes
    latest_of: str | None


class Subscription(msgspec.Struct):
    """`active` until the client gives it up."""

    channel: Channel
    by_market: bool
    active: bool = True


class Connection:
    """Writes go straight to the transport while it takes them, and wait here, bounded in bytes, when it does not."""

    def __init__(self, transport: asyncio.Transport, client_id: str, address: str, limits: Limits) -> None:
        transport.set_write_buffer_limits(high=_TRANSPORT_BUFFER_BYTES)
        self._transport = transport
        self._limits = limits
        self._waiting: dict[object, bytes] = {}
        self._waiting_tape_bytes = 0
        self._count = 0
        self._writable = asyncio.Event()
        self._writable.set()
        self.client_id = client_id
        self.address = address
        self.allowance = Allowance(limits.messages_per_s)
        self.subscriptions: dict[str, Subscription] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.closing = False
        self.heard_at = self.pinged_at = time.monotonic()

    def send(self, payload: bytes) -> None:
        """An answer to this client alone."""
        self._put(frames.text(payload), None)

    def send_all(self, payloads: Sequence[bytes]) -> None:
        """Several messages in one write."""
        parts = [frames.text(payload) for payload in payloads]
        if not self.closing and self._writable.is_set():
            self._transport.write(b"".join(parts))
            return
        for part in parts:
            self._put(part, None)

    def write_batch(self, batch: Sequence[Outgoing], joined: bytes) -> None:
        """One tick's messages in order; `joined` are all their frames in one."""
        if not self.closing and self._writable.is_set():
            self._transport.write(joined)
            return
        for outgoing in batch:
            self._put(outgoing.frame, outgoing.latest_of)

    def ping(self) -> None:
        self.pinged_at = time.monotonic()
        if not self.closing and self._writable.is_set():
            self._transport.write(frames.frame(frames.Opcode.PING, b""))

    def pong(self, payload: bytes) -> None:
        if not self.closing and self._writable.is_set():
            self._transport.write(frames.frame(frames.Opcode.PONG, payload))

    async def writable(self) -> None:
        """Waits until the client has taken what was sent."""
        await self._writable.wait()

    def paused(self) -> None:
        """The transport's buffer is full."""
        self._writable.clear()

    def resumed(self) -> None:
        """The transport's buffer ran empty: hand over what waited, in order."""
        self._writable.set()
        waiting, self._waiting, self._waiting_tape_bytes = self._waiting, {}, 0
        if waiting and not self.closing:
            self._transport.write(b"".join(waiting.values()))

    def close(self, code: frames.CloseCode, reason: str) -> None:
        """Say why, wait a little for the client's own close frame, then end."""
        if self.closing:
            return
        self.closing = True
        self._waiting.clear()
        metrics.closed.labels(str(int(code))).inc()
        self._transport.write(frames.close(code, reason))
        asyncio.get_running_loop().call_later(_CLOSE_WAIT_S, self._transport.abort)

    def answer_close(self, payload: bytes) -> None:
        """The client's close frame arrived: answer it if it came first, and end."""
        if not self.closing:
            self.closing = True
            self._transport.write(frames.frame(frames.Opcode.CLOSE, payload[:125]))
        self._transport.close()

    def ended(self) -> None:
        """The transport is gone."""
        self.closing = True
        self._waiting.clear()
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
        if latest_of is not None:
            if self._waiting.pop(latest_of, None) is not None:
                metrics.conflated.inc()
            self._waiting[latest_of] = frame
            return
        self._count += 1
        self._waiting[self._count] = frame
        self._waiting_tape_bytes += len(frame)
        if self._waiting_tape_bytes > self._limits.queue_bytes:
            self.close(frames.CloseCode.TOO_SLOW, "too slow: reconnect and resume from your last offset")
