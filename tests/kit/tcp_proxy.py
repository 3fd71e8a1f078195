"""A TCP proxy before a server that refuses, resets, delays and hangs, as networks and managed hosts do."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

_Writer = asyncio.StreamWriter
_Chunk = tuple[float, bytes]


class _Way:
    """One connection through the proxy; it carries bytes while the event `flows` is set."""

    def __init__(self, flows: asyncio.Event) -> None:
        self.flows = flows
        self.writers: list[_Writer] = []

    def abort(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


class TcpProxy:
    """Carries bytes between clients and the server at a URL.

    `delay_s` is how late each byte arrives, in each direction. `cut_after_bytes` is how many bytes of answers a new
    connection carries before it is reset. `accepted` counts the connections.
    """

    def __init__(self, url: str) -> None:
        there = urlsplit(url)
        self._url = url
        self._target = there.hostname or "", there.port or 0
        self._flows = _opened()
        self._ways: dict[asyncio.Task[None], _Way] = {}
        self._listener: asyncio.Server | None = None
        self.port = 0
        self.delay_s = 0.0
        self.cut_after_bytes = math.inf
        self.accepted = 0

    @classmethod
    @asynccontextmanager
    async def before(cls, url: str) -> AsyncIterator[TcpProxy]:
        proxy = cls(url)
        await proxy._listen()
        try:
            yield proxy
        finally:
            await proxy._close()

    @property
    def url(self) -> str:
        """The server's URL, through the proxy."""
        there = urlsplit(self._url)
        return self._url.replace(f"{there.hostname}:{there.port}", f"127.0.0.1:{self.port}", 1)

    def hang(self) -> None:
        """Carry nothing more on any connection; accept new ones without carrying anything, as a black hole."""
        self._flows.clear()

    def hang_old(self) -> None:
        """Never carry anything again on the present connections; new ones work."""
        for way in self._ways.values():
            way.flows = asyncio.Event()

    def cut(self) -> None:
        """Reset all connections."""
        for way in self._ways.values():
            way.abort()

    def refuse(self) -> None:
        """Reset all connections and refuse new ones, as when the server is stopped."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self.cut()

    async def restore(self) -> None:
        """Accept and carry connections again, without a delay or a limit of bytes."""
        self.delay_s, self.cut_after_bytes = 0.0, math.inf
        self._flows.set()
        await self._listen()

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = self._listener.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self.refuse()
        for task in list(self._ways):
            task.cancel()
        await asyncio.gather(*self._ways, return_exceptions=True)
        await asyncio.sleep(0)  # lets the aborted transports close

    async def _accept(self, reader: asyncio.StreamReader, writer: _Writer) -> None:
        task, way = asyncio.current_task(), _Way(self._flows)
        assert task is not None
        self._ways[task] = way
        self.accepted += 1
        way.writers.append(writer)
        try:
            await way.flows.wait()
            there, back = await asyncio.open_connection(*self._target)
            way.writers.append(back)
            await self._carry(way, (reader, back), (there, writer))
        except (asyncio.CancelledError, OSError):
            pass
        finally:
            way.abort()
            del self._ways[task]

    async def _carry(
        self,
        way: _Way,
        requests: tuple[asyncio.StreamReader, _Writer],
        answers: tuple[asyncio.StreamReader, _Writer],
    ) -> None:
        """Carry both directions until one ends."""
        both = [
            asyncio.ensure_future(self._carry_one(way, *requests, math.inf)),
            asyncio.ensure_future(self._carry_one(way, *answers, self.cut_after_bytes)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _carry_one(self, way: _Way, source: asyncio.StreamReader, to: _Writer, most: float) -> None:
        chunks: asyncio.Queue[_Chunk] = asyncio.Queue()
        reading = asyncio.ensure_future(self._read(source, chunks))
        try:
            with suppress(ConnectionError):
                while most > 0:
                    due_s, data = await chunks.get()
                    await asyncio.sleep(max(0.0, due_s - asyncio.get_running_loop().time()))
                    await way.flows.wait()
                    if not data:
                        return
                    part = data if most == math.inf else data[: int(most)]
                    most -= len(part)
                    to.write(part)
                    await to.drain()
        finally:
            reading.cancel()

    async def _read(self, source: asyncio.StreamReader, chunks: asyncio.Queue[_Chunk]) -> None:
        data = b"-"
        while data:
            try:
                data = await source.read(65_536)
            except ConnectionError:
                data = b""
            chunks.put_nowait((asyncio.get_running_loop().time() + self.delay_s, data))


def _opened() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event
