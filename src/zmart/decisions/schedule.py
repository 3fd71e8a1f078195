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
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from croniter import croniter
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
MISSED_TIMES = 3
"""How many times of a schedule, one after the other, may pass without a tick in any process before it is reported."""
_LEEWAY = timedelta(seconds=1)
_DAY_S = 86_400
_STANDS_STILL = (
    f"no process has run it at its last {MISSED_TIMES} times: compare next_run in the table pgqueuer_schedules with "
    "the clock of the database."
)
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


class _MissedTimes:
    """Count the times of a schedule, one after the other, at which no process took it. It outlives a connection."""

    def __init__(self) -> None:
        self._updated_at: datetime | None = None
        self._times = 0

    def note(self, updated_at: datetime | None, *, is_first: bool = False) -> bool:
        """Return whether the schedule stands still, by the time of its row's last change, after a time has passed.
        `is_first`: no time has passed since the previous call."""
        if updated_at != self._updated_at:
            self._updated_at, self._times = updated_at, 0
        elif not is_first:
            self._times += 1
        return self._times >= MISSED_TIMES


class _WatchedQueries(Queries):
    """PgQueuer's statements, with three additions.

    `succeeded` is called whenever due schedules could be read and some process takes them at their times, otherwise
    `stands_still`. `releases_silent`: a schedule whose holder is silent for SILENT_S is released, so that its next tick
    can be taken. A next run that no present clock accounts for is brought back.
    """

    succeeded: Callable[[], None]
    stands_still: Callable[[], None]
    missed: _MissedTimes
    releases_silent = False
    _has_fetched = False

    async def fetch_schedule(self, entrypoints: dict[CronExpressionEntrypoint, timedelta]) -> list[Schedule]:
        for each, next_in in entrypoints.items():
            if self.releases_silent:
                await schedules.release_silent(self.driver, each.entrypoint, SILENT_S)
            # A tick that may run at any time runs at once. Others keep to the times of their expression.
            at = timedelta(0) if self.releases_silent else next_in
            longest = _second_in(each.expression, next_in) + _LEEWAY
            await schedules.bring_back(self.driver, each.entrypoint, each.expression, at, longest)
        due = await super().fetch_schedule(entrypoints)
        changes = [await schedules.updated_at(self.driver, e.entrypoint, e.expression) for e in entrypoints]
        is_first, self._has_fetched = not self._has_fetched, True
        stand_still = [self.missed.note(updated_at, is_first=is_first) for updated_at in changes]
        if any(stand_still):
            self.stands_still()
        else:
            self.succeeded()
        return due


def _second_in(expression: str, next_in: timedelta) -> timedelta:
    """Return the time until the second next time of a cron expression whose next one is in `next_in`.

    No next run is further away: a host whose clock is ahead of this one's may have taken the next time already.
    """
    following = (datetime.now(UTC) + next_in).timestamp()
    # Half a second more, since the sum may be microseconds too small, and times are whole seconds.
    after = croniter(expression, start_time=following + 0.5, ret_type=float)
    return next_in + timedelta(seconds=after.get_next() - following)


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

    After the database's clock was set back, the schedule goes on at the latest after two of its times. `outages` names
    it when no process has run a tick at MISSED_TIMES of its times.

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

    outages, work, missed = outages or Outages(), f"The schedule {name}", _MissedTimes()

    async def until_broken() -> float:
        noting = partial(outages.end, work), partial(outages.begin, work, _STANDS_STILL)
        await _run(database_url, name, cron, late_tick, stop, restart_after_crash, missed, *noting)
        return 0.0

    await retrying(until_broken, StopSignal(stop), work, outages, retry_s=retry_s)


def is_daily_at_most(cron: str) -> bool:
    """Return whether a day has at most one time of the expression `cron`."""
    times = croniter(cron, start_time=datetime.now(UTC), ret_type=float)
    # The times of a day are the same on each of its days, so that three times show whether there are two of them.
    first_s, second_s, third_s = (float(times.get_next()) for _ in range(3))
    return min(second_s - first_s, third_s - second_s) >= _DAY_S


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
    missed: _MissedTimes,
    succeeded: Callable[[], None],
    stands_still: Callable[[], None],
) -> None:
    connection = await connect(database_url)
    queries = _WatchedQueries(AsyncpgDriver(connection))
    queries.succeeded, queries.stands_still, queries.missed = succeeded, stands_still, missed
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
