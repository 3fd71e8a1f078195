"""Run a cron schedule that many processes share: PgQueuer gives each tick to one of them.

PgQueuer keeps one row per (entrypoint, expression) and takes it with FOR UPDATE SKIP LOCKED, moving next_run to the
next tick in the same statement; a holder that stopped its heartbeat for 30 s loses it, and after SILENT_S where a tick
is not run again. So one tick may, after a stall, run twice: what runs here must be harmless twice, and effects on chain
are (intents).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

import structlog
from pgqueuer.core.sm import SchedulerManager
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import CronExpressionEntrypoint, Schedule
from pgqueuer.queries import Queries

from zmart.store import schedules
from zmart.store.connection import connect
from zmart.store.missing_schema import schema_error
from zmart.store.retrying import Outages, StopSignal, pause, retrying

JITTER_S = 5.0
OUTAGE_RETRY_S = 2.0
GRACE_S = 3.0
RETRY_S = 2.0
SILENT_S = 4.0
"""A process that took a tick and has said nothing for so long died or was stopped before it gave the schedule back."""
log = structlog.get_logger()


class _WatchedQueries(Queries):
    """PgQueuer's statements; `succeeded` is called whenever it could look for due schedules. `releases_silent`: a
    schedule whose holder is silent may be taken at its next tick."""

    succeeded: Callable[[], None]
    releases_silent = False

    async def fetch_schedule(self, entrypoints: dict[CronExpressionEntrypoint, timedelta]) -> list[Schedule]:
        for each in entrypoints if self.releases_silent else ():
            await schedules.release_silent(self.driver, each.entrypoint, SILENT_S)
        due = await super().fetch_schedule(entrypoints)
        self.succeeded()
        return due


async def run_schedule(
    database_url: str,
    name: str,
    cron: str,
    tick: Callable[[], Awaitable[bool | None]],
    stop: asyncio.Event,
    *,
    restart_after_crash: bool = True,
    outages: Outages | None = None,
    retry_s: float = RETRY_S,
    outage_retry_s: float = OUTAGE_RETRY_S,
) -> None:
    """Call `tick` at each time of `cron` that no other process takes, until `stop` is set.

    Ticks that were missed while no process ran are made up for by one. A tick that raises is logged and the schedule
    continues; it waits for what PostgreSQL cannot do now. A tick that returns False is called again after
    `outage_retry_s`, until a later one begins: what a server that was unavailable kept it from doing waits for no cron.
    A tick starts up to JITTER_S late unless `cron` counts
    seconds; a stop leaves it GRACE_S.

    A tick whose process dies is run again by another after 30 s, and the next ones wait for that; with
    `restart_after_crash` False they don't: right for a tick that finds what is due whenever it runs.
    """
    jitter_s = JITTER_S if len(cron.split()) == 5 else 0.0

    begun = 0

    async def late_tick() -> None:
        nonlocal begun
        begun = this = begun + 1
        await pause(stop, random.uniform(0, jitter_s))  # noqa: S311  # no secret: it spreads the load
        while await _until_stopped(tick, stop) is False and this == begun and not stop.is_set():
            await pause(stop, outage_retry_s)

    outages, work = outages or Outages(), f"The schedule {name}"

    async def until_broken() -> float:
        noting = partial(outages.end, work)
        await _run(database_url, name, cron, late_tick, stop, restart_after_crash, noting)
        return 0.0

    await retrying(until_broken, StopSignal(stop), work, outages, retry_s=retry_s)


async def _until_stopped(tick: Callable[[], Awaitable[bool | None]], stop: asyncio.Event) -> bool | None:
    running, stopping = asyncio.ensure_future(tick()), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            await asyncio.wait({running}, timeout=GRACE_S)
        if not running.done():
            running.cancel()
        result = (await asyncio.gather(running, return_exceptions=stop.is_set()))[0]
        return result if isinstance(result, bool) else None
    finally:
        stopping.cancel()
        running.cancel()


async def _run(
    database_url: str,
    name: str,
    cron: str,
    tick: Callable[[], Awaitable[None]],
    stop: asyncio.Event,
    restart_after_crash: bool,
    succeeded: Callable[[], None],
) -> None:
    connection = await connect(database_url)
    queries = _WatchedQueries(AsyncpgDriver(connection))
    queries.succeeded = succeeded
    queries.releases_silent = not restart_after_crash
    manager = SchedulerManager(queries)
    manager.shutdown = stop

    @manager.schedule(name, cron)
    async def run(schedule: Schedule) -> None:
        if not restart_after_crash:
            await manager.queries.set_schedule_queued({schedule.id})
        await tick()

    try:
        await manager.run()
    except RuntimeError as problem:  # it misses its tables
        raise await schema_error(database_url) or problem from None
    finally:
        await connection.close()
