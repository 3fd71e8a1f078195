"""Run a cron schedule that many processes share: PgQueuer gives each tick to one of them.

PgQueuer keeps one row for each (entrypoint, expression). A process takes the row with FOR UPDATE SKIP LOCKED, and the
same statement moves next_run to the next tick. A holder without a heartbeat for 30 s loses the row; with
`restart_after_crash` False already after SILENT_S. So after a stall a tick may run twice, and that must be harmless.
Effects on chain meet this, because they are intents.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

import structlog
from pgqueuer.core.sm import SchedulerManager
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import CronExpressionEntrypoint, Schedule
from pgqueuer.queries import Queries

from zmart.errors import StoreError
from zmart.store import schedules
from zmart.store.connection import connect
from zmart.store.missing_schema import schema_error
from zmart.store.retrying import Outages, StopSignal, pause, retrying

JITTER_S = 5.0
OUTAGE_RETRY_S = 2.0
GRACE_S = 3.0
RETRY_S = 2.0
OUTAGE_LOGGED_EVERY_S = 60.0
SILENT_S = 4.0
"""After how many seconds without a heartbeat the holder of a schedule counts as dead or stopped."""
log = structlog.get_logger()


class _OutagesInOneLine(logging.Filter):
    """Shorten what PgQueuer logs each second, with a traceback, while PostgreSQL is unavailable during a tick: one line
    in `every_s` seconds, with the reason."""

    def __init__(self, every_s: float) -> None:
        super().__init__()
        self._every_s = every_s
        self._logged_at = -math.inf

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, StoreError):
            return True
        if time.monotonic() - self._logged_at < self._every_s:
            return False
        self._logged_at = time.monotonic()
        record.msg, record.args, record.exc_info = (
            f"A running tick is not recorded as running: {error}",
            (),
            None,
        )
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


logging.getLogger("pgqueuer").addFilter(_OutagesInOneLine(OUTAGE_LOGGED_EVERY_S))


class _WatchedQueries(Queries):
    """PgQueuer's statements, with two additions.

    `succeeded` is called whenever due schedules could be read. `releases_silent`: a schedule whose holder is silent for
    SILENT_S is released, so that its next tick can be taken.
    """

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

    One tick makes up for all that were missed while no process ran. A tick starts up to JITTER_S seconds late unless
    `cron` counts seconds. A tick that raises is logged, and the schedule continues. A tick that returns False because a
    server was unavailable is called again every `outage_retry_s` seconds until the next one begins. While PostgreSQL is
    unavailable, the schedule waits. After `stop` a running tick has GRACE_S seconds to end.

    If a process dies during a tick, another process runs that tick again after 30 s, and later ticks wait for it. With
    `restart_after_crash` False the tick is not run again, and later ticks do not wait. That suits a tick that finds all
    due work whenever it runs.
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
    except RuntimeError as problem:  # PgQueuer's tables are missing
        raise await schema_error(database_url) or problem from None
    finally:
        await connection.close()
