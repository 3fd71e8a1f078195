"""Many clients of the live feed that connect and disconnect.

They are the benchmarks' FeedClient, which checks its whole sequence of messages.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from feed_client import FeedClient

PATH = "/?channels=trades"
_AWAY_S = 1.0


class Crowd:
    """`number` clients of the live feed, which connect and disconnect within the `async with` block.

    Each stays connected for `stay_s` seconds on average, then disconnected for up to a second.
    """

    def __init__(self, port: int, number: int, stay_s: float) -> None:
        # Each client has an address of its own: clients of one address share two replays from the database at a time.
        self.clients = [FeedClient(port, PATH, _address(each)) for each in range(number)]
        self._stay_s = stay_s
        self._random = Random(7)  # the same crowd in every run
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Crowd:
        await asyncio.gather(*(client.connect() for client in self.clients))
        self._tasks = [asyncio.create_task(self._come_and_go(client)) for client in self.clients]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()
        for client in self.clients:
            client.disconnect()

    async def gather_all(self) -> None:
        """Stop the random disconnections, and connect every client again."""
        await self._end()
        for client in self.clients:
            client.disconnect()
        await asyncio.gather(*(client.connect() for client in self.clients))

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _come_and_go(self, client: FeedClient) -> None:
        while True:
            await asyncio.sleep(self._random.uniform(0, 2 * self._stay_s))
            client.disconnect()
            await asyncio.sleep(self._random.uniform(0, _AWAY_S))
            await client.connect()


def _address(number: int) -> str:
    """Return the loopback address of the client with this number; no other client has it."""
    return f"127.1.{number // 250}.{number % 250 + 1}"
