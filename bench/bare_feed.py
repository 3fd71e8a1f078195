"""Bare sends: each change by one send() to each client, nothing else. What a process can do here at most that sends
every message at once; a ratio to it says how much of a server's time is the kernel's.

    python bench/bare_feed.py PORT DATABASE_URL

It is fed by NOTIFY. A client that has no room for a whole message is disconnected, which the benchmark reports.
"""

from __future__ import annotations

import asyncio
import socket
import sys

import asyncpg
import uvloop
from feed_database import PUBLICATION
from readers import allow_many_files

_BACKLOG = 4096
_HEAD_BYTES = 4096
_TEXT = 0x81
_SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
"""The answer to the one key that the clients of the benchmark send (the example of RFC 6455)."""


def frame(text: str) -> bytes:
    """One text message of less than 64 KiB, as a server sends it: unmasked."""
    body = text.encode()
    size = bytes((len(body),)) if len(body) < 126 else b"\x7e" + len(body).to_bytes(2, "big")
    return bytes((_TEXT,)) + size + body


async def accept(listener: socket.socket, clients: set[socket.socket]) -> None:
    """Answer handshakes for ever; who has got the answer is one of `clients`."""
    loop = asyncio.get_running_loop()
    while True:
        client, _ = await loop.sock_accept(listener)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_recv(client, _HEAD_BYTES)
        await loop.sock_sendall(client, _SWITCHING)
        clients.add(client)


def send(data: bytes, clients: set[socket.socket]) -> None:
    """Send it to each client; end those that do not take the whole."""
    for client in tuple(clients):
        try:
            is_whole = client.send(data) == len(data)
        except OSError:
            is_whole = False
        if not is_whole:
            clients.discard(client)
            client.close()


async def _serve(port: int, database_url: str) -> None:
    clients: set[socket.socket] = set()
    connection = await asyncpg.connect(database_url)
    await connection.add_listener(PUBLICATION, lambda *arguments: send(frame(arguments[-1]), clients))
    listener = socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)
    listener.setblocking(False)
    await accept(listener, clients)


if __name__ == "__main__":
    allow_many_files()
    uvloop.run(_serve(int(sys.argv[1]), sys.argv[2]))
