"""Decisions that wait for the index: they go on as soon as it is complete enough, and a person hears of a long wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from zmart.decisions.schedule import pause
from zmart.errors import ZmartError
from zmart.market.types import MarketId
from zmart.store import alerts, market_work
from zmart.store.market_work import Job, WaitingForIndex
from zmart.store.pool import Pool, is_away

EVERY_S = 1.0
ALERT_AFTER_S = 600.0
_TELL_EVERY_S = 10.0
log = structlog.get_logger()


async def resume_waiting(
    pool: Pool,
    jobs: Sequence[Job],
    decide: Callable[[Sequence[MarketId]], Awaitable[None]],
    stop: asyncio.Event,
) -> None:
    """Call `decide` with the markets for which the index has caught up, again and again, until `stop` is set."""
    told_at_s = -_TELL_EVERY_S
    while not stop.is_set():
        try:
            waiting = await look(pool, jobs, decide)
            if time.monotonic() - told_at_s >= _TELL_EVERY_S:
                told_at_s = time.monotonic()
                await tell(pool, jobs, waiting)
        except Exception as problem:
            if not (is_away(problem) or isinstance(problem, ZmartError)):
                raise
            log.warning("decisions that wait for the index cannot be looked at", problem=str(problem))
        await pause(stop, EVERY_S)


async def look(
    pool: Pool, jobs: Sequence[Job], decide: Callable[[Sequence[MarketId]], Awaitable[None]]
) -> list[WaitingForIndex]:
    """One look; what waited then."""
    waiting = await market_work.waiting_for_index(pool, jobs)
    ready = [market_id for found in waiting for market_id in found.ready]
    if ready:
        await decide(ready)
    return waiting


async def tell(pool: Pool, jobs: Sequence[Job], waiting: Sequence[WaitingForIndex]) -> None:
    """Raise or close the alert of each job."""
    for job in jobs:
        await _tell(pool, job, next((found for found in waiting if found.job is job), None))


async def _tell(pool: Pool, job: Job, waiting: WaitingForIndex | None) -> None:
    key = f"index-behind:{job.value}"
    if waiting is None or waiting.longest_s < ALERT_AFTER_S:
        await alerts.resolve_alert(pool, key)
        return
    text = (
        f"{waiting.markets} market(s) wait for the index with their {job.value}, the longest for "
        f"{waiting.longest_s / 60:.0f} min: {waiting.reason} Nothing is decided before that: see /ready of the indexer."
    )
    await alerts.raise_alert(pool, key, "critical", text)
