"""Wake the aggregator as soon as votes are committed (AGGREGATE_ON_THRESHOLD), by the change feed's notification."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import structlog

from zmart.market.types import MarketId
from zmart.store import change_feed
from zmart.store.change_feed import NOTIFICATION, Topic
from zmart.store.listening import listening
from zmart.store.pool import Pool
from zmart.store.retrying import Outages, StopSignal, pause, retrying

_VOTES = frozenset({Topic.VOTES, Topic.ONCHAIN_VOTES})
_GATHER_S = 0.1
_RECONNECT_S = 2.0
_POLL_S = 30.0
_MOST = 5_000
log = structlog.get_logger()


async def wake_by_votes(
    pool: Pool,
    database_url: str,
    decide: Callable[[Sequence[MarketId]], Awaitable[None]],
    stop: asyncio.Event,
    outages: Outages | None = None,
) -> None:
    """Call `decide` with the markets that were voted on, about 0.1 s after the commit, until `stop` is set.

    While PostgreSQL is unavailable it retries every two seconds.
    """
    outages, work = outages or Outages(), "Counting votes as they come"

    async def until_broken() -> float:
        await _follow(pool, database_url, decide, stop, partial(outages.end, work))
        return 0.0

    await retrying(until_broken, StopSignal(stop), work, outages, retry_s=_RECONNECT_S)


async def _follow(
    pool: Pool,
    database_url: str,
    decide: Callable[[Sequence[MarketId]], Awaitable[None]],
    stop: asyncio.Event,
    succeeded: Callable[[], None],
) -> None:
    position = (await change_feed.head(pool)).head
    async with listening(database_url, NOTIFICATION) as listener:
        succeeded()
        while not stop.is_set():
            await _first(listener.notified, stop)
            await pause(stop, _GATHER_S)  # votes come in bursts
            listener.clear()
            head = (await change_feed.head(pool)).head
            if head <= position:
                continue
            changes = await change_feed.read_filtered(pool, max(position, head - _MOST), head, _VOTES, None)
            position = head
            if voted_on := sorted({MarketId(c.market_id) for c in changes if c.market_id}):
                await decide(voted_on)


async def _first(notified: asyncio.Event, stop: asyncio.Event) -> None:
    """Wait for a notification or for `stop`, at most 30 seconds: then the feed is read without a notification."""
    waiting = {asyncio.create_task(notified.wait()), asyncio.create_task(stop.wait())}
    try:
        await asyncio.wait(waiting, timeout=_POLL_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
