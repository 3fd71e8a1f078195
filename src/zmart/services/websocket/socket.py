"""Listen with picows: one listener per connection, and plain HTTP for probes on the same port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import picows

from zmart.services.client_addresses import ClientAddresses
from zmart.services.websocket.connection import SocketConnection
from zmart.services.websocket.server import SocketServer

# Above our own limit the client gets an error message; above this one picows closes with 1009.
_PICOWS_FRAME_MAX = 256 * 1024

Page = Callable[[], tuple[int, str, bytes]]
"""An HTTP response: status, content type, body."""


async def listen(
    server: SocketServer,
    pages: Mapping[str, Page],
    clients: ClientAddresses,
    frame_bytes: int,
    host: str,
    port: int,
) -> asyncio.Server:
    """Serve WebSockets on any path, and `pages` to plain GETs. Raises OSError if the port is in use."""

    def accept(request: picows.WSUpgradeRequest) -> picows.WSListener | picows.WSUpgradeResponseWithListener:
        if request.headers.get("upgrade", "").lower() == "websocket":
            forwarded = [line.encode("latin-1") for line in request.headers.getall("x-forwarded-for", [])]
            return _Listener(server, clients, forwarded, frame_bytes)
        return _plain(pages, request.path.decode("latin-1").partition("?")[0])

    return await picows.ws_create_server(
        accept,
        host,
        port,
        enable_auto_pong=False,
        max_frame_size=_PICOWS_FRAME_MAX,
        read_buffer_init_size=1024,
        logger_name="websocket",
    )


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
        size = len(self._fragments) if self._fragments is not None else 0
        if size + frame.payload_size > self._frame_bytes:
            self._fragments = None
            self._server.too_large(connection)
            return
        if self._fragments is None and frame.fin:
            self._server.receive(connection, frame.get_payload_as_bytes())
            return
        if self._fragments is None:
            self._fragments = bytearray()
        self._fragments += frame.get_payload_as_bytes()
        if frame.fin:
            message, self._fragments = bytes(self._fragments), None
            self._server.receive(connection, message)


def _plain(pages: Mapping[str, Page], path: str) -> picows.WSUpgradeResponseWithListener:
    page = pages.get(path)
    if page is None:
        status, kind, body = (
            426,
            "application/json",
            b'{"error":"Upgrade Required","message":"This is a WebSocket."}',
        )
    else:
        status, kind, body = page()
    headers = {"Content-Type": kind, "Cache-Control": "no-store"}
    if status >= 400:
        response = picows.WSUpgradeResponse.create_error_response(status, body, headers)
    else:
        response = picows.WSUpgradeResponse.create_ok_response(body, headers)
    return picows.WSUpgradeResponseWithListener(response, None)
