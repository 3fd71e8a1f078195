"""A PostgreSQL connection pooler in transaction mode: each transaction runs on any backend that is free."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Choice = Callable[[int], int]
"""A function that takes the number of free backends and returns the index of the one to use."""
CHOICES: dict[str, Choice] = {
    "last": lambda free: free - 1,
    "in turn": lambda free: 0,
    "random": random.Random(7).randrange,
}
_SSL_REQUEST = 80_877_103


class TransactionPooler:
    """Opens a backend for each new connection of a client; all clients share the first `backends` of them."""

    def __init__(self, server: tuple[str, int], choice: Choice, backends: int) -> None:
        self._server = server
        self._choice = choice
        self._most = backends
        self._free: list[Stream] = []
        self._all: list[Stream] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until it disconnects."""
        try:
            await self._start(reader, writer)
            message = await _typed(reader)
            while message[:1] != b"X":
                message = await self._transaction(message, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            writer.close()

    def close(self) -> None:
        for _, writer in self._all:
            writer.close()

    async def _start(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start = await _untyped(reader)
        if struct.unpack_from(">I", start, 4)[0] == _SSL_REQUEST:
            writer.write(b"N")
            start = await _untyped(reader)
        backend = await asyncio.open_connection(*self._server)
        backend[1].write(start)
        while (message := await _typed(backend[0]))[:1] != b"Z":
            writer.write(message)
            is_question = message[:1] == b"R" and struct.unpack_from(">I", message, 5)[0] in (3, 5, 10, 11)
            if is_question:
                backend[1].write(await _typed(reader))
        writer.write(message)
        self._all.append(backend)
        if len(self._all) <= self._most:
            self._free.append(backend)

    async def _transaction(
        self, message: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes:
        """Run one transaction, which begins with `message`; return the client's first message after it."""
        backend = self._free.pop(self._choice(len(self._free)))
        backend[1].write(message)
        answers = asyncio.create_task(_pass_answers(backend[0], writer))
        try:
            while True:
                following = asyncio.create_task(_typed(reader))
                await asyncio.wait({following, answers}, return_when=asyncio.FIRST_COMPLETED)
                if answers.done():
                    break
                backend[1].write(await following)
        finally:
            await answers
            self._free.append(backend)
        return await following


async def _pass_answers(backend: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass the answers of a backend to the client, until the backend reports that no transaction is open."""
    while True:
        answer = await _typed(backend)
        writer.write(answer)
        if answer[:1] == b"Z" and answer[-1:] == b"I":
            return


async def _untyped(reader: asyncio.StreamReader) -> bytes:
    size = await reader.readexactly(4)
    return size + await reader.readexactly(struct.unpack(">I", size)[0] - 4)


async def _typed(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(1) + await _untyped(reader)


@asynccontextmanager
async def transaction_pooler(database_url: str, choice: str, backends: int = 8) -> AsyncIterator[str]:
    """Run a pooler before the database within the block and yield the database's URL through it.

    `choice` is a key of CHOICES: which free backend runs the next transaction.
    """
    parts = urlsplit(database_url)
    assert parts.hostname is not None
    assert parts.port is not None
    pooler = TransactionPooler((parts.hostname, parts.port), CHOICES[choice], backends)
    server = await asyncio.start_server(pooler.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield urlunsplit(parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}"))
    finally:
        server.close()
        pooler.close()
