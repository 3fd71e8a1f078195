"""Listen on the WebSocket port: answer plain HTTP for probes, and read the frames of each WebSocket."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from typing import cast

from websockets.frames import Frame, Opcode
from websockets.protocol import SEND_EOF, Protocol, Side

from zmart.services.client_addresses import ClientAddresses
from zmart.services.connection_counts import ConnectionCounts
from zmart.services.websocket.connection import SocketConnection
from zmart.services.websocket.frames import CloseCode, is_close
from zmart.services.websocket.handshake import HandshakeProtocol, Page, SocketHandshake
from zmart.services.websocket.limits import HandshakeLimits
from zmart.services.websocket.server import SocketServer

# A message above `frame_bytes` gets an error message; a frame above this limit closes the connection with 1009.
_LONGEST_MESSAGE_BYTES = 96 * 1024
_FORWARDED = b"x-forwarded-for"
_BACKLOG = (
    4096  # after a restart all clients connect at once; a client that the kernel drops retries after a second
)

_log = logging.getLogger("zmart.websocket.frames")
_log.setLevel(logging.WARNING)  # the library logs the end of every connection


async def listen(
    server: SocketServer,
    pages: Mapping[str, Page],
    clients: ClientAddresses,
    frame_bytes: int,
    bound: socket.socket,
) -> asyncio.Server:
    """Serve WebSockets on any path of a bound socket, and answer plain GET requests with `pages`, by path."""
    limits, connections = HandshakeLimits(), ConnectionCounts(clients)

    def upgrade(transport: asyncio.Transport, handshake: SocketHandshake, ended: Callable[[], None]) -> None:
        forwarded = [value] if (value := handshake.headers.get(_FORWARDED)) else []
        peer = transport.get_extra_info("peername")
        reader = FrameReader(server, clients.of(peer[0] if peer else None, forwarded), frame_bytes, ended)
        transport.set_protocol(reader)
        transport.write(handshake.response())
        reader.connection_made(transport)
        server.subscribe_by_url(reader.connection, handshake.query)
        reader.data_received(handshake.rest)

    def connect() -> HandshakeProtocol:
        return HandshakeProtocol(upgrade, pages, limits, connections)

    return await asyncio.get_running_loop().create_server(connect, sock=bound, backlog=_BACKLOG)


class _FrameProtocol(Protocol):
    """Validate the frames of a client as the library does, but accept a close frame between the fragments of a message,
    as RFC 6455 section 5.4 does: a client that closes while it sends is answered with its own code."""

    def recv_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None
        super().recv_frame(frame)


class FrameReader(asyncio.Protocol):
    """Read the frames of a client after its handshake, strictly by RFC 6455, and join fragments into messages.

    The websockets library validates the frames and answers close frames. The server's own frames do not pass through
    it: each is encoded once for all subscribers, and pongs keep their order among the answers.
    """

    connection: SocketConnection

    def __init__(
        self, server: SocketServer, address: str, frame_bytes: int, ended: Callable[[], None]
    ) -> None:
        self._server = server
        self._ended = ended
        self._address = address
        self._frame_bytes = frame_bytes
        self._frames = _FrameProtocol(Side.SERVER, max_size=_LONGEST_MESSAGE_BYTES, logger=_log)
        self._message = bytearray()
        self._is_text, self._is_broken = True, False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the client to the server."""
        self.connection = self._server.admit(cast("asyncio.Transport", transport), self._address)

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the connection in the server and in the count of connections."""
        self._ended()
        self._server.disconnected(self.connection)
        # Break reference cycles, which would otherwise stay in memory until a full garbage collection.
        self._frames.parser.close()
        self._frames.parser_exc = None

    def pause_writing(self) -> None:
        """Handle a full transport buffer: the connection queues its frames from now on."""
        self.connection.paused()

    def resume_writing(self) -> None:
        """Handle an emptied transport buffer: the connection sends its queued frames."""
        self.connection.resumed()

    def data_received(self, data: bytes) -> None:
        """Process the frames that are complete, and send the library's answers to them."""
        self._frames.receive_data(data)
        for frame in self._frames.events_received():
            assert isinstance(frame, Frame)
            self._process(frame)
        self._answer()

    def _process(self, frame: Frame) -> None:
        if self._is_broken or frame.opcode is Opcode.CLOSE or not self._server.count_frame(self.connection):
            return
        if frame.opcode is Opcode.PING:
            self.connection.pong(bytes(frame.data))
        elif frame.opcode is not Opcode.PONG:
            self._join(frame)

    def _join(self, frame: Frame) -> None:
        if frame.opcode is not Opcode.CONT:
            self._message, self._is_text = bytearray(), frame.opcode is Opcode.TEXT
        self._message += frame.data
        if len(self._message) > self._frame_bytes:
            self._server.too_large(self.connection)
        elif frame.fin:
            message, self._message = bytes(self._message), bytearray()
            self._receive(message)

    def _receive(self, message: bytes) -> None:
        if self._is_text and not _is_utf8(message):
            self._is_broken = True
            self._frames.fail(CloseCode.INVALID_TEXT, "invalid UTF-8")
        else:
            self._server.receive(self.connection, message)

    def _answer(self) -> None:
        for data in self._frames.data_to_send():
            if data == SEND_EOF:
                self.connection.end()
            elif is_close(data):
                self.connection.answer_close(data, self._error_code())

    def _error_code(self) -> int | None:
        """Return the code with which the library closed, None if it only answered the client's close frame."""
        sent = self._frames.close_sent
        return sent.code if sent is not None and self._frames.close_rcvd is None else None


def _is_utf8(message: bytes) -> bool:
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True
