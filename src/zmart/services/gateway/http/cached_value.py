"""One value that may be a little old, read once for all who want it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class CachedValue(Generic[Value]):
    """A value that may be `ttl_s` old. Callers that come at the same time wait for one reading; where they come all the
    time none waits, for from half that age on the next value is read while the old one still serves."""

    def __init__(self, read: Callable[[], Awaitable[Value]], ttl_s: float) -> None:
        self._read = read
        self._ttl_s = ttl_s
        self._value: Value | None = None
        self._fresh_until = 0.0
        self._until = 0.0
        self._reading: asyncio.Task[Value] | None = None

    async def get(self) -> Value:
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
        if not reading.cancelled():
            reading.exception()  # told to who waited; to who did not, the next reading will tell
