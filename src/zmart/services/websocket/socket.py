"""Listen on the WebSocket port: plain HTTP for probes, and after a handshake picows, one listener per connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

import picows
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # published only through its own server

from zmart.services.client_addresses import ClientAddresses
from zmart.services.websocket.connection import SocketConnection
from zmart.services.websocket.frames import CloseCode
from zmart.services.websocket.handshake import HandshakeProtocol, Page, SocketHandshake
from zmart.services.websocket.limits import HandshakeLimits
from zmart.services.websocket.server import SocketServer

# Above our own limit the client gets an error message; above this one picows closes with 1009.
_PICOWS_FRAME_MAX = 96 * 1024
_READ_BUFFER_BYTES = 1024
_HANDSHAKE_S = 5.0
_UNUSED_S = 20.0
_FORWARDED = b"x-forwarded-for"


async def listen(
    server: SocketServer,
    pages: Mapping[str, Page],
    clients: ClientAddresses,
    frame_bytes: int,
    host: str,
    port: int,
) -> asyncio.Server:
    """Serve WebSockets on any path, and `pages` to plain GETs. Raises OSError if the port is in use."""
    limits = HandshakeLimits()

    def upgrade(transport: asyncio.Transport, handshake: SocketHandshake) -> None:
        forwarded = [value] if (value := handshake.headers.get(_FORWARDED)) else []
        _hand_over(transport, handshake, _Listener(server, clients, forwarded, frame_bytes))

    def connect() -> HandshakeProtocol:
        return HandshakeProtocol(upgrade, pages, limits)

    return await asyncio.get_running_loop().create_server(connect, host, port)


def _hand_over(transport: asyncio.Transport, handshake: SocketHandshake, listener: picows.WSListener) -> None:
    """Let picows go on with a connection. It gets a handshake in the one spelling that it understands."""
    protocol = WSProtocol(
        None, None, False, lambda _: listener, logging.getLogger("picows.websocket"), True, _HANDSHAKE_S, False,
        _UNUSED_S, _UNUSED_S, picows.WSAutoPingStrategy.PING_WHEN_IDLE, False, _PICOWS_FRAME_MAX, None,
        _READ_BUFFER_BYTES,
    )  # fmt: skip
    protocol.connection_made(transport)
    transport.pause_reading()  # uvloop chooses the way to read when reading begins
    transport.set_protocol(protocol)
    transport.resume_reading()
    _feed(protocol, _HANDSHAKE % handshake.key + handshake.rest)


_HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
)


def _feed(protocol: asyncio.BufferedProtocol, data: bytes) -> None:
    """Give bytes to a protocol that reads into its own buffer."""
    rest = memoryview(data)
    while rest:
        buffer = memoryview(protocol.get_buffer(len(rest)))
        size = min(len(buffer), len(rest))
        buffer[:size] = rest[:size]
        protocol.buffer_updated(size)
        rest = rest[size:]


class _Listener(picows.WSListener):
    """Join frames to whole messages; a fragmented message is bounded like a single frame."""

    def __init__(
        self, server: SocketServer, clients: ClientAddresses, forwarded: list[bytes], frame_bytes: int
    ) -> None:
        self._server = server
        self._clients = clients
        self._forwarded = forwarded
        self._frame_bytes = frame_bytes
        self._connection: SocketConnection | None = None
        self._fragments: bytearray | None = None
        self._is_text = True

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        peer = transport.underlying_transport.get_extra_info("peername")
        address = self._clients.of(peer[0] if peer else None, self._forwarded)
        self._connection = self._server.admit(transport.underlying_transport, address)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        if self._connection is not None:
            self._server.disconnected(self._connection)

    def pause_writing(self) -> None:
        if self._connection is not None:
            self._connection.paused()

    def resume_writing(self) -> None:
        if self._connection is not None:
            self._connection.resumed()

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        connection = self._connection
        assert connection is not None, "frames follow on_ws_connected"
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            self._server.violated(connection, CloseCode.PROTOCOL_ERROR, "reserved bits are set")
            return
        if frame.msg_type == picows.WSMsgType.CLOSE:
            connection.answer_close(frame.get_payload_as_bytes())
            return
        if not self._server.count_frame(connection):
            return
        if frame.msg_type == picows.WSMsgType.PING:
            connection.pong(frame.get_payload_as_bytes())
        elif frame.msg_type != picows.WSMsgType.PONG:
            self._data(connection, frame)

    def _data(self, connection: SocketConnection, frame: picows.WSFrame) -> None:
        goes_on = frame.msg_type == picows.WSMsgType.CONTINUATION
        if goes_on != (self._fragments is not None):
            self._server.violated(connection, CloseCode.PROTOCOL_ERROR, "fragments in the wrong order")
            return
        if not goes_on:
            self._is_text = frame.msg_type == picows.WSMsgType.TEXT
        before = self._fragments or bytearray()
        if len(before) + frame.payload_size > self._frame_bytes:
            self._server.too_large(connection)
            return
        message = before + frame.get_payload_as_bytes()
        self._fragments = None if frame.fin else message
        if frame.fin:
            self._whole(connection, bytes(message))

    def _whole(self, connection: SocketConnection, message: bytes) -> None:
        if self._is_text and not _is_utf8(message):
            self._server.violated(connection, CloseCode.INVALID_TEXT, "invalid UTF-8")
        else:
            self._server.receive(connection, message)


def _is_utf8(message: bytes) -> bool:
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True
