"""A server of the live feed that only sends: each change by one send() to each client, without any other work.

    python bench/bare_feed.py PORT DATABASE_URL

It shows the most that one process can do here, and how much of another server's time is the kernel's. The changes come
from NOTIFY. A client whose socket cannot take a whole message is disconnected, which the benchmark reports.
"""

from __future__ import annotations

import asyncio
import socket
import sys

import asyncpg
import uvloop
from feed_database import PUBLICATION
from readers import allow_many_files

from zmart.services.websocket import frames

_BACKLOG = 4096
_HEAD_BYTES = 4096
_SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
"""The response to the handshakes of the benchmark's clients, which all send the key of the example in RFC 6455."""


async def accept(listener: socket.socket, clients: set[socket.socket]) -> None:
    """Answer handshakes until cancelled; each connection whose handshake was answered is added to `clients`."""
    loop = asyncio.get_running_loop()
    while True:
        client, _ = await loop.sock_accept(listener)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_recv(client, _HEAD_BYTES)
        await loop.sock_sendall(client, _SWITCHING)
        clients.add(client)


def send(data: bytes, clients: set[socket.socket]) -> None:
    """Send `data` to each client; close and remove clients whose sockets do not take all of it."""
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
    await connection.add_listener(
        PUBLICATION, lambda *arguments: send(frames.text(arguments[-1].encode()), clients)
    )
    listener = socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)
    listener.setblocking(False)
    await accept(listener, clients)


if __name__ == "__main__":
    allow_many_files()
    uvloop.run(_serve(int(sys.argv[1]), sys.argv[2]))
