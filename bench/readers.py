"""Clients of a WebSocket server: many connections of one process that count bytes, and in turn also read the moment of
sending in each message. Prints JSON.

    python bench/readers.py PORT CONNECTIONS FRAME_BYTES SECONDS

Reading every message of every client would take the processor from the server. So a run has n slices: in each, every
n-th connection is timed, in the next slice the one after it. In the end every connection was timed for as long as any
other, whatever place it has in the server's order.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterable, Sequence
from statistics import median
from typing import cast

import uvloop

_TIMED_AT_ONCE = 50
_AT_ONCE = 50
_SETTLE_S = 2.0
_STAMP = b'"sent":"'
_UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def timed_in(slice_number: int, connections: int, slices: int) -> range:
    """Which connections are timed in a slice: every one in exactly one of `slices`."""
    return range(slice_number, connections, slices)


def slices_of(connections: int) -> int:
    """How many slices a run has, so that some 50 connections are timed at once."""
    return max(1, connections // _TIMED_AT_ONCE)


def percentile(ages_by_client: Iterable[Sequence[int]], share: float) -> int:
    """The age that `share` of all do not exceed; each client weighs the same, however many its messages."""
    clients = [ages for ages in ages_by_client if ages]
    weighted = sorted((age, 1 / (len(ages) * len(clients))) for ages in clients for age in ages)
    total = 0.0
    for age, weight in weighted:
        total += weight
        if total >= share - 1e-9:
            return age
    raise ValueError("no message was timed")


def starved(bytes_by_client: Sequence[int]) -> int:
    """How many clients got less than half of what the median client got."""
    return sum(count < median(bytes_by_client) / 2 for count in bytes_by_client)


class Reader(asyncio.Protocol):
    """Counts bytes behind the handshake; while it is timed it keeps the age of every message on arrival, in ns."""

    def __init__(self) -> None:
        self.bytes = 0
        self.ages: list[int] = []
        self.ready = asyncio.get_running_loop().create_future()
        self.lost = False
        self._timed = False
        self._rest = b""

    def time(self, *, timed: bool) -> None:
        """Begin or end to keep ages. A stamp that is cut by the beginning is not read."""
        self._timed, self._rest = timed, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(_UPGRADE)

    def data_received(self, data: bytes) -> None:
        if not self.ready.done():
            self._rest += data
            if b"\r\n\r\n" in self._rest:
                self.ready.set_result(None)
                self._rest = b""
            return
        self.bytes += len(data)
        if self._timed:
            self._read(time.monotonic_ns(), self._rest + data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def _read(self, now: int, data: bytes) -> None:
        at = data.find(_STAMP)
        while at >= 0 and at + 27 <= len(data):
            self.ages.append(now - int(data[at + 8 : at + 27]))
            data = data[at + 27 :]
            at = data.find(_STAMP)
        self._rest = data[-32:] if at < 0 else data[at:]


async def _measure(port: int, connections: int, frame_bytes: int, seconds: float) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    readers: list[Reader] = []
    for first in range(0, connections, _AT_ONCE):
        some = [Reader() for _ in range(first, min(first + _AT_ONCE, connections))]
        for reader in some:
            await loop.create_connection(lambda reader=reader: reader, "127.0.0.1", port)
        async with asyncio.timeout(30):
            await asyncio.gather(*(reader.ready for reader in some))
        readers += some
    await asyncio.sleep(_SETTLE_S)
    for reader in readers:
        reader.bytes, reader.ages = 0, []
    sys.stdout.write("begin\n")
    sys.stdout.flush()
    began = time.monotonic()
    slices = slices_of(connections)
    for number in range(slices):
        timed = [readers[position] for position in timed_in(number, connections, slices)]
        for reader in timed:
            reader.time(timed=True)
        await asyncio.sleep(began + seconds * (number + 1) / slices - time.monotonic())
        for reader in timed:
            reader.time(timed=False)
    took = time.monotonic() - began
    sys.stdout.write("end\n")
    sys.stdout.flush()
    ages = [reader.ages for reader in readers]
    delivered = sum(reader.bytes for reader in readers) / frame_bytes
    return {
        "per_second": delivered / took,
        "delivered": delivered,
        "p50_ms": percentile(ages, 0.5) / 1e6,
        "p99_ms": percentile(ages, 0.99) / 1e6,
        "lost": sum(reader.lost for reader in readers),
        "starved": starved([reader.bytes for reader in readers]),
    }


if __name__ == "__main__":
    numbers = (int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
    sys.stdout.write(json.dumps(uvloop.run(_measure(*numbers))) + "\n")
