"""A load balancer as operators place before gateways: it asks each server's /ready, and leaves out unready servers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from kit.many_hosts import ServiceProcess

_EVERY_S = 0.5
_ANSWER_S = 1.5


class Balancer:
    """Accepts TCP connections on a port of the loopback and forwards each to the next server that is ready.

    A connection is aborted when its server stops being ready.
    """

    def __init__(self, servers: list[ServiceProcess]) -> None:
        self._servers = servers
        self._ready: list[ServiceProcess] = []
        self._turn = itertools.count()
        self._writers: dict[asyncio.StreamWriter, ServiceProcess] = {}
        self.port = 0

    @classmethod
    @asynccontextmanager
    async def before(cls, servers: list[ServiceProcess]) -> AsyncIterator[Balancer]:
        balancer = cls(servers)
        await balancer._look_at_all()
        listener = await asyncio.start_server(balancer._accept, "127.0.0.1", 0)
        balancer.port = listener.sockets[0].getsockname()[1]
        looking = asyncio.create_task(balancer._look())
        try:
            yield balancer
        finally:
            looking.cancel()
            listener.close()
            for writer in list(balancer._writers):
                writer.transport.abort()
            await asyncio.gather(looking, return_exceptions=True)

    async def _look(self) -> None:
        while True:
            await self._look_at_all()
            await asyncio.sleep(_EVERY_S)

    async def _look_at_all(self) -> None:
        reports = await asyncio.gather(*(asyncio.to_thread(each.report, _ANSWER_S) for each in self._servers))
        self._ready = [each for each, report in zip(self._servers, reports, strict=True) if report.ready]
        for writer, server in list(self._writers.items()):
            if server not in self._ready:
                writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not self._ready:
                return
            server = self._ready[next(self._turn) % len(self._ready)]
            async with asyncio.timeout(_ANSWER_S):
                there, back = await asyncio.open_connection(server.host.address, server.port)
            self._writers |= {writer: server, back: server}
            try:
                ways = [asyncio.create_task(_carry(reader, back)), asyncio.create_task(_carry(there, writer))]
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
            finally:
                del self._writers[writer], self._writers[back]
                back.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()


async def _carry(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await source.read(65_536):
            to.write(data)
            await to.drain()
