"""Raise an alert for each service that no longer reports: its process ended, hangs, or fails at each start."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from prometheus_client import Gauge

from zmart.settings import Settings
from zmart.store import alerts, service_status
from zmart.store.alerts import AlertRow
from zmart.store.pool import Pool
from zmart.store.retrying import StopSignal, retrying

EVERY_S = 10.0
_SHORTEST_IDENTIFIER = 32

alerts_open = Gauge(
    "zmart_alerts_open", "Open alerts, by the constant part of their key", ["alert", "severity"]
)
alerts_read_at = Gauge(
    "zmart_alerts_read_timestamp_seconds", "When the open alerts were last read, in Unix time"
)


async def watch_silence(settings: Settings, stop: asyncio.Event, every_s: float = EVERY_S) -> None:
    """Raise and close the alerts `silent:<service>` every `every_s` seconds until `stop` is set.

    Every monitor process runs this function. It waits while PostgreSQL is unavailable.
    """
    pool = Pool(settings.require("database_url"), size=1, wait_s=2.0)
    silent: frozenset[str] = frozenset()

    async def watch() -> float:
        nonlocal silent
        silent = await report_silence(pool, silent)
        return every_s

    try:
        await retrying(watch, StopSignal(stop), "Watching the services", retry_s=every_s)
    finally:
        await pool.close()


async def report_silence(pool: Pool, before: frozenset[str]) -> frozenset[str]:
    """Raise an alert for each service that is silent now and was in `before`, and close the alerts of the others.

    Returns the services that are silent now, which are `before` of the next call. One silent call raises no alert: no
    service can report while the database is unavailable, so the first call after an outage finds all of them silent.
    Also sets the metrics of open alerts. Raises StoreError.
    """
    ages = await service_status.silence(pool)
    silent = frozenset(service for service, age_s in ages.items() if age_s > service_status.SILENT_AFTER_S)
    rows = await alerts.open_alerts(pool)
    _publish(rows)
    opened = {alert.key for alert in rows}
    for service in silent & before:
        text = (
            f"The {service} has not reported for {ages[service]:.0f} s: its process ended, hangs, or ends at each "
            "start. It is started again without limit; its log says why (`zmart ps`, or your supervisor)."
        )
        await alerts.raise_alert(pool, f"silent:{service}", "critical", text)
    for key in opened - {f"silent:{service}" for service in silent}:
        if key.startswith("silent:"):
            await alerts.resolve_alert(pool, key)
    return silent


def _publish(rows: Sequence[AlertRow]) -> None:
    alerts_open.clear()
    for (name, severity), number in Counter((alert_name(row.key), row.severity) for row in rows).items():
        alerts_open.labels(name, severity).set(number)
    alerts_read_at.set_to_current_time()


def alert_name(key: str) -> str:
    """Return an alert's key without its last part if that is an identifier (32 characters or more).

    The result is a label of a metric, and labels that name markets, intents or wallets would be unlimited in number.
    """
    name, _, last = key.rpartition(":")
    return name if len(last) >= _SHORTEST_IDENTIFIER else key
