"""Read what the services reported last, and whether their reports can be stored at all."""

from __future__ import annotations

import os
import socket

import msgspec

from zmart.errors import ReadOnly
from zmart.store import service_status, status
from zmart.store.pool import Pool
from zmart.store.service_status import ServiceStatus

LATE_AFTER_S = 20.0
"""Without a report of any process for this long, reports cannot be stored: the process that reads this reports, too,
every 5 s, and gives a report up after 10 s."""


class ReportedState(msgspec.Struct, frozen=True, kw_only=True):
    """The last reports of all processes.

    While reports cannot be stored, the state of other processes is unknown, whatever `reports` say: then `trouble` is
    the reason as a short sentence, else "". `own_reason` is why the database takes no writes of the reading process.
    """

    reports: list[ServiceStatus]
    trouble: str = ""
    own_reason: str = ""


def this_instance() -> str:
    """Return the name under which this process reports: its host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


async def read(pool: Pool) -> ReportedState:
    """Return the last reports, and why no newer ones can be stored. Raises Unavailable or Busy."""
    own_reason = ""
    try:
        await status.check_not_read_only(pool)  # reports are stored while other writes may fail
    except ReadOnly as problem:
        own_reason = str(problem)
    reports = await service_status.last_statuses(pool)
    return ReportedState(reports=reports, trouble=_trouble(reports, own_reason), own_reason=own_reason)


def _trouble(reports: list[ServiceStatus], own_reason: str) -> str:
    if own_reason:
        return "PostgreSQL accepts no writes: reports of services cannot be stored"
    age_s = min((report.age_s for report in reports if report.age_s >= 0), default=0.0)
    if age_s > LATE_AFTER_S:
        return f"Reports of services cannot be stored: no process has reported for {age_s:.0f} s"
    return ""
