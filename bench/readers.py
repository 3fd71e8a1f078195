"""Clients of a WebSocket server: many connections of one process that only count, and some that also read the moment of
sending in each message. Prints JSON.

    python bench/readers.py PORT CONNECTIONS FRAME_BYTES SECONDS
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import cast

import uvloop

_TIMED = 50
_AT_ONCE = 50
_SETTLE_S = 2.0
_STAMP = b'"sent":"'
_UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Reader(asyncio.Protocol):
    """Counts bytes behind the handshake; a timed one keeps the age of every message on arrival, in ns."""

    def __init__(self, *, timed: bool) -> None:
        self.bytes = 0
        self.ages: list[int] = []
        self.ready = asyncio.get_running_loop().create_future()
        self.lost = False
        self._timed = timed
        self._rest = b""

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
        some = [Reader(timed=number < _TIMED) for number in range(first, min(first + _AT_ONCE, connections))]
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
    await asyncio.sleep(seconds)
    took = time.monotonic() - began
    sys.stdout.write("end\n")
    sys.stdout.flush()
    ages = sorted(age for reader in readers for age in reader.ages)
    delivered = sum(reader.bytes for reader in readers) / frame_bytes
    return {
        "per_second": delivered / took,
        "delivered": delivered,
        "p50_ms": ages[len(ages) // 2] / 1e6,
        "p99_ms": ages[len(ages) * 99 // 100] / 1e6,
        "lost": sum(reader.lost for reader in readers),
    }


if __name__ == "__main__":
    numbers = (int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
    sys.stdout.write(json.dumps(uvloop.run(_measure(*numbers))) + "\n")
