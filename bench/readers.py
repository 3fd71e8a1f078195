"""Clients of a WebSocket server: many connections in one process that count messages and time some. Prints JSON.

    python bench/readers.py PORT PATH CONNECTIONS SECONDS [SLOW]

Every SLOW-th connection stops reading when the run begins; the figures are those of the others.

A timed connection reads the moment of the commit from each message. Timing all connections would take processor time
from the server, so a run has n slices: in each slice, every n-th connection is timed, beginning one later than in the
slice before. In the end, every connection was timed equally long, whatever its position in the server's order.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Iterable, Sequence
from statistics import median
from typing import cast

import uvloop
from feed_database import MARK

_TIMED_AT_ONCE = 50
_AT_ONCE = 50
_SETTLE_S = 2.0
_CONNECT_WITHIN_S = 90.0
_EDGE_BYTES = len(MARK) - 1
_STAMP_BYTES = len(MARK) + 19
_UPGRADE = (
    b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def timed_in(slice_number: int, connections: int, slices: int) -> range:
    """Return which connections are timed in a slice; each connection is timed in exactly one of `slices`."""
    return range(slice_number, connections, slices)


def slices_of(connections: int) -> int:
    """Return how many slices a run has, so that some 50 connections are timed at once."""
    return max(1, connections // _TIMED_AT_ONCE)


def percentile(ages_by_client: Iterable[Sequence[int]], share: float) -> int:
    """Return the age that a share of all messages does not exceed; each client has the same weight.

    Raises ValueError when there is no message.
    """
    clients = [ages for ages in ages_by_client if ages]
    weighted = sorted((age, 1 / (len(ages) * len(clients))) for ages in clients for age in ages)
    total = 0.0
    for age, weight in weighted:
        total += weight
        if total >= share - 1e-9:
            return age
    raise ValueError("no message was timed")


def starved(count_by_client: Sequence[int]) -> int:
    """Return how many clients received less than half of the median client's messages."""
    return sum(count < median(count_by_client) / 2 for count in count_by_client)


def handshake(path: str) -> bytes:
    """Return the HTTP request that opens a WebSocket."""
    return _UPGRADE % path.encode()


def allow_many_files() -> None:
    """Raise this process's limit of open files to the hard limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Reader(asyncio.Protocol):
    """Counts the messages after the handshake; while timed, it keeps the age in ns of every message on arrival."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.messages = 0
        self.ages: list[int] = []
        self.ready = asyncio.get_running_loop().create_future()
        self.lost = False
        self._timed = False
        self._rest = self._edge = b""

    def stop_reading(self) -> None:
        self._transport.pause_reading()

    def time(self, *, timed: bool) -> None:
        """Begin or end to keep ages; a message that has partly arrived at the beginning is not timed."""
        self._timed, self._rest = timed, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(handshake(self._path))

    def data_received(self, data: bytes) -> None:
        if not self.ready.done():
            self._rest += data
            if b"\r\n\r\n" in self._rest:
                self.ready.set_result(None)
                self._rest = b""
            return
        self.messages += data.count(MARK) + (self._edge + data[:_EDGE_BYTES]).count(MARK)
        self._edge = data[-_EDGE_BYTES:]
        if self._timed:
            self._read(time.monotonic_ns(), self._rest + data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if not self.ready.done():
            self.ready.set_exception(ConnectionError("lost before the handshake"))

    def _read(self, now: int, data: bytes) -> None:
        at, end = data.find(MARK), 0
        while at >= 0 and at + _STAMP_BYTES <= len(data):
            end = at + _STAMP_BYTES
            self.ages.append(now - int(data[at + len(MARK) : end]))
            at = data.find(MARK, end)
        self._rest = data[max(end, len(data) - _EDGE_BYTES) :] if at < 0 else data[at:]


async def _measure(port: int, path: str, connections: int, seconds: float, slow: int) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    every: list[Reader] = []
    for first in range(0, connections, _AT_ONCE):
        some = [Reader(path) for _ in range(first, min(first + _AT_ONCE, connections))]
        for reader in some:
            await loop.create_connection(lambda reader=reader: reader, "127.0.0.1", port)
        async with asyncio.timeout(_CONNECT_WITHIN_S):
            await asyncio.gather(*(reader.ready for reader in some))
        every += some
    sys.stdout.write("connected\n")
    sys.stdout.flush()
    await asyncio.sleep(_SETTLE_S)
    for reader in every[::slow] if slow else ():
        reader.stop_reading()
    readers = [reader for at, reader in enumerate(every) if not slow or at % slow]
    for reader in readers:
        reader.messages, reader.ages = 0, []
    sys.stdout.write("begin\n")
    sys.stdout.flush()
    began = time.monotonic()
    slices = slices_of(len(readers))
    for number in range(slices):
        timed = [readers[position] for position in timed_in(number, len(readers), slices)]
        for reader in timed:
            reader.time(timed=True)
        await asyncio.sleep(began + seconds * (number + 1) / slices - time.monotonic())
        for reader in timed:
            reader.time(timed=False)
    took = time.monotonic() - began
    sys.stdout.write("end\n")
    sys.stdout.flush()
    ages = [reader.ages for reader in readers]
    delivered = sum(reader.messages for reader in readers)
    return {
        "per_second": delivered / took,
        "delivered": delivered,
        "p50_ms": percentile(ages, 0.5) / 1e6,
        "p99_ms": percentile(ages, 0.99) / 1e6,
        "lost": sum(reader.lost for reader in readers),
        "lost_slow": sum(reader.lost for reader in every) - sum(reader.lost for reader in readers),
        "starved": starved([reader.messages for reader in readers]),
    }


if __name__ == "__main__":
    allow_many_files()
    port, path, connections, seconds, *slow = sys.argv[1:]
    measured = _measure(int(port), path, int(connections), float(seconds), int(slow[0]) if slow else 0)
    sys.stdout.write(json.dumps(uvloop.run(measured)) + "\n")
