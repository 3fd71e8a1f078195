"""Raise an alert for each service that no longer reports: its process ended, hangs, or ends at each start."""

from __future__ import annotations

import asyncio

from zmart.settings import Settings
from zmart.store import alerts, service_status
from zmart.store.pool import Pool
from zmart.store.retrying import StopSignal, retrying

EVERY_S = 10.0
SILENT_AFTER_S = 30.0
"""A service reports every 5 s."""


async def watch_silence(settings: Settings, stop: asyncio.Event, every_s: float = EVERY_S) -> None:
    """Raise and close the alerts `silent:<service>` until `stop` is set. Every monitor runs this."""
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
    """Raise an alert for what is silent now and was `before`, close the others. Returns what is silent now.

    Twice, since nobody can report while the database is unavailable: the first look after that says nothing.
    """
    ages = await service_status.silence(pool)
    silent = frozenset(service for service, age_s in ages.items() if age_s > SILENT_AFTER_S)
    opened = {alert.key for alert in await alerts.open_alerts(pool)}
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
