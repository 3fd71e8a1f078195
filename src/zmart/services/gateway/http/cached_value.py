"""Cache one value for a limited time, with one read for all concurrent callers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from zmart.feed.tasks import retrieve

Value = TypeVar("Value")


class CachedValue(Generic[Value]):
    """A cached value that may be `ttl_s` seconds old; None is not cached. Concurrent callers wait for one read. From
    half that age on, the next value is read in the background while the old one is returned, so that under steady load
    no caller waits."""

    def __init__(self, read: Callable[[], Awaitable[Value]], ttl_s: float) -> None:
        self._read = read
        self._ttl_s = ttl_s
        self._value: Value | None = None
        self._fresh_until = 0.0
        self._until = 0.0
        self._reading: asyncio.Task[Value] | None = None

    async def get(self) -> Value:
        """Return the value, cached or read now. Raises what the read raises."""
        now = time.monotonic()
        if self._value is not None and now < self._until:
            if now >= self._fresh_until:
                self._begin()
            return self._value
        return await asyncio.shield(self._begin())

    def _begin(self) -> asyncio.Task[Value]:
        if self._reading is None:
            self._reading = asyncio.create_task(self._renew())
            self._reading.add_done_callback(self._end)
        return self._reading

    async def _renew(self) -> Value:
        began = time.monotonic()
        self._value = await self._read()
        self._fresh_until = began + self._ttl_s / 2
        self._until = began + self._ttl_s
        return self._value

    def _end(self, reading: asyncio.Task[Value]) -> None:
        self._reading = None
        retrieve(reading)
