"""A WebSocket service within a test, and a client that sends bytes exactly as given."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from kit.waiting import until
from zmart.services.websocket.limits import SocketLimits
from zmart.services.websocket.service import WebSocketService
from zmart.settings import Settings

HANDSHAKE = {
    "Host": "x",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Version": "13",
}
MASK = b"\x00\x00\x00\x00"


@asynccontextmanager
async def serving(settings: Settings, limits: SocketLimits | None = None) -> AsyncIterator[WebSocketService]:
    service = await WebSocketService.open(settings)
    if limits is not None:
        for part in (service, service._server, service._server._subscriptions):
            part._limits = limits
    stop = asyncio.Event()
    running = asyncio.create_task(service.run(stop))
    await until(lambda: service.port)
    try:
        yield service
    finally:
        stop.set()
        await running


def head(first: str = "GET / HTTP/1.1", **headers: str) -> bytes:
    """Return the head of an HTTP request; in the names of `headers`, underscores stand for hyphens."""
    lines = [first, *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def handshake(first: str = "GET / HTTP/1.1", **changed: str) -> bytes:
    """Return a WebSocket handshake in which the headers `changed` replace the usual ones."""
    changed = {name.replace("_", "-"): value for name, value in changed.items()}
    return head(first, **(HANDSHAKE | changed))


def frame(first_byte: int, payload: bytes) -> bytes:
    """Return a client's frame, masked with zeros; the first byte holds FIN, the reserved bits and the opcode."""
    size = len(payload)
    if size < 126:
        return bytes((first_byte, 0x80 | size)) + MASK + payload
    if size < 65_536:
        return bytes((first_byte, 0x80 | 126)) + size.to_bytes(2, "big") + MASK + payload
    return bytes((first_byte, 0x80 | 127)) + size.to_bytes(8, "big") + MASK + payload


def text(message: object) -> bytes:
    payload = message if isinstance(message, bytes) else json.dumps(message).encode()
    return frame(0x81, payload)


class RawSocket:
    """A connection to a WebSocket server whose frames are given as bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def status(self) -> int:
        """Read the response to the handshake; return its HTTP status."""
        async with asyncio.timeout(10):
            return int((await self.reader.readuntil(b"\r\n\r\n")).split()[1])

    async def frames(self) -> list[Frame]:
        """Return all frames until the server closes the connection; TimeoutError after 15 s."""
        async with asyncio.timeout(15):
            received = b""
            try:
                while data := await self.reader.read(65_536):
                    received += data
            except ConnectionError:
                pass
        return parsed_frames(received)

    async def close_code(self) -> int | None:
        """Return the code of the server's close frame, which must be its last; None if it has no code."""
        [*_, last] = await self.frames()
        assert last.opcode is Opcode.CLOSE
        return int.from_bytes(last.data[:2], "big") if last.data else None

    async def error_code(self) -> str:
        """Return the code of the next error message; other messages are skipped."""
        async with asyncio.timeout(10):
            while True:
                first, size = await self.reader.readexactly(2)
                length = int.from_bytes(await self.reader.readexactly(2), "big") if size == 126 else size
                payload = await self.reader.readexactly(length)
                if first == 0x81 and (message := json.loads(payload))["type"] == "error":
                    return str(message["data"]["code"])
                assert first != 0x88, payload


@asynccontextmanager
async def raw(port: int) -> AsyncIterator[RawSocket]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield RawSocket(reader, writer)
    finally:
        writer.close()


@asynccontextmanager
async def opened(port: int, first: bytes = b"") -> AsyncIterator[RawSocket]:
    """Yield a connection after its handshake; the bytes `first` are sent together with the handshake."""
    async with raw(port) as socket:
        socket.writer.write(handshake() + first)
        assert await socket.status() == 101
        yield socket


def parsed_frames(received: bytes) -> list[Frame]:
    """Return the complete frames in the bytes that a server sent."""
    reader, frames = StreamReader(), []
    reader.feed_data(received)
    while True:
        parsing = Frame.parse(reader.read_exact, mask=False)
        try:
            next(parsing)
        except StopIteration as done:
            frames.append(done.value)
        else:
            return frames
