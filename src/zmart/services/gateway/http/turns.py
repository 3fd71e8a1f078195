"""What readers wait for together: one look at the feed's head for all that came since the last look began."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from zmart.services.gateway.http.feed_position import FeedPositionReader
from zmart.store.change_feed import FeedPosition

_WITHIN_S = 1.5

Told = Callable[[FeedPosition | None], None]


class Turns:
    """`join(told)`: told where the feed stood at some moment after the call, or None when the database does not say."""

    def __init__(self, feed_positions: FeedPositionReader) -> None:
        self._standings = feed_positions
        self._waiting: list[Told] = []
        self._working: asyncio.Task[None] | None = None

    def join(self, told: Told) -> None:
        self._waiting.append(told)
        if self._working is None or self._working.done():
            self._working = asyncio.get_running_loop().create_task(self._work())

    async def standing(self) -> FeedPosition | None:
        """The same, awaited."""
        answer: asyncio.Future[FeedPosition | None] = asyncio.get_running_loop().create_future()
        self.join(lambda standing: None if answer.done() else answer.set_result(standing))
        return await answer

    async def _work(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            try:
                async with asyncio.timeout(_WITHIN_S):
                    standing = await self._standings.look()
            except Exception:  # whoever waits goes another way, and finds the trouble there
                standing = None
            for told in waiting:
                told(standing)
