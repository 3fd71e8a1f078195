"""Run jobs beside a service. A job that ends unexpectedly is started again; meanwhile the service is not ready."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from zmart.feed.tasks import end
from zmart.ops import metrics
from zmart.store.retrying import Outages

RETRY_S = 2.0
SETTLED_AFTER_S = 10.0
ENDS_WITHIN_S = 2.0
"""Seconds for which a cancelled job may delete its rows before it is cancelled again."""
log = structlog.get_logger()


class BackgroundJobs:
    """Run jobs beside a service until `stop` is set. A job that ends or fails starts again `retry_s` seconds later."""

    def __init__(
        self, stop: asyncio.Event, retry_s: float = RETRY_S, settled_after_s: float = SETTLED_AFTER_S
    ) -> None:
        self._stop = stop
        self._retry_s = retry_s
        self._settled_after_s = settled_after_s
        self._outages = Outages(reported_after_s=0)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def reason(self) -> str:
        """Return a sentence that names the failing job and its error; empty when no job fails.

        A job that failed counts as failing until it has run for `settled_after_s` seconds.
        """
        return self._outages.reason

    def start(self, name: str, job: Callable[[], Awaitable[None]]) -> None:
        """Start a job that runs until the service stops; `name` is its name in logs, metrics and `reason`."""
        metrics.job_failures.labels(name)  # exported from the start, so that the first failure is an increase
        self._tasks.append(asyncio.create_task(self._run(name, job)))

    async def end(self) -> None:
        """Cancel all jobs and wait until they have ended."""
        await end(self._tasks, retry_s=ENDS_WITHIN_S)

    async def _run(self, name: str, job: Callable[[], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            settled = loop.call_later(self._settled_after_s, self._outages.end, name)
            reason = "it ended"
            try:
                await job()
            except Exception as problem:
                reason = f"{type(problem).__name__}: {problem}"
                log.exception("a background job failed", job=name)
            finally:
                settled.cancel()
            if not self._stop.is_set():
                metrics.job_failures.labels(name).inc()
                self._outages.begin(name, reason)
                await asyncio.sleep(self._retry_s)
