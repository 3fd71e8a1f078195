"""Release the PgQueuer schedules of a process that has died or hangs, sooner than PgQueuer itself does."""

from __future__ import annotations

from typing import Protocol

_RELEASE = """
UPDATE pgqueuer_schedules SET status = 'queued', updated = now()
WHERE entrypoint = $1 AND status = 'picked' AND heartbeat < now() - $2 * interval '1 s'
"""


class StatementRunner(Protocol):
    """A connection that runs a statement: PgQueuer's own driver."""

    async def execute(self, query: str, *arguments: object) -> str:
        """Run a statement and return PostgreSQL's command tag."""
        ...


async def release_silent(db: StatementRunner, entrypoint: str, silent_s: float) -> None:
    """Release the schedules of `entrypoint` whose heartbeat is older than `silent_s` seconds. Only schedules that a
    process has taken are released; the time of their next run does not change. Raises errors of the driver."""
    await db.execute(_RELEASE, entrypoint, silent_s)
