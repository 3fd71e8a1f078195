"""Whether what was read before is still valid: one query of the change feed's position for all who wait for it."""

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
    """`position()` is where the feed stood at some moment after the call: no commit before the call is missed.

    While one query is on its way, all who come wait for the next one together.
    """

    def __init__(self, pool: Pool) -> None:
        self.changes = RecentChanges()
        """What changed, as of the last position that was given."""
        self._pool = pool
        self._waiting: list[asyncio.Future[FeedPosition]] = []
        self._reading: asyncio.Task[None] | None = None

    async def position(self) -> FeedPosition:
        """Raises what the database raises, TimeoutError when it says nothing."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[FeedPosition] = loop.create_future()
        self._waiting.append(waiter)
        if self._reading is None:
            self._reading = loop.create_task(self._read())
        return await waiter

    async def _read(self) -> None:
        try:
            while self._waiting:
                waiters, self._waiting = self._waiting, []
                try:
                    async with asyncio.timeout(_WITHIN_S):
                        found = await self._read_position()
                except Exception as problem:
                    for waiter in waiters:
                        if not waiter.done():
                            waiter.set_exception(problem)
                else:
                    for waiter in waiters:
                        if not waiter.done():
                            waiter.set_result(found)
        finally:
            self._reading = None

    async def _read_position(self) -> FeedPosition:
        """The position, and what changed since the last one."""
        found, changes = await change_feed.position(self._pool), self.changes
        if found.at != changes.at:
            changed = None
            if changes.can_follow(found):
                changed = await change_feed.changed_markets(self._pool, changes.at[1], found.head)
            changes.add(found.at, changed)
        return found


class MarketCounts:
    """How many markets match, counted again only when a commit may have changed that."""

    def __init__(self, pool: Pool, feed_positions: FeedPositionReader) -> None:
        self._pool = pool
        self._feed_positions = feed_positions
        self._counts: dict[tuple[Filters, Sort], tuple[int, float, int]] = {}

    async def of(self, filters: Filters, sort: Sort, market_list_offset: int | None) -> int:
        """`market_list_offset`: see store.change_feed.FeedPosition; None where it is not known yet. Documents and ends
        are not published: a count that depends on them is at most a second old."""
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
