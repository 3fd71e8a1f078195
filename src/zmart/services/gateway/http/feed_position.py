"""Whether what was read before still holds: one look at the change feed's head for all requests of one moment."""

from __future__ import annotations

import asyncio
import time

from zmart.store import change_feed, markets
from zmart.store.change_feed import FeedPosition
from zmart.store.markets import Filters, Sort
from zmart.store.pool import Pool

_UNPUBLISHED_S = 1.0
_MOST_COUNTS = 1_000
_MOST_COUNT_AGE_S = 60.0


class FeedPositionReader:
    """`now()` is where the feed stood at some moment after the call: no commit before the call is missed.

    While one look is on its way, all who come wait for the next one together.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._next: asyncio.Task[FeedPosition] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def now(self) -> FeedPosition:
        if self._next is None:
            self._next = asyncio.create_task(self._look())
        return await asyncio.shield(self._next)

    async def _look(self) -> FeedPosition:
        async with self._one_at_a_time:
            self._next = None  # who comes from here on needs a later look
            return await self.look()

    async def look(self) -> FeedPosition:
        """Where the feed stands now, for this caller alone."""
        return await change_feed.position(self._pool)


class MarketCounts:
    """How many markets match, counted again only when a commit may have changed that."""

    def __init__(self, pool: Pool, feed_positions: FeedPositionReader) -> None:
        self._pool = pool
        self._standings = feed_positions
        self._known: dict[tuple[Filters, Sort], tuple[int, float, int]] = {}

    async def of(self, filters: Filters, sort: Sort, listed_at: int | None) -> int:
        """`listed_at`: see store.change_feed.FeedPosition; None where it is not known yet. Documents and ends are not
        published: a count that depends on them is at most a second old."""
        at = (await self._standings.now()).listed_at if listed_at is None else listed_at
        wanted = filters, sort
        known = self._known.get(wanted)
        if known is not None and known[0] == at and time.monotonic() < known[1]:
            return known[2]
        published = filters.category is None and filters.q is None and sort is not Sort.ENDING
        until = time.monotonic() + (_MOST_COUNT_AGE_S if published else _UNPUBLISHED_S)
        found = await markets.count(self._pool, filters, sort)
        if len(self._known) >= _MOST_COUNTS:
            self._known.clear()
        self._known[wanted] = at, until, found
        return found
