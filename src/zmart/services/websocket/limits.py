"""Limit what one client may request of the server."""

from __future__ import annotations

import time

import msgspec

from zmart.feed.messages import ConnectionLimits
from zmart.market.published import same_named


class SocketLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of a WebSocket connection; two of them, by their names, hold for a process or a client address."""

    frame_bytes: int = 64 * 1024
    subscriptions: int = 200
    messages_per_s: int = 20
    requests: int = 200
    """How many subscribe and unsubscribe requests of a connection may wait to be processed."""
    queue_bytes: int = 1024 * 1024
    slow_close_s: float = 30.0
    """How long a client that is closed as too slow may take to read up to its close frame."""
    connections_per_process: int = 10_000
    connections_per_address: int = 1_000

    def for_client(self) -> ConnectionLimits:
        """Return the limits that the welcome message reports to a client."""
        return ConnectionLimits(**same_named(self, ConnectionLimits))


class HandshakeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of a connection before it is a WebSocket.

    The head of a request has at most `head_bytes` bytes and is complete within `head_within_s` seconds. The client
    reads a plain response within `read_within_s` seconds.
    """

    head_bytes: int = 16 * 1024
    head_within_s: float = 10.0
    read_within_s: float = 20.0


class MessageAllowance:
    """Limit a client's messages by a token bucket: `per_s` a second, and as many at once after a quiet second."""

    __slots__ = ("_filled_at", "_per_s", "_tokens")

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._tokens = float(per_s)
        self._filled_at = time.monotonic()

    def take(self) -> bool:
        """Return whether one more message is allowed now, and count it if so."""
        now = time.monotonic()
        self._tokens = min(self._per_s, self._tokens + (now - self._filled_at) * self._per_s)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
