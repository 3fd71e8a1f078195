"""Clients that all lose their connections, all connect again at once, and must miss nothing. Prints JSON.

    python bench/storm.py PORT PATH CONNECTIONS

The script prints `connected`, then waits for a line with the number of a change on its standard input. Then all clients
connect again and resume if the server offers that; a client is back when it has received that change. One in a hundred
clients has an address of its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import uvloop
from feed_client import FeedClient
from readers import allow_many_files

_AT_ONCE = 50
_LONGEST_S = 60.0
_APART_EVERY = 100


def _address(number: int) -> str:
    return f"127.0.1.{1 + number % 250}"


async def _connect_all(clients: list[FeedClient]) -> None:
    for first in range(0, len(clients), _AT_ONCE):
        await asyncio.gather(*(client.connect() for client in clients[first : first + _AT_ONCE]))


async def _storm(port: int, path: str, connections: int) -> dict[str, float]:
    apart = [FeedClient(port, path, _address(number)) for number in range(connections // _APART_EVERY)]
    clients = [*apart, *(FeedClient(port, path) for _ in range(connections - len(apart)))]
    await _connect_all(clients)
    sys.stdout.write("connected\n")
    sys.stdout.flush()
    line = await asyncio.to_thread(sys.stdin.readline)
    began = time.monotonic()
    for client in clients:
        client.target = int(line)
        client.attempts = 0
    connecting = asyncio.gather(*(client.connect() for client in clients))
    try:
        async with asyncio.timeout(_LONGEST_S):
            await connecting
            await asyncio.gather(*(client.back.wait() for client in clients))
    except TimeoutError:
        pass
    waits = sorted(client.back_at - began if client.back_at else _LONGEST_S for client in clients)
    return {
        "over_s": waits[-1],
        "median_s": waits[len(waits) // 2],
        "apart_s": max(client.back_at - began if client.back_at else _LONGEST_S for client in apart),
        "broken": sum(bool(client.holes or client.repeats or client.gaps) for client in clients),
        "holes": sum(client.holes for client in clients),
        "repeats": sum(client.repeats for client in clients),
        "gaps": sum(client.gaps for client in clients),
        "attempts": sum(client.attempts for client in clients) / connections,
    }


if __name__ == "__main__":
    allow_many_files()
    measured = uvloop.run(_storm(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
    sys.stdout.write(json.dumps(measured) + "\n")
