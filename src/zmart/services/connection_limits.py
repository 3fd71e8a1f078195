"""Limit each HTTP connection: time and size of heads and of body framing, time of a body, time to read an answer.

uvicorn limits only the idle time between requests. It limits neither heads, trailers, nor clients that never read.
`LimitedConnection` stands between a transport and uvicorn's protocol; httptools' callbacks tell it which part of a
message arrives. `ConnectionBoundsMiddleware` (connection_bounds.py) checks a complete head before the application
sees it.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from zmart.services.client_addresses import ClientAddresses
from zmart.services.connection_bounds import CONNECTION, ConnectionBounds, ConnectionBoundsMiddleware
from zmart.services.connection_counts import ConnectionCounts
from zmart.services.contract import AsgiApp
from zmart.services.problem_body import problem_body, request_id_of

KEEP_ALIVE_S = 75
"""How many seconds a connection may be idle between two requests; uvicorn's own timer measures them."""
_PATH_IN_ERROR = 200
_COLLECT_AFTER_BYTES = 16 * 1024 * 1024
_DISCARDED_BYTES = 1024 * 1024
_UNREAD_BYTES_PER_S = 16 * 1024 * 1024
"""How fast a connection may send data that no handler reads.

Without this limit, clients whose requests were refused could use up the processor by sending more data.
"""
_FRAMING_PER_BYTE = 8
"""How many bytes of chunk framing are allowed for each byte of a body; a chunk of one byte needs five."""


