"""Resume decisions that wait for the index as soon as it is complete enough, and alert when the wait is long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from zmart.errors import ZmartError
from zmart.market.types import MarketId
from zmart.store import alerts, market_work
from zmart.store.market_work import Job, WaitingForIndex
from zmart.store.pool import Pool
from zmart.store.retrying import Outages, StopSignal, retrying

EVERY_S = 1.0
ALERT_AFTER_S = 600.0
_ALERT_EVERY_S = 10.0
log = structlog.get_logger()


async def resume_waiting(
    pool: Pool,
    jobs: Sequence[Job],
    decide: Callable[[Sequence[MarketId]], Awaitable[object]],
    stop: asyncio.Event,
    outages: Outages | None = None,
) -> None:
    """Call `decide` every second with the markets whose wait for the index has ended, until `stop` is set.

    It also keeps the alerts about long waits up to date.
    """
    alerted_at_s = -_ALERT_EVERY_S

    async def resume_then_pause() -> float:
        nonlocal alerted_at_s
        waiting = await resume_ready(pool, jobs, decide)
        if time.monotonic() - alerted_at_s >= _ALERT_EVERY_S:
            alerted_at_s = time.monotonic()
            await update_alerts(pool, jobs, waiting)
        return EVERY_S

    work = "Resuming decisions that waited for the index"
    await retrying(resume_then_pause, StopSignal(stop), work, outages, errors=(ZmartError,))


async def resume_ready(
    pool: Pool, jobs: Sequence[Job], decide: Callable[[Sequence[MarketId]], Awaitable[object]]
) -> list[WaitingForIndex]:
    """Call `decide` once with the markets whose wait for the index has ended; return all that were waiting, by job."""
    waiting = await market_work.waiting_for_index(pool, jobs)
    ready = [market_id for item in waiting for market_id in item.ready]
    if ready:
        await decide(ready)
    return waiting


async def update_alerts(pool: Pool, jobs: Sequence[Job], waiting: Sequence[WaitingForIndex]) -> None:
    """Raise the alert of each job whose longest wait is ALERT_AFTER_S seconds or more, else resolve it."""
    for job in jobs:
        await _update_alert(pool, job, next((item for item in waiting if item.job is job), None))


async def _update_alert(pool: Pool, job: Job, waiting: WaitingForIndex | None) -> None:
    key = f"index-behind:{job.value}"
    if waiting is None or waiting.longest_s < ALERT_AFTER_S:
        await alerts.resolve_alert(pool, key)
        return
    text = (
        f"{waiting.markets} market(s) wait for the index with their {job.value}, the longest for "
        f"{waiting.longest_s / 60:.0f} min: {waiting.reason} Nothing is decided before that: see /ready of the indexer."
    )
    await alerts.raise_alert(pool, key, "critical", text)
