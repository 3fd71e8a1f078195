"""Give back schedules that a process took and no longer works on, sooner than the job queue itself does."""

from __future__ import annotations

from typing import Protocol

_RELEASE = """
UPDATE pgqueuer_schedules SET status = 'queued', updated = now()
WHERE entrypoint = $1 AND status = 'picked' AND heartbeat < now() - $2 * interval '1 s'
"""


class StatementRunner(Protocol):
    """What runs a statement: the job queue's own connection."""

    async def execute(self, query: str, *arguments: object) -> str:
        """Run a statement and return its status."""
        ...


async def release_silent(db: StatementRunner, entrypoint: str, silent_s: float) -> None:
    """Release the schedules of `entrypoint` whose holder has said nothing for `silent_s` seconds: it says every second
    that it works. Their next run is not moved. Raises errors of the driver."""
    await db.execute(_RELEASE, entrypoint, silent_s)
