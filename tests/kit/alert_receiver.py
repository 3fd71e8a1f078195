"""A webhook server that receives alerts in tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Receiver:
    """A webhook server; `status` is the HTTP status of its answers, `heard` the JSON bodies that it received."""

    def __init__(self) -> None:
        self.status, self.heard, self.url = 200, [], ""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            size = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            self.heard.append(json.loads(await reader.readexactly(size)))
            writer.write(b"HTTP/1.1 %d x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % self.status)
            await writer.drain()
        finally:
            writer.close()

    @classmethod
    @asynccontextmanager
    async def listening(cls) -> AsyncIterator[Receiver]:
        receiver = cls()
        server = await asyncio.start_server(receiver._serve, "127.0.0.1", 0)
        receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/secret"
        try:
            yield receiver
        finally:
            server.close()

    def told(self) -> list[tuple[str, str]]:
        return [(message["key"], message["status"]) for message in self.heard]
