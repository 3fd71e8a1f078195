"""Read the position of the change feed, which tells whether cached data is valid. One query serves all callers that
wait."""

from __future__ import annotations

import asyncio
import time

from zmart.services.gateway.http.recent_changes import RecentChanges
from zmart.store import change_feed, markets
from zmart.store.change_feed import FeedPosition
from zmart.store.markets import Filters, Sort
from zmart.store.pool import Pool

_WITHIN_S = 1.5
_UNPUBLISHED_S = 1.0
_MAX_COUNTS = 1_000
_MAX_COUNT_AGE_S = 60.0


class FeedPositionReader:
    """Read the feed's position as of some moment after each call, so that every commit before the call is in it.

    Calls that arrive while a query runs share the next query. A call takes 1.5 s at most: calls that arrive while a
    query hangs fail together with it, and the next query gets only the time that the longest waiting call has left.
    """

    def __init__(self, pool: Pool) -> None:
        self.changes = RecentChanges()
        """The changes of markets up to the last position that was returned."""
        self._pool = pool
        self._waiting: list[asyncio.Future[FeedPosition]] = []
        self._waiting_since_s = 0.0
        self._reading: asyncio.Task[None] | None = None

    async def position(self) -> FeedPosition:
        """Return the position. Raises StoreError when the database refuses or fails, TimeoutError when it does not
        answer within 1.5 s."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[FeedPosition] = loop.create_future()
        if not self._waiting:
            self._waiting_since_s = loop.time()
        self._waiting.append(waiter)
        if self._reading is None:
            self._reading = loop.create_task(self._read())
        return await waiter

    async def _read(self) -> None:
        try:
            while self._waiting:
                waiters, self._waiting = self._waiting, []
                try:
                    async with asyncio.timeout_at(self._waiting_since_s + _WITHIN_S):
                        position = await self._read_position()
                except Exception as problem:
                    if isinstance(problem, TimeoutError):
                        waiters, self._waiting = waiters + self._waiting, []
                    for waiter in waiters:
                        if not waiter.done():
                            waiter.set_exception(problem)
                else:
                    for waiter in waiters:
                        if not waiter.done():
                            waiter.set_result(position)
        finally:
            self._reading = None

    async def _read_position(self) -> FeedPosition:
        """Return the position, after adding the changes since the previous position to `changes`."""
        position, changes = await change_feed.position(self._pool), self.changes
        if position.at != changes.at:
            changed = None
            if changes.can_follow(position):
                changed = await change_feed.changed_markets(self._pool, changes.at[1], position.head)
            changes.add(position.at, changed)
        return position


class MarketCounts:
    """Count markets by filters and sort order. A count is cached until a commit may have changed it, but at most 60
    s."""

    def __init__(self, pool: Pool, feed_positions: FeedPositionReader) -> None:
        self._pool = pool
        self._feed_positions = feed_positions
        self._counts: dict[tuple[Filters, Sort], tuple[int, float, int]] = {}

    async def of(self, filters: Filters, sort: Sort, market_list_offset: int | None) -> int:
        """Return how many markets match. `market_list_offset` is that of the feed's position
        (store.change_feed.FeedPosition); with None it is read. Documents and end dates are not in the feed, so a count
        that depends on them is at most 1 s old."""
        at = (
            (await self._feed_positions.position()).market_list_offset
            if market_list_offset is None
            else market_list_offset
        )
        requested = filters, sort
        cached = self._counts.get(requested)
        if cached is not None and cached[0] == at and time.monotonic() < cached[1]:
            return cached[2]
        published = filters.category is None and filters.q is None and sort is not Sort.ENDING
        until = time.monotonic() + (_MAX_COUNT_AGE_S if published else _UNPUBLISHED_S)
        number = await markets.count(self._pool, filters, sort)
        if len(self._counts) >= _MAX_COUNTS:
            self._counts.clear()
        self._counts[requested] = at, until, number
        return number
