"""Relay the change feed from PostgreSQL to the Redis stream: one process at a time, by an advisory lock.

NOTIFY wakes the relay; it also polls every three seconds in case a notification was lost. Its process may be killed at
any line: the last entry of the stream determines which changes are appended next.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from zmart import traces
from zmart.errors import Busy, ReadOnly, StoreError
from zmart.feed import metrics
from zmart.feed.redis_client import RedisClient
from zmart.feed.stream import FeedStream
from zmart.feed.traced import trace_relayed
from zmart.feed.wire import encode
from zmart.store import change_feed
from zmart.store.pool import Connection, Pool
from zmart.store.retrying import RETRY_S, Outages, StopSignal, retrying

BATCH = 500
_REFILL = 10_000  # an empty stream is refilled with this many newest changes
_FALLBACK_POLL_S = 3.0
_LOCK_RETRY_S = 1.0
_SILENT_AFTER_S = 7.0
"""After how many seconds without a statement the relay of another process counts as stopped.

A running relay polls PostgreSQL every few seconds, whatever Redis does.
"""
_PRUNE_EVERY_S = 60.0
_COMPARE_EPOCH_EVERY_S = 1.0
_RETRY_S = 0.5
_APPENDING = "Appending to Redis"
_PRUNING = "Pruning the feed"
_WORK = "The feed relay"

log = structlog.get_logger()


class FeedRelay:
    """Relay the change feed to Redis while this process holds the lock; otherwise wait for the lock.

    Run it as a task, and cancel the task to end it. `leading` is true while this process holds the lock and relays.
    `on_commit` is called whenever PostgreSQL announces committed changes, also in processes without the lock.
    """

    def __init__(
        self, database_url: str, redis: RedisClient, keep_hours: int, on_commit: Callable[[], None]
    ) -> None:
        self._database_url = database_url
        self._redis = redis
        self._keep_hours = keep_hours
        self._on_commit = on_commit
        self._woken = asyncio.Event()
        self._prune_at = self._compare_epoch_at = 0.0
        self.outages = Outages()
        self.leading = False

    async def run(self) -> None:
        """Relay until cancelled, with retries while PostgreSQL or Redis is unavailable."""
        never = StopSignal(asyncio.Event())
        await retrying(self._until_broken, never, _WORK, self.outages, retry_s=_RETRY_S)

    async def _until_broken(self) -> float:
        try:
            await self._with_connection()
        finally:
            if self.leading:
                log.info("feed relay stopped")
            self.leading = False
            metrics.leading.set(0)
        return _RETRY_S

    async def _with_connection(self) -> None:
        """Open one connection for both the lock and LISTEN, so that both end together, and relay on it."""
        pool = await Pool.open(self._database_url, size=1)
        try:
            async with pool.acquire() as connection:
                await connection.add_listener(change_feed.NOTIFICATION, self._notified)
                # Commits before LISTEN sent no notification to this connection.
                self._notified()
                await self._contend(connection)
        finally:
            await pool.close()

    def _notified(self, *_: object) -> None:
        self._woken.set()
        self._on_commit()

    async def _contend(self, connection: Connection) -> None:
        holder: object = None
        while not await change_feed.try_relay_lock(connection):
            before, holder = holder, await change_feed.relay_holder(connection)
            if holder is not None and holder == before:
                self._leave_to_another()  # a relay that cannot work holds the lock for an instant only
            if await change_feed.end_silent_relay(connection, _SILENT_AFTER_S):
                log.warning("the feed relay of another process was stopped, its session is ended")
                continue
            await asyncio.sleep(_LOCK_RETRY_S)
        self._prune_at = 0.0  # a new session shows at once whether the database takes writes
        while True:
            try:
                await self._publish_until_lost(connection)
            except StoreError as problem:
                if problem.server != "Redis":
                    raise
                self._works()
                self.outages.begin(_APPENDING, str(problem))
                await self._prune(connection)  # Redis may be away for longer than the feed is kept
            await asyncio.sleep(_RETRY_S)

    def _works(self) -> None:
        """Note that this process holds the lock and that PostgreSQL has answered all that the relay asks of it.

        The lock alone does not suffice: an outage that is ended by it begins again at the next statement.
        """
        self.outages.end(_WORK)
        if not self.leading:
            self.leading = True
            metrics.leading.set(1)
            log.info("feed relay started")

    def _leave_to_another(self) -> None:
        """Note that the relay of another process does the work."""
        self.outages.end(_WORK)
        for work in (_APPENDING, _PRUNING):
            self.outages.forget(work)

    async def _publish_until_lost(self, connection: Connection) -> None:
        """Append committed changes to the stream until the epoch ends or changes to append were pruned.

        Raises StoreError, whose `server` says whether Redis or PostgreSQL failed.
        """
        stream, position = await self._begin(connection)
        while await self._continues(connection, position):
            self._woken.clear()
            await self._prune(connection)
            changes = await change_feed.read_after(connection, position, BATCH)
            self._works()
            if not changes:
                self.outages.end(_APPENDING)  # Redis has all changes
                await self._wait()
                continue
            position = await stream.append([encode(change, self._epoch) for change in changes])
            self.outages.end(_APPENDING)
            metrics.relayed.inc(len(changes))
            metrics.relayed_offset.set(position)
            if traces.is_on():
                trace_relayed(changes)

    async def _begin(self, connection: Connection) -> tuple[FeedStream, int]:
        if await change_feed.renew_restored_epoch(connection):
            log.warning("this database was restored: new epoch")
        head = await change_feed.head(connection)
        await self._prune(connection)
        await change_feed.read_after(connection, head.head, 1)
        self._works()  # said before Redis is asked, which may be silent for seconds
        stream = FeedStream(self._redis, head.epoch)
        last = await stream.last()
        head = await change_feed.head(connection)
        if last is not None and last > head.head:
            log.warning("the database lost committed changes, a new epoch begins", last=last, head=head.head)
            stream = FeedStream(self._redis, await change_feed.renew_epoch(connection))
            last, head = None, await change_feed.head(connection)
        if last is not None and last + 1 < head.kept_from:
            log.warning("feed relay skips pruned changes", last=last, kept_from=head.kept_from)
            await stream.reset()
            last = None
        self._epoch = head.epoch
        refill_from = max(head.kept_from - 1, head.head - _REFILL)
        return stream, refill_from if last is None else last

    async def _continues(self, connection: Connection, position: int) -> bool:
        """Return whether the feed still continues after `position` in the relay's epoch; it is checked once a second.

        A reader that finds changes lost begins a new epoch in the database. Changes that are still to be relayed may be
        pruned: after a long pause of all relays, or if Redis came back with an old stream.
        """
        if time.monotonic() < self._compare_epoch_at:
            return True
        self._compare_epoch_at = time.monotonic() + _COMPARE_EPOCH_EVERY_S
        head = await change_feed.head(connection)
        return head.epoch == self._epoch and head.kept_from <= position + 1

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(_FALLBACK_POLL_S):
                await self._woken.wait()
        except TimeoutError:
            metrics.fallback_polls.inc()

    async def _prune(self, connection: Connection) -> None:
        if time.monotonic() < self._prune_at:
            return
        pause_s = _PRUNE_EVERY_S
        try:
            if await self._delete_old(connection):
                pause_s = 0.0
        except (Busy, ReadOnly) as problem:  # new changes are relayed all the same
            self.outages.begin(_PRUNING, str(problem))
            if isinstance(problem, ReadOnly):
                pause_s = RETRY_S
        else:
            self.outages.end(_PRUNING)
        self._prune_at = time.monotonic() + pause_s

    async def _delete_old(self, connection: Connection) -> int:
        try:
            return await change_feed.prune(connection, self._keep_hours)
        except ReadOnly:
            # A session that began while the database was read-only by default stays so; a new one may write.
            pool = await Pool.open(self._database_url, size=1)
            try:
                return await change_feed.prune(pool, self._keep_hours)
            finally:
                await pool.close()
