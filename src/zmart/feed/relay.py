"""Carries the change feed from PostgreSQL to the Redis Stream: one process at a time, by an advisory lock.

Woken by NOTIFY; looks by itself every few seconds in case a notification was lost. May be killed at any line:
what it appends is judged by the stream's own last entry.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog
from redis import RedisError
from redis.asyncio import Redis

from zmart.feed import metrics
from zmart.feed.stream import FeedStream
from zmart.feed.wire import encode
from zmart.store import change_feed
from zmart.store.pool import Connection, Pool, is_away

BATCH = 500
_REFILL = 10_000  # this many newest changes go into a stream that lost everything
_SAFETY_LOOK_S = 3.0
_LOCK_LOOK_S = 1.0
_PRUNE_EVERY_S = 60.0
_AGAIN_S = 0.5

log = structlog.get_logger()


class Relay:
    """Run it as a task and cancel it to end it. `leading` tells whether this process holds the lock."""

    def __init__(
        self, database_url: str, redis: Redis, keep_hours: int, on_commit: Callable[[], None]
    ) -> None:
        self._database_url = database_url
        self._redis = redis
        self._keep_hours = keep_hours
        self._on_commit = on_commit
        self._woken = asyncio.Event()
        self._prune_at = 0.0
        self.leading = False

    async def run(self) -> None:
        """Never returns: servers that are away are waited for."""
        while True:
            try:
                await self._with_connection()
            except Exception as problem:
                if not is_away(problem):
                    raise
                log.warning("feed relay waits for PostgreSQL", problem=str(problem))
            finally:
                self.leading = False
                metrics.leading.set(0)
            await asyncio.sleep(_AGAIN_S)

    async def _with_connection(self) -> None:
        """One connection for the lock and for LISTEN: both end with it."""
        pool = await Pool.open(self._database_url, size=1)
        try:
            async with pool.acquire() as connection:
                await connection.add_listener(change_feed.NOTIFICATION, self._notified)
                # Commits that came before LISTEN made no sound here.
                self._notified()
                await self._contend(connection)
        finally:
            await pool.close()

    def _notified(self, *_: object) -> None:
        self._woken.set()
        self._on_commit()

    async def _contend(self, connection: Connection) -> None:
        while True:
            if await change_feed.try_relay_lock(connection):
                break
            await asyncio.sleep(_LOCK_LOOK_S)
        self.leading = True
        metrics.leading.set(1)
        log.info("feed relay leads")
        while True:
            try:
                await self._carry(connection)
            except (RedisError, OSError) as problem:
                if is_away(problem) and connection.is_closed():
                    raise
                log.warning("feed relay waits for Redis", problem=str(problem))
            await asyncio.sleep(_AGAIN_S)

    async def _carry(self, connection: Connection) -> None:
        """Append what was committed, for ever. Raises RedisError or OSError when Redis is away."""
        stream, position = await self._begin(connection)
        while True:
            self._woken.clear()
            await self._prune(connection)
            changes = await change_feed.read_after(connection, position, BATCH)
            if not changes:
                await self._wait()
                continue
            position = await stream.append([encode(change, self._epoch) for change in changes])
            metrics.relayed.inc(len(changes))
            metrics.relayed_offset.set(position)

    async def _begin(self, connection: Connection) -> tuple[FeedStream, int]:
        head = await change_feed.head(connection)
        stream = FeedStream(self._redis, head.epoch)
        last = await stream.last()
        head = await change_feed.head(connection)
        if last is not None and last > head.head:
            log.warning("the database lost committed changes: new epoch", last=last, head=head.head)
            stream = FeedStream(self._redis, await change_feed.renew_epoch(connection))
            last, head = None, await change_feed.head(connection)
        if last is not None and last + 1 < head.kept_from:
            log.warning("feed relay skips what is no longer kept", last=last, kept_from=head.kept_from)
            await stream.reset()
            last = None
        self._epoch = head.epoch
        refill_from = max(head.kept_from - 1, head.head - _REFILL)
        return stream, refill_from if last is None else last

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(_SAFETY_LOOK_S):
                await self._woken.wait()
        except TimeoutError:
            metrics.safety_looks.inc()

    async def _prune(self, connection: Connection) -> None:
        if time.monotonic() >= self._prune_at:
            deleted = await change_feed.prune(connection, self._keep_hours)
            self._prune_at = time.monotonic() + (0 if deleted else _PRUNE_EVERY_S)
