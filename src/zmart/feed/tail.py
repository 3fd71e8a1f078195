"""Read the feed from an offset: from Redis, or from PostgreSQL if Redis is unavailable, lags, or has a hole."""

from __future__ import annotations

import asyncio
import time

import structlog

from zmart.errors import StoreError, ZmartError
from zmart.feed import metrics
from zmart.feed.redis_client import RedisClient
from zmart.feed.stream import FeedStream
from zmart.feed.wire import WireMessage, encode
from zmart.store import change_feed
from zmart.store.pool import Pool

_BATCH = 500
_BLOCK_MS = 1_000
_FALLBACK_POLL_S = 2.0
_REDIS_RETRY_S = 1.0

log = structlog.get_logger()


class FeedBroken(ZmartError):
    """Report that the feed does not continue after this reader's position: a new epoch, or pruned changes."""


class FeedReader:
    """Read consecutive messages without repetition or omission: `await start()`, then `await next()` repeatedly.

    `wake()` ends a wait for PostgreSQL early. `source` names where the last batch came from.
    """

    def __init__(self, pool: Pool, redis: RedisClient) -> None:
        self._pool = pool
        self._redis = redis
        self._woken = asyncio.Event()
        self._redis_retry_at = 0.0
        self._poll_at = 0.0
        self._stream: FeedStream | None = None
        self.epoch = ""
        self.position = 0
        self.source = "redis"
        self.trouble = ""
        self.caught_up_at = 0.0

    def wake(self) -> None:
        """Signal that a change was committed."""
        self._woken.set()

    async def start(self) -> None:
        """Start at the present end of the feed. Raises StoreError if PostgreSQL is unavailable."""
        head = await change_feed.head(self._pool)
        self.epoch, self.position = head.epoch, head.head
        self._stream = FeedStream(self._redis, head.epoch)
        self.caught_up_at = time.monotonic()

    async def next(self) -> list[WireMessage]:
        """Return the next messages; an empty list from time to time if there are none. Raises FeedBroken."""
        messages = await self._from_redis() if time.monotonic() >= self._redis_retry_at else None
        if messages is None:
            await self._wait()
            messages = await self._from_postgres()
        elif messages and messages[0].offset != self.position + 1:
            messages = await self._from_postgres()  # the stream begins later than here
        elif not messages and time.monotonic() >= self._poll_at:
            messages = (
                await self._from_postgres()
            )  # a change may be committed that no relay has sent to Redis
        if messages:
            self.position = messages[-1].offset
            metrics.read.labels(self.source).inc(len(messages))
        return messages

    async def _from_redis(self) -> list[WireMessage] | None:
        """Read from Redis; None if it is unavailable."""
        assert self._stream is not None, "start() comes first"
        try:
            messages = await self._stream.read_after(self.position, _BATCH, _BLOCK_MS)
        except StoreError as problem:
            self._redis_retry_at = time.monotonic() + _REDIS_RETRY_S
            if self.source == "redis":
                log.warning("feed is read from PostgreSQL: Redis is unavailable", error=str(problem))
            return None
        if messages:
            self.source = "redis"
            self.caught_up_at = time.monotonic()
        return messages

    async def _from_postgres(self) -> list[WireMessage]:
        self._poll_at = time.monotonic() + _FALLBACK_POLL_S
        try:
            head = await change_feed.head(self._pool)
            changes = await change_feed.read_after(self._pool, self.position, _BATCH)
        except StoreError as problem:
            self._note(problem)
            return []
        self.trouble = ""
        self.caught_up_at = time.monotonic()
        if head.epoch != self.epoch or head.head < self.position:
            raise FeedBroken("The change feed began a new epoch.")
        if not changes and head.head == self.position:
            return []
        if not changes or changes[0].offset != self.position + 1:
            raise FeedBroken("The next changes of the feed were pruned.")
        self.source = "postgresql"
        return [encode(change, self.epoch) for change in changes]

    def _note(self, problem: StoreError) -> None:
        if not self.trouble:
            log.warning("the feed cannot be read from PostgreSQL", error=str(problem))
        self.trouble = str(problem)

    async def _wait(self) -> None:
        """Wait for a commit, or until Redis should be tried again."""
        try:
            async with asyncio.timeout(max(0.05, self._redis_retry_at - time.monotonic())):
                await self._woken.wait()
        except TimeoutError:
            return
        finally:
            self._woken.clear()
