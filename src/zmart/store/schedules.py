"""Release the PgQueuer schedules of a process that has died or hangs, sooner than PgQueuer itself does, and correct the
rows of schedules after the database's clock was set back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

_RELEASE = """
UPDATE pgqueuer_schedules SET status = 'queued', updated = now()
WHERE entrypoint = $1 AND status = 'picked' AND heartbeat < now() - $2 * interval '1 s'
"""
# PgQueuer writes every time of a row by now(), and as next_run a time that the cron expression has next. What lies
# further in the future was written before the clock was set back, and PgQueuer would wait until that time has come.
_BRING_BACK = """
UPDATE pgqueuer_schedules SET heartbeat = CASE WHEN heartbeat > now() THEN now() ELSE heartbeat END,
    last_run = CASE WHEN last_run > now() THEN now() ELSE last_run END,
    next_run = CASE WHEN next_run > now() + $4::interval THEN date_trunc('seconds', now() + $3::interval)
        ELSE next_run END
WHERE (entrypoint, expression) = ($1, $2)
  AND (heartbeat > now() OR last_run > now() OR next_run > now() + $4::interval)
"""
_UPDATED_AT = "SELECT updated FROM pgqueuer_schedules WHERE (entrypoint, expression) = ($1, $2)"


class StatementRunner(Protocol):
    """A connection that runs a statement: PgQueuer's own driver."""

    async def execute(self, query: str, *arguments: object) -> str:
        """Run a statement and return PostgreSQL's command tag."""
        ...

    async def fetch(self, query: str, *arguments: object) -> Sequence[Mapping[str, Any]]:
        """Run a statement and return its rows."""
        ...


async def release_silent(db: StatementRunner, entrypoint: str, silent_s: float) -> None:
    """Release the schedules of `entrypoint` whose heartbeat is older than `silent_s` seconds. Only schedules that a
    process has taken are released; the time of their next run does not change. Raises errors of the driver."""
    await db.execute(_RELEASE, entrypoint, silent_s)


async def bring_back(
    db: StatementRunner, entrypoint: str, expression: str, next_in: timedelta, longest: timedelta
) -> None:
    """Correct the times of a schedule that the database's clock has not reached, because it was set back.

    The last run and the heartbeat become the present time. A next run that is further away than `longest` becomes the
    time in `next_in`. Raises errors of the driver.
    """
    await db.execute(_BRING_BACK, entrypoint, expression, next_in, longest)


async def updated_at(db: StatementRunner, entrypoint: str, expression: str) -> datetime | None:
    """Return when a process last took the schedule, worked for it or returned it; None if the row is missing. Only to
    be compared with an earlier value. Raises errors of the driver."""
    rows = await db.fetch(_UPDATED_AT, entrypoint, expression)
    return rows[0]["updated"] if rows else None
