"""Follows the feed from an offset: out of Redis, or out of PostgreSQL when Redis is away, behind, or has a hole."""

from __future__ import annotations

import asyncio
import time

import structlog
from redis import RedisError
from redis.asyncio import Redis

from zmart.errors import ZmartError
from zmart.feed import metrics
from zmart.feed.stream import FeedStream
from zmart.feed.wire import WireMessage, encode
from zmart.store import change_feed
from zmart.store.pool import Pool, is_away

_BATCH = 500
_BLOCK_MS = 1_000
_SAFETY_LOOK_S = 2.0
_REDIS_AGAIN_S = 1.0

log = structlog.get_logger()


class FeedBroken(ZmartError):
    """The feed does not continue where this reader was: another epoch, or what follows is no longer kept."""


class Tail:
    """`await start()`, then `await next()` again and again: consecutive messages, none twice, none left out.

    `wake()` ends a wait for PostgreSQL early. `source` tells where the last batch came from.
    """

    def __init__(self, pool: Pool, redis: Redis) -> None:
        self._pool = pool
        self._redis = redis
        self._woken = asyncio.Event()
        self._redis_again_at = 0.0
        self._look_at = 0.0
        self._stream: FeedStream | None = None
        self.epoch = ""
        self.position = 0
        self.source = "redis"
        self.postgres_away = False
        self.caught_up_at = 0.0

    def wake(self) -> None:
        self._woken.set()

    async def start(self) -> None:
        """Stand at the end of the feed as it is now. Raises StoreError when PostgreSQL is away."""
        head = await change_feed.head(self._pool)
        self.epoch, self.position = head.epoch, head.head
        self._stream = FeedStream(self._redis, head.epoch)
        self.caught_up_at = time.monotonic()

    async def next(self) -> list[WireMessage]:
        """The next messages; an empty list now and then when there is nothing. Raises FeedBroken."""
        found = await self._from_redis() if time.monotonic() >= self._redis_again_at else None
        if found is None:
            await self._wait()
            found = await self._from_postgres()
        elif found and found[0].offset != self.position + 1:
            found = await self._from_postgres()  # the stream begins later than here
        elif not found and time.monotonic() >= self._look_at:
            found = await self._from_postgres()  # is there something that nobody carries to Redis?
        if found:
            self.position = found[-1].offset
            metrics.read.labels(self.source).inc(len(found))
        return found

    async def _from_redis(self) -> list[WireMessage] | None:
        """None when Redis is away."""
        assert self._stream is not None, "start() comes first"
        try:
            found = await self._stream.read_after(self.position, _BATCH, _BLOCK_MS)
        except (RedisError, OSError) as problem:
            self._redis_again_at = time.monotonic() + _REDIS_AGAIN_S
            if self.source == "redis":
                log.warning("feed is read from PostgreSQL: Redis is away", problem=str(problem))
            return None
        if found:
            self.source = "redis"
            self.caught_up_at = time.monotonic()
        return found

    async def _from_postgres(self) -> list[WireMessage]:
        self._look_at = time.monotonic() + _SAFETY_LOOK_S
        try:
            head = await change_feed.head(self._pool)
            changes = await change_feed.read_after(self._pool, self.position, _BATCH)
        except Exception as problem:
            if not is_away(problem):
                raise
            self._lost_postgres(problem)
            return []
        self.postgres_away = False
        self.caught_up_at = time.monotonic()
        if head.epoch != self.epoch or head.head < self.position:
            raise FeedBroken("The change feed began a new epoch.")
        if not changes and head.head == self.position:
            return []
        if not changes or changes[0].offset != self.position + 1:
            raise FeedBroken("What follows in the change feed is no longer kept.")
        self.source = "postgresql"
        return [encode(change, self.epoch) for change in changes]

    def _lost_postgres(self, problem: Exception) -> None:
        if not self.postgres_away:
            log.warning("feed reader cannot reach PostgreSQL", problem=str(problem))
        self.postgres_away = True

    async def _wait(self) -> None:
        """Until a commit is heard of, or Redis is worth another try."""
        try:
            async with asyncio.timeout(max(0.05, self._redis_again_at - time.monotonic())):
                await self._woken.wait()
        except TimeoutError:
            return
        finally:
            self._woken.clear()
