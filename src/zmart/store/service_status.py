"""Store the status that each process reports every few seconds, for the status page and /health/<service>."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from zmart.store.error_text import storable, storable_json
from zmart.store.pool import Pool, Record

SILENT_AFTER_S = 30.0
"""A service without a report for this long is silent; processes report every 5 s."""

# A process that ended without a word is forgotten once another one of its service has taken its place. A report that
# lies in the future, since the clock was set back, becomes one of now: a running process replaces its own anyway.
_REPORT = """
WITH replaced AS (
    DELETE FROM service_status WHERE (service, instance) IN (
        SELECT service, instance FROM service_status
        WHERE service = $1 AND instance <> $2 AND seen_at < now() - interval '5 minutes' FOR UPDATE SKIP LOCKED)),
brought_back AS (
    UPDATE service_status SET seen_at = now() WHERE (service, instance) IN (
        SELECT service, instance FROM service_status
        WHERE seen_at > now() + interval '30 s' AND (service, instance) <> ($1, $2) FOR UPDATE SKIP LOCKED))
INSERT INTO service_status (service, instance, ready, reason, details) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (service, instance) DO UPDATE
SET seen_at = now(), ready = excluded.ready, reason = excluded.reason, details = excluded.details
RETURNING extract(epoch FROM now())::float8
"""
_FORGET = "DELETE FROM service_status WHERE service = $1 AND instance = $2"
_SILENCE = """
SELECT service, extract(epoch FROM now() - max(seen_at))::float8 AS age_s FROM service_status GROUP BY service
"""
_ALL = """
SELECT service, instance, seen_at, extract(epoch FROM now() - seen_at)::float8 AS age_s, ready, reason, details
FROM service_status WHERE seen_at > now() - interval '1 minute' ORDER BY service, instance
"""
# As of the newest report of all: while no process can store one, the last ones stay known. One from before the clock of
# the database was set back lies in the future, and hides no other.
_LAST = """
SELECT service, instance, seen_at, extract(epoch FROM now() - seen_at)::float8 AS age_s, ready, reason, details
FROM service_status WHERE seen_at > (SELECT LEAST(max(seen_at), now()) FROM service_status) - interval '1 minute'
ORDER BY service, instance
"""


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The last status report of a process (`instance`) of a service. `age_s`: the age of the report in seconds, by
    PostgreSQL's clock; `reason`: why the process is not ready."""

    service: str
    instance: str
    seen_at: datetime
    age_s: float
    ready: bool
    reason: str
    details: Mapping[str, object]

    @property
    def is_recent(self) -> bool:
        """Whether the process is not silent. A report in the future is one from before the clock was set back."""
        return self.age_s <= SILENT_AFTER_S


async def report(
    pool: Pool, service: str, instance: str, ready: bool, reason: str, details: Mapping[str, object]
) -> float:
    """Store the status of this process, and forget those of its service that have not reported for 5 minutes. Returns
    the database's time in Unix seconds."""
    encoded = storable_json(details)
    now_s: float = await pool.fetchval(_REPORT, service, instance, ready, storable(reason), encoded)
    return now_s


async def forget(pool: Pool, service: str, instance: str) -> None:
    """Delete the status of a process that stops in an orderly way."""
    await pool.execute(_FORGET, service, instance)


async def silence(pool: Pool) -> dict[str, float]:
    """Return the seconds since the last report of any process of a service, by service.

    A service is left out once its last process has stopped in an orderly way.
    """
    return {row["service"]: row["age_s"] for row in await pool.fetch(_SILENCE)}


async def all_statuses(pool: Pool) -> list[ServiceStatus]:
    """Return the status of every process that reported within the last minute, by service and instance."""
    return [_status(row) for row in await pool.fetch(_ALL)]


async def last_statuses(pool: Pool) -> list[ServiceStatus]:
    """Return the status of every process that reported within the last minute before the newest report of all
    processes, by service and instance."""
    return [_status(row) for row in await pool.fetch(_LAST)]


def _status(row: Record) -> ServiceStatus:
    return ServiceStatus(**{**row, "details": msgspec.json.decode(row["details"])})
