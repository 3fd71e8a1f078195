"""Read the feed from an offset: from Redis, or from PostgreSQL if Redis is unavailable, slow, or has a hole.

PostgreSQL announces every commit (`wake`). Usually Redis delivers the change some milliseconds later. If it does not
within `_REDIS_GRACE_S`, PostgreSQL is read. Without announcements PostgreSQL is read every two seconds. A reader that
has read a part of what PostgreSQL has reads the rest there at once.
"""

from __future__ import annotations

import asyncio
import time

import structlog

from zmart.errors import StoreError, ZmartError
from zmart.feed import metrics
from zmart.feed.redis_client import RedisClient
from zmart.feed.stream import FeedStream
from zmart.feed.tasks import end, retrieve
from zmart.feed.wire import WireMessage, encode
from zmart.store import change_feed
from zmart.store.pool import Pool
from zmart.store.time_limit import answer_within

_BATCH = 500
_BLOCK_MS = 1_000
_REDIS_GRACE_S = 0.25
_FALLBACK_POLL_S = 2.0
_POSTGRES_WITHIN_S = 2.0
_REDIS_RETRY_S = 1.0

log = structlog.get_logger()


class FeedBroken(ZmartError):
    """Report that the feed does not continue after this reader's position: a new epoch, or pruned changes."""


class FeedReader:
    """Read consecutive messages without repetition or omission: `await start()`, then `await next()` repeatedly.

    `position` is the offset of the last message of `epoch` that was read. `source` names where it came from, "redis" or
    "postgresql". `trouble` says why the feed cannot be read now; "" if it can. `caught_up_at` is when the feed was last
    read to its end, a time of the monotonic clock.
    """

    def __init__(self, pool: Pool, redis: RedisClient) -> None:
        self._pool = pool
        self._redis = redis
        self._woken = asyncio.Event()
        self._redis_retry_at = 0.0
        self._poll_at = 0.0
        self._postgres_has_more = False
        """Whether PostgreSQL had more changes than the last page that was read there."""
        self._stream: FeedStream | None = None
        self._reading: asyncio.Task[list[WireMessage]] | None = None
        """The call to Redis that is in progress; PostgreSQL may be read meanwhile."""
        self.epoch = ""
        self.position = 0
        self.source = "redis"
        self.trouble = ""
        self.caught_up_at = 0.0

    def wake(self) -> None:
        """Signal that a change was committed to PostgreSQL, so that `next` soon returns it."""
        self._woken.set()

    async def start(self, back: int = 0) -> int:
        """Start `back` changes before the end of the feed, or at its beginning if it has fewer changes.

        Return the offset of the feed's end. Raises StoreError if PostgreSQL is unavailable.
        """
        await self.close()
        head = await change_feed.head(self._pool)
        self.epoch, self.position = head.epoch, max(head.head - back, head.kept_from - 1)
        self._stream = FeedStream(self._redis, head.epoch)
        self._postgres_has_more = False
        self.caught_up_at = time.monotonic()
        return head.head

    async def next(self) -> list[WireMessage]:
        """Wait for the next messages and return up to 500 of them, or an empty list after some seconds without any.

        Raises FeedBroken when the feed does not continue after `position`.
        """
        messages, before = None, self.source
        if not self._postgres_has_more:
            messages = await self._wait_for_redis()
        if messages is None or self._is_incomplete(messages):
            messages = await self._from_postgres()
        if messages:
            self.position = messages[-1].offset
            metrics.read.labels(self.source).inc(len(messages))
        if self.source != before:
            log.info("the feed's source changed", source=self.source, offset=self.position)
        return messages

    def _is_incomplete(self, messages: list[WireMessage]) -> bool:
        """Return whether PostgreSQL must be read, because messages from Redis may be missing.

        That is so if the first message does not follow `position`, or if Redis had none until the next poll was due: no
        relay may have sent a committed change to Redis.
        """
        if messages:
            return messages[0].offset != self.position + 1
        return time.monotonic() >= self._poll_at

    async def close(self) -> None:
        """Cancel the call to Redis and wait until it has ended; after that the Redis client can be closed."""
        if self._reading is not None:
            await end([self._reading])
            self._reading = None

    async def _wait_for_redis(self) -> list[WireMessage] | None:
        """Wait for messages from Redis and return them; None if PostgreSQL must be read instead."""
        if time.monotonic() < self._redis_retry_at:
            await self._wait()
            return None
        return await self._from_redis()

    async def _from_redis(self) -> list[WireMessage] | None:
        """Return the next messages from Redis; None if it is unavailable or did not deliver an announced change."""
        if not await self._redis_answers():
            return None
        assert self._reading is not None, "_redis_answers begins it"
        reading, self._reading = self._reading, None
        try:
            messages = [message for message in reading.result() if message.offset > self.position]
        except StoreError as problem:
            self._redis_retry_at = time.monotonic() + _REDIS_RETRY_S
            if self.source == "redis":
                log.warning("feed is read from PostgreSQL: Redis is unavailable", error=str(problem))
            return None
        if messages:
            self._woken.clear()
            self.source = "redis"
            self.trouble = ""  # committed changes arrive
            self.caught_up_at = time.monotonic()
        return messages

    async def _redis_answers(self) -> bool:
        """Return whether Redis answered: within the grace time after an announcement, or before the next poll."""
        assert self._stream is not None, "start() comes first"
        if self._reading is None:
            reading = self._stream.read_after(self.position, _BATCH, _BLOCK_MS)
            self._reading = asyncio.create_task(reading)
            self._reading.add_done_callback(retrieve)  # `close` may cancel it
        woken = asyncio.create_task(self._woken.wait())
        try:
            until_poll_s = max(_REDIS_GRACE_S, self._poll_at - time.monotonic())
            both = {self._reading, woken}
            await asyncio.wait(both, timeout=until_poll_s, return_when=asyncio.FIRST_COMPLETED)
            if not self._reading.done() and woken.done():
                await asyncio.wait({self._reading}, timeout=_REDIS_GRACE_S)
        finally:
            woken.cancel()
        return self._reading.done()

    async def _from_postgres(self) -> list[WireMessage]:
        self._poll_at = time.monotonic() + _FALLBACK_POLL_S
        self._postgres_has_more = False
        self._woken.clear()
        try:
            async with answer_within(_POSTGRES_WITHIN_S):
                head = await change_feed.head(self._pool)
                changes = await change_feed.read_after(self._pool, self.position, _BATCH)
                if head.epoch == self.epoch and head.head < self.position:
                    # At once: until a relay does it, clients would resume in an epoch that has lost changes.
                    await change_feed.renew_lost_epoch(self._pool, self.epoch, self.position)
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
        self._postgres_has_more = changes[-1].offset < head.head
        return [encode(change, self.epoch) for change in changes]

    def _note(self, problem: StoreError) -> None:
        if not self.trouble:
            log.warning("the feed cannot be read from PostgreSQL", error=str(problem))
        self.trouble = str(problem)

    async def _wait(self) -> None:
        """Wait for an announced commit, or until Redis should be tried again."""
        try:
            async with asyncio.timeout(max(0.05, self._redis_retry_at - time.monotonic())):
                await self._woken.wait()
        except TimeoutError:
            return
