"""Read the HTTP head of each connection to the WebSocket port: pass on a handshake, answer a plain request."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import cast

import httptools
import msgspec
from websockets.utils import accept_key

from zmart.services.connection_counts import ConnectionCounts
from zmart.services.problem_body import problem_body, request_id_of
from zmart.services.websocket.limits import HandshakeLimits

Page = Callable[[], tuple[int, str, bytes]]
"""Returns an HTTP response: status, content type and body."""
Headers = Mapping[bytes, bytes]
"""Header values by name in lower case; the values of a repeated header are joined by commas."""

SUBPROTOCOL = "zmart.v1"
_JSON = "application/json"
_KEY_BYTES = 16
_VERSION = b"13"
_ORIGIN = re.compile(rb"\A(?i:https?|wss?)://[^/]*")
"""Matches scheme and authority in a request target of the absolute form (RFC 9112 section 3.2.2)."""
_READS = ("GET", "HEAD")


class SocketHandshake(msgspec.Struct, frozen=True):
    """A valid handshake.

    `key` is its Sec-WebSocket-Key, `query` the query string of its target, `rest` the bytes that the client sent after
    the head.
    """

    key: bytes
    query: str
    headers: Headers
    rest: bytes

    def response(self) -> bytes:
        """Return the 101 response: without extensions, and with our subprotocol if the client offers it."""
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {accept_key(self.key.decode('ascii'))}",
        ]
        offered = self.headers.get(b"sec-websocket-protocol", b"").split(b",")  # names are case-sensitive
        if SUBPROTOCOL.encode() in map(bytes.strip, offered):
            lines.append(f"Sec-WebSocket-Protocol: {SUBPROTOCOL}")
        return "\r\n".join([*lines, "\r\n"]).encode()


Upgrade = Callable[[asyncio.Transport, SocketHandshake, Callable[[], None]], None]
"""Takes over the transport of a handshake. It must call the given function when the connection has ended."""


class _RefusedHandshake(Exception):
    """Report a request that is answered with the HTTP status `status`, a message and `headers`."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


