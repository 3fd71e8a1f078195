"""Share a few permits for costly work among clients: a client with many requests delays mostly its own."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairShare:
    """Share `total` permits among clients; one client holds at most `each` of them.

    Waiting clients are served in turn, one permit each.
    """

    def __init__(self, total: int, each: int) -> None:
        self._total = total
        self._each = each
        self._used: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def permit(self, client: str) -> AsyncIterator[None]:
        """Wait for a permit, and hold it until the end of the `async with` block."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        self._serve()
        try:
            await turn
            yield
        finally:
            if turn.done() and not turn.cancelled():
                self._release(client)
            else:
                self._forget(client, turn)

    def _serve(self) -> None:
        """Grant free permits to waiting clients, first to the client whose last turn was longest ago."""
        for client in list(self._waiting):
            if self._used.total() >= self._total:
                return
            if self._used[client] < self._each:
                self._grant(client)

    def _grant(self, client: str) -> None:
        queue = self._waiting.pop(client)
        while queue:
            turn = queue.popleft()
            if not turn.done():  # else its task was cancelled
                self._used[client] += 1
                turn.set_result(None)
                break
        if queue:
            self._waiting[client] = queue  # now behind all other waiting clients

    def _release(self, client: str) -> None:
        self._used[client] -= 1
        if not self._used[client]:
            del self._used[client]
        self._serve()

    def _forget(self, client: str, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(client)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[client]