class LimitedConnection(asyncio.Protocol):
    """Pass the data of one connection to uvicorn's protocol, and end the connection when it exceeds a limit.

    While no request is in progress, one time limit runs: that of a head, from its first byte (on a new connection from
    the start), or that of a body which still arrives after its request was answered.
    """

    def __init__(
        self,
        options: dict[str, Any],
        bounds: ConnectionBounds,
        received: ReceivedBytes,
        connections: ConnectionCounts,
    ) -> None:
        self._inner = _ParsedMessages(self, options)
        self._connections = connections
        self._client: str | None = None
        self._bounds = bounds
        self._received = received
        self._piece_bytes = max(1, bounds.head.head_bytes // 4)
        self._loop = asyncio.get_running_loop()
        self._in_progress = self._unanswered = 0
        self._in_head = self._in_body = False
        self._body_bytes = 0
        self._framing_bytes = 0
        self._unread_bytes = 0
        self._discarded_bytes: int | None = None
        self._waiting_since: float | None = None
        self._paused_since: float | None = None
        self._check: asyncio.TimerHandle | None = None
        self._reading_on: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first head, or abort the connection if there are too many."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has the methods, not the type
        peer = transport.get_extra_info("peername")
        self._client = self._connections.enter(peer[0] if peer else None)
        if self._client is None:
            self._transport.abort()
            return
        self._waiting_since = self._loop.time()
        self._check = self._loop.call_later(self._bounds.check_s, self._check_time)
        self._inner.connection_made(_OpenTransport(self._transport))

    def data_received(self, data: bytes) -> None:
        """Pass the data on in pieces, and end the connection when a head, its framing or unread data is too large."""
        if self._client is None:
            return
        if self._discarded_bytes is not None:
            self._discard(len(data))
            return
        if not self._in_progress and self._waiting_since is None:
            self._waiting_since = self._loop.time()
        self._received.add(len(data))
        for start in range(0, len(data), self._piece_bytes):
            piece = data[start : start + self._piece_bytes]
            self._framing_bytes += len(piece)
            self._inner.data_received(piece)
            if self._transport.is_closing():
                return
            if self._is_too_much():
                self._end_endless()
                return
        if self._in_body and not self._in_progress:
            self._read_on_later(len(data))

    def _read_on_later(self, size: int) -> None:
        """Pause reading for as long as `size` unread bytes take at _UNREAD_BYTES_PER_S."""
        if self._reading_on is None:
            self._transport.pause_reading()
            self._reading_on = self._loop.call_later(size / _UNREAD_BYTES_PER_S, self._read_on)

    def _read_on(self) -> None:
        self._reading_on = None
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _end_endless(self) -> None:
        """Answer 431 if a head is too long and is the next to be answered; otherwise abort the connection."""
        if self._in_body or self._in_progress or self._unanswered > 1:
            self._transport.abort()
            return
        self._inner.refuse_head()
        # If the connection were closed with unread bytes, it would be reset and the answer lost.
        self._discarded_bytes = 0
        self._waiting_since = self._loop.time()
        self._transport.write_eof()

    def _discard(self, size: int) -> None:
        """Discard data that follows an answer which ends the connection; abort the connection after 1 MiB of it."""
        self._discarded_bytes = (self._discarded_bytes or 0) + size
        self._received.add(size)
        if self._discarded_bytes > _DISCARDED_BYTES:
            self._transport.abort()
        else:
            self._read_on_later(size)

    def _is_too_much(self) -> bool:
        framing = self._framing_bytes - _FRAMING_PER_BYTE * self._body_bytes
        return (
            framing > self._bounds.head.head_bytes
            or self._unread_bytes > self._bounds.unread_bytes
            or self._unanswered > self._bounds.requests
        )

    def eof_received(self) -> None:
        """Tell uvicorn's protocol that the client sends no more data."""
        if self._client is not None:
            self._inner.eof_received()

    def pause_writing(self) -> None:
        """Start the time limit in which the client must read the answer."""
        self._paused_since = self._loop.time()
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """End the time limit in which the client must read the answer."""
        self._paused_since = None
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers, and stop counting the connection."""
        if self._client is None:
            return
        self._connections.leave(self._client)
        for timer in (self._check, self._reading_on):
            if timer is not None:
                timer.cancel()
        self._inner.connection_lost(exc)

    @property
    def head_bytes(self) -> int:
        """The maximum number of bytes of a head."""
        return self._bounds.head.head_bytes

    def head_begins(self) -> None:
        """Record that the first line of a request begins."""
        self._in_head = True
        self._framing_bytes = 0
        self._unanswered += 1

    def body_begins(self) -> None:
        """Record that the head of a request is complete."""
        self._in_head, self._in_body = False, True
        self._body_bytes = self._framing_bytes = self._unread_bytes = 0

    def body_continues(self, size: int) -> None:
        """Record that `size` bytes of the body arrived; after the answer no handler reads them."""
        self._body_bytes += size
        self._framing_bytes -= size
        if not self._in_progress:
            self._unread_bytes += size

    def message_ends(self) -> None:
        """Record that head, body and trailers of a request are complete."""
        self._in_body = False
        self._body_bytes = self._framing_bytes = 0
        if not self._in_progress:
            self._waiting_since = None

    def request_begins(self) -> None:
        """Record that the application has received a request."""
        self._in_progress += 1
        self._waiting_since = None

    def request_ends(self) -> None:
        """Record that the application has answered a request."""
        self._in_progress -= 1
        self._unanswered -= 1
        if not self._in_progress and (self._in_head or self._in_body):
            self._waiting_since = self._loop.time()

    def _check_time(self) -> None:
        """Abort the connection if a time limit is exceeded; otherwise check again after `check_s` seconds."""
        now = self._loop.time()
        within_s = self._bounds.body_within_s if self._in_body else self._bounds.head_within_s
        slow_sender = self._waiting_since is not None and now - self._waiting_since >= within_s
        slow_reader = (
            self._paused_since is not None and now - self._paused_since >= self._bounds.read_within_s
        )
        if slow_sender or slow_reader:
            self._transport.abort()
            return
        if self._transport.is_closing() and self._paused_since is None:
            self._paused_since = (
                now  # closed, but the rest of an answer waits for a client that may never read it
            )
        self._check = self._loop.call_later(self._bounds.check_s, self._check_time)


class ReceivedBytes:
    """Run the garbage collector whenever clients have sent another 16 MiB.

    Requests leave reference cycles behind (exceptions with their frames, a connection with its parser). Each has few
    objects but may hold a body of 64 KiB, and Python's own collector counts objects only.
    """

    def __init__(self) -> None:
        self._since_collection = 0

    def add(self, count: int) -> None:
        """Count received bytes, and collect garbage if 16 MiB were received since the last collection."""
        self._since_collection += count
        if self._since_collection >= _COLLECT_AFTER_BYTES:
            self._since_collection = 0
            gc.collect(1)  # only young objects: a full collection would pause all clients


class _OpenTransport(asyncio.Transport):
    """A transport for uvicorn whose methods have no effect once it is closing.

    uvicorn still calls them for answers that are in progress when a connection ends; uvloop's transport would raise
    RuntimeError.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self.get_extra_info = transport.get_extra_info  # type: ignore[method-assign]
        self.is_closing = transport.is_closing  # type: ignore[method-assign]

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        if not self.is_closing():
            self._transport.close()

    def pause_reading(self) -> None:
        if not self.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self.is_closing():
            self._transport.resume_reading()


_REFUSED = (
    b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nx-request-id: %b\r\n"
    b"cache-control: no-store\r\nconnection: close\r\n\r\n"
)


class _ParsedMessages(HttpToolsProtocol):
    """uvicorn's HTTP protocol, which also reports the parts of a message that its parser finds to the connection."""

    def __init__(self, connection: LimitedConnection, options: dict[str, Any]) -> None:
        super().__init__(**options)
        self._connection = connection

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        # Otherwise these stay in memory, in a reference cycle with this object.
        self.pipeline.clear()
        self.cycle = self.scope = self.headers = None  # type: ignore[assignment]  # as uvicorn itself begins
        del self._connection

    def send_400_response(self, msg: str) -> None:
        """Answer 400 to data that is not HTTP, and close the connection; called by uvicorn."""
        self._refuse(400, "This is no HTTP request that can be read.")
        self.transport.close()

    def refuse_head(self) -> None:
        """Answer 431 to a head that is too long."""
        self._refuse(431, f"The head of a request may have {self._connection.head_bytes} bytes.")

    def _refuse(self, status: int, message: str) -> None:
        """Write an error response, in the shape that the errors of all services have."""
        path, request_id = self.url.partition(b"?")[0][:_PATH_IN_ERROR].decode("latin-1"), request_id_of(None)
        body = problem_body(status, message, path, request_id)
        line = f"{status} {HTTPStatus(status).phrase}".encode()
        self.transport.write(_REFUSED % (line, len(body), request_id.encode()) + body)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast("dict[str, Any]", self.scope)[CONNECTION] = self._connection
        self._connection.head_begins()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._connection.body_begins()

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._connection.body_continues(len(body))

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._connection.message_ends()


def protocol_factory(
    bounds: ConnectionBounds, connections: ConnectionCounts
) -> Callable[..., asyncio.Protocol]:
    """Return the factory that uvicorn calls for each connection (`http` of its Config)."""

    received = ReceivedBytes()

    def make(**options: object) -> asyncio.Protocol:
        return LimitedConnection(options, bounds, received, connections)

    return make


def server_config(
    app: AsgiApp,
    bounds: ConnectionBounds | None = None,
    connections: ConnectionCounts | None = None,
    **options: object,
) -> uvicorn.Config:
    """Return uvicorn's configuration for a service: httptools with these limits, no logs or headers of uvicorn's own.

    `bounds` has defaults; `connections` counts with no trusted proxy by default.
    """
    bounds = bounds or ConnectionBounds()
    connections = connections or ConnectionCounts(ClientAddresses(()))
    return uvicorn.Config(
        ConnectionBoundsMiddleware(app, bounds),
        http=protocol_factory(bounds, connections),  # type: ignore[arg-type]  # typed as a class; any callable serves
        loop="none",
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # each service knows its own TRUSTED_PROXIES
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        **options,  # type: ignore[arg-type]
    )