class HandshakeProtocol(asyncio.Protocol):
    """Handle one connection until the head of its request is complete.

    The head may have `limits.head_bytes` bytes and must be complete within `limits.head_within_s` seconds. The client
    must read a plain response within `limits.read_within_s` seconds.
    """

    def __init__(
        self,
        upgrade: Upgrade,
        pages: Mapping[str, Page],
        limits: HandshakeLimits,
        connections: ConnectionCounts,
    ) -> None:
        self._upgrade = upgrade
        self._connections = connections
        self._client: str | None = None
        self._pages = pages
        self._limits = limits
        self._parser = httptools.HttpRequestParser(self)
        self._received_bytes = 0
        self._url = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._has_two_hosts = False
        self._is_complete = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the head, or abort the connection if the port or the client has too many."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._client = self._connections.enter(peer[0] if peer else None)
        if self._client is None:
            self._transport.abort()
        else:
            self._end_after(self._limits.head_within_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the time limit, and stop counting the connection."""
        self._stop_waiting()
        del self._parser  # a reference cycle, which would stay until a full garbage collection
        if self._client is not None:
            self._connections.leave(self._client)

    def data_received(self, data: bytes) -> None:
        """Parse the head as far as it has arrived."""
        if self._is_complete or self._client is None:
            return  # bytes after a plain request are ignored
        # Joining repeated headers takes quadratic time, so the parser gets no more than the bound.
        room = self._limits.head_bytes + 1 - self._received_bytes
        piece, later = data[:room], data[room:]
        self._received_bytes += len(piece)
        try:
            self._parse(piece, later)
            if not self._is_complete and self._received_bytes > self._limits.head_bytes:
                raise _RefusedHandshake(
                    431, f"The head of a request may have {self._limits.head_bytes} bytes."
                )
        except _RefusedHandshake as refusal:
            self._refuse(refusal)

    def on_url(self, url: bytes) -> None:
        """Collect the target; called by the parser."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header; called by the parser."""
        name, before = name.lower(), self._headers.get(name.lower())
        self._has_two_hosts = self._has_two_hosts or (name == b"host" and before is not None)
        self._headers[name] = value if before is None else before + b"," + value

    def on_headers_complete(self) -> None:
        """Record that the head is complete; called by the parser."""
        self._is_complete = True

    def _refuse(self, refusal: _RefusedHandshake) -> None:
        request_id = request_id_of(self._headers.get(b"x-request-id"))
        body = problem_body(refusal.status, str(refusal), self._path(), request_id)
        self._respond(refusal.status, _JSON, body, {**refusal.headers, "X-Request-Id": request_id})

    def _parse(self, data: bytes, later: bytes) -> None:
        try:
            self._parser.feed_data(data)
            rest = None
        except httptools.HttpParserUpgrade as upgrade:
            self._is_complete, rest = True, data[upgrade.args[0] :]
        except httptools.HttpParserError:
            raise _RefusedHandshake(400, "This is no HTTP request.") from None
        if self._is_complete and self._has_two_hosts:
            raise _RefusedHandshake(400, "A request names one host.")
        if rest is not None and b"websocket" in _tokens(self._headers.get(b"upgrade", b"")):
            handshake = self._handshake(rest, later)
            self._stop_waiting()
            self._upgrade(self._transport, handshake, partial(self.connection_lost, None))
        elif self._is_complete:
            self._answer_plain()

    def _handshake(self, rest: bytes, later: bytes) -> SocketHandshake:
        """Validate the handshake (RFC 6455 section 4.2.1) and return it. Raises _RefusedHandshake.

        `rest` and `later` are the bytes after the head: of the same piece, and those not given to the parser.
        """
        if self._received_bytes - len(rest) > self._limits.head_bytes:
            raise _RefusedHandshake(431, f"The head of a request may have {self._limits.head_bytes} bytes.")
        if self._parser.get_method() != b"GET" or self._parser.get_http_version() != "1.1":
            raise _RefusedHandshake(400, "A WebSocket begins with GET and HTTP/1.1.")
        if not self._headers.get(b"host"):
            raise _RefusedHandshake(400, "A request names its host.")
        if self._headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in self._headers:
            raise _RefusedHandshake(400, "A WebSocket begins with a request without a body.")
        if self._headers.get(b"sec-websocket-version") != _VERSION:
            raise _RefusedHandshake(
                426, "Version 13 of WebSocket is spoken here.",
                **{"Upgrade": "websocket", "Sec-WebSocket-Version": _VERSION.decode()},
            )  # fmt: skip
        key = self._headers.get(b"sec-websocket-key", b"")
        if not _is_key(key):
            raise _RefusedHandshake(400, "Sec-WebSocket-Key must be base64 of 16 bytes.")
        return SocketHandshake(key, self._query(), self._headers, rest + later)

    def _answer_plain(self) -> None:
        method, page = self._parser.get_method().decode("latin-1"), self._pages.get(self._path())
        if page is None:
            raise _RefusedHandshake(426, "This is a WebSocket.", Upgrade="websocket")
        if method not in _READS:
            raise _RefusedHandshake(405, "This page is read with GET.", Allow=", ".join(_READS))
        self._respond(*page())

    def _respond(self, status: int, kind: str, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self._is_complete = True
        named = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            **(headers or {}),
        }
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{n}: {v}" for n, v in named.items())]
        head = "\r\n".join([*lines, "Connection: close", "\r\n"]).encode()
        self._transport.write(head if self._parser.get_method() == b"HEAD" else head + body)
        self._transport.close()
        self._end_after(self._limits.read_within_s)

    def _path(self) -> str:
        """Return the path of the target without trailing slashes, which make no difference."""
        path = _ORIGIN.sub(b"", bytes(self._url).partition(b"?")[0]).decode("latin-1") or "/"
        return path.rstrip("/") or path[:1]

    def _query(self) -> str:
        return bytes(self._url).partition(b"?")[2].decode("latin-1")

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _end_after(self, seconds: float) -> None:
        self._stop_waiting()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._transport.abort)


def _tokens(value: bytes) -> set[bytes]:
    """Return the members of a comma-separated header value, in lower case."""
    return {member.strip().lower() for member in value.split(b",")}


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == _KEY_BYTES
    except binascii.Error:
        return False
