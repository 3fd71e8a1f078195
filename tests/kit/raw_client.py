"""A gateway on a port of this process, and an HTTP client that sends bytes exactly as given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import uvicorn

from kit.gateway import Site, site
from kit.waiting import until
from zmart.services.connection_bounds import ConnectionBounds
from zmart.services.connection_counts import ConnectionCounts
from zmart.services.connection_limits import server_config
from zmart.services.contract import AsgiApp
from zmart.services.gateway import metrics
from zmart.services.gateway.http.response_cache import ResponseCache
from zmart.services.listener import bind_listener

HOST = "Host: gateway\r\n"


class RawClient:
    """An HTTP/1.1 connection whose requests are given as bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def get(self, path: str, headers: str = "") -> tuple[int, dict[str, str], bytes]:
        self.writer.write(request(path, headers))
        return await self.answer()

    async def answer(self, *, has_body: bool = True) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            length = int(headers.get("content-length", "0")) if has_body else 0
            body = await self.reader.readexactly(length)
        return int(head[0].split()[1]), headers, body

    async def is_closed(self) -> bool:
        """Return true as soon as the server closes the connection; TimeoutError after 10 s. Discards what it sends."""
        async with asyncio.timeout(10):
            try:
                while await self.reader.read(65_536):
                    pass
            except ConnectionError:
                return True
        return True


def request(path: str, headers: str = "", method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\n{HOST}{headers}\r\n".encode()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[RawClient]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.close()


@asynccontextmanager
async def listening(
    app: AsgiApp, bounds: ConnectionBounds | None = None, connections: ConnectionCounts | None = None
) -> AsyncIterator[int]:
    """Serve an application as every service does, on a free port within the block; yield the port."""
    server = uvicorn.Server(server_config(app, bounds, connections, lifespan="off"))
    listener = bind_listener("127.0.0.1", 0)
    running = asyncio.create_task(server._serve([listener]))
    try:
        await until(lambda: server.started or running.done(), within_s=10)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await running


@dataclass
class Served:
    """A gateway on a port and its response cache; `taken()` counts the requests that the cache has handled."""

    site: Site
    cache: ResponseCache
    port: int

    def taken(self) -> int:
        return metrics.CACHE.hits + metrics.CACHE.misses


@asynccontextmanager
async def served(
    database_url: str, redis_url: str, *, bounds: ConnectionBounds | None = None, **settings: object
) -> AsyncIterator[Served]:
    async with site(database_url, redis_url, **settings) as result:
        caches: list[ResponseCache] = []

        def no_probes(app: AsgiApp | None) -> AsgiApp:
            assert isinstance(app, ResponseCache)
            caches.append(app)
            return app

        async with listening(result.gateway.asgi(no_probes), bounds) as port:
            yield Served(result, caches[0], port)
