"""How the ticks of a service went: never an exception to the schedule, always a word for /ready and /health.

A tick runs beside the schedule that starts it: a process that dies in a tick then does not hold the schedule's row,
which others would have to wait for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog
from prometheus_client import Counter, Histogram

from zmart.errors import ZmartError

GRACE_S = 3.0
log = structlog.get_logger()


class Ticks:
    """`await guard(tick)` runs it; afterwards `error` says why it failed, or "" when it went well."""

    def __init__(self, counter: Counter, seconds: Histogram) -> None:
        self._counter = counter
        self._seconds = seconds
        self.error = ""
        self.last_at_s: float | None = None
        self.runs = 0
        self._running: asyncio.Task[bool] | None = None

    def begin(self, tick: Callable[[], Awaitable[None]]) -> None:
        """Start it, unless the one before is still running: then what is due waits for the next."""
        if self._running is not None and not self._running.done():
            log.warning("tick skipped: the one before is still running")
            self._counter.labels("skipped").inc()
            return
        self._running = asyncio.create_task(self.guard(tick))

    async def end(self, within_s: float = GRACE_S) -> None:
        """Wait so long for a tick that is running, then cut it: whoever runs next finds what was due."""
        if self._running is not None and not self._running.done():
            await asyncio.wait({self._running}, timeout=within_s)
            self._running.cancel()
            await asyncio.wait({self._running})

    async def guard(self, tick: Callable[[], Awaitable[None]]) -> bool:
        """Whether it went well."""
        started = time.monotonic()
        try:
            await tick()
            self.error = ""
        except Exception as problem:
            self.error = str(problem) or type(problem).__name__
            log.warning("tick failed", error=self.error, exc_info=not isinstance(problem, ZmartError))
        self.runs += 1
        self.last_at_s = time.time()
        self._counter.labels("failed" if self.error else "ok").inc()
        self._seconds.observe(time.monotonic() - started)
        return not self.error

    def health(self) -> dict[str, object]:
        """Fields of /health."""
        return {
            "status": "degraded" if self.error else "ok",
            "last_tick_at": self.last_at_s,
            "ticks": self.runs,
            "last_error": self.error,
        }
