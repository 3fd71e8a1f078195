"""Run the snapshot service.

It takes daily snapshots, maintains the pins every minute, and fetches the documents of markets created elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from zmart.decisions.schedule import is_daily_at_most, run_schedule
from zmart.decisions.ticks import TickCounts, TickRecord
from zmart.ipfs.pinata import PinataClient
from zmart.ipfs.pinning import PinError
from zmart.services.contract import AsgiApp, ProbeMiddleware, Readiness, no_probes
from zmart.services.known_answers import POSTGRESQL_SILENT, KnownAnswer
from zmart.services.snapshots import metrics
from zmart.services.snapshots.api import RunApi
from zmart.services.snapshots.documents import DocumentFetcher
from zmart.services.snapshots.keeping import NotUnpinned
from zmart.services.snapshots.runs import SnapshotRuns
from zmart.settings import Settings
from zmart.store import alerts, anchors, document_fetches
from zmart.store.pool import Pool
from zmart.store.retrying import Outages, StopSignal, retrying

_MAINTENANCE_CRON = "* * * * *"
_MAINTENANCE_CRON_LOCAL = "* * * * * */5"
_DOCUMENTS_CRON = "* * * * * */10"
_DOCUMENTS_CRON_LOCAL = "* * * * * */2"
_FAILING = "snapshots failing"
_MEASURING = "Measuring the storage"
_MEASURED_EVERY_S = 60.0
_MEASURED_EVERY_LOCAL_S = 5.0

# The local stack starts within seconds, so its schedules are shorter: a wait of a minute would be noticed there.

log = structlog.get_logger()


class SnapshotService:
    """The snapshot service, as services/contract.py defines a service: `open(settings)`, then `run(stop)`."""

    name = "snapshots"

    def __init__(self, settings: Settings, pool: Pool, pins: PinataClient) -> None:
        self._settings = settings
        self._pool = pool
        self._pins = pins
        self._runs = SnapshotRuns.with_provider(pool, pins, settings)
        self._daily = TickRecord("snapshots", metrics.ticks, metrics.tick_seconds)
        self._maintenance = TickRecord("pins", metrics.ticks, metrics.tick_seconds)
        self._documents = DocumentFetcher(pool, settings.ipfs_gateway_url, self._runs.keeper.provider)
        self._fetches = TickRecord("documents", metrics.ticks, metrics.tick_seconds)
        self._outages = Outages()
        self._pauses_ended = False
        # A day that has its snapshots may come a second time: after a clock that was ahead is set back.
        self._once_a_day = is_daily_at_most(settings.snapshots_cron)
        self._open = KnownAnswer(self._read_open, POSTGRESQL_SILENT)

    @classmethod
    async def open(cls, settings: Settings) -> SnapshotService:
        """Connect to PostgreSQL and return the service.

        Raises ConfigError if no pinning provider is set, StoreError if PostgreSQL is unavailable.
        """
        pins = PinataClient.from_settings(settings)
        return cls(settings, await Pool.open(settings.require("database_url"), wait_s=30), pins)

    async def run(self, stop: asyncio.Event) -> None:
        """Run the schedules until `stop` is set."""
        url, cron = self._settings.require("database_url"), self._settings.snapshots_cron
        maintenance = _MAINTENANCE_CRON_LOCAL if self._settings.is_local else _MAINTENANCE_CRON
        documents = _DOCUMENTS_CRON_LOCAL if self._settings.is_local else _DOCUMENTS_CRON
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(
                    run_schedule(url, "snapshots", cron, self._day, stop, outages=self._outages)
                )
                group.create_task(
                    run_schedule(
                        url, "snapshots_look", maintenance, self._maintain, stop, outages=self._outages
                    )
                )
                fetches = run_schedule(
                    url,
                    "snapshots_texts",
                    documents,
                    self._fetch,
                    stop,
                    restart_after_crash=False,
                    outages=self._outages,
                )
                group.create_task(fetches)
                group.create_task(retrying(self._measure, StopSignal(stop), _MEASURING, self._outages))
        finally:
            self._open.close()
            await self._pins.close()
            await self._pool.close()

    async def readiness(self) -> Readiness:
        """Return whether the last run of each schedule succeeded and no pin fails. Raises StoreError."""
        counts, waiting = await self._open.get()
        metrics.open_pins.set(counts.open)
        metrics.failing_pins.set(counts.failing)
        metrics.waiting_documents.set(waiting)
        error = self._daily.error or self._maintenance.error or self._fetches.error
        reason = self._outages.reason or (f"The last run failed: {error}" if error else "")
        if not reason and counts.failing:
            reason = f"{counts.failing} pins are not verified: {counts.last_error}"
        details = {
            "provider": self._runs.keeper.provider,
            "open": counts.open,
            "failing": counts.failing,
            "texts_waiting": waiting,
            "last_snapshot_at": counts.last_snapshot_at,
        }
        return Readiness(ready=not reason, reason=reason, details=details)

    async def _read_open(self) -> tuple[anchors.AnchorCounts, int]:
        return await anchors.counts(self._pool), await document_fetches.waiting(self._pool)

    def health(self) -> Mapping[str, object]:
        """Return when and how the last daily run ended, and the error of the last maintenance of pins."""
        return {**self._daily.health(), "error_of_last_look": self._maintenance.error}

    def asgi(self, probes: ProbeMiddleware = no_probes) -> AsgiApp:
        """Return the application of the operators' route, wrapped in `probes`."""
        return probes(RunApi(self._runs, self._settings.operator_token.get_secret_value()))

    async def _day(self) -> bool:
        await self._daily.run(self._run_all)
        return not self._daily.was_outage

    async def _run_all(self) -> TickCounts:
        try:
            results = await self._runs.run_all(once=self._once_a_day)
        except PinError as problem:
            # All snapshots are stored. The maintenance pins them, and reports the provider until it is available.
            log.warning("snapshots are stored, and not pinned yet", error=str(problem))
            return {}
        verified = sum(result.verified for result in results)
        return {
            "markets": len(results),
            "new": sum(result.is_new for result in results),
            "verified": verified,
        }

    async def _maintain(self) -> bool:
        await self._maintenance.run(self._maintain_pins)
        return not self._maintenance.was_outage

    async def _fetch(self) -> bool:
        await self._fetches.run(self._fetch_due)
        return not self._fetches.was_outage

    async def _fetch_due(self) -> TickCounts:
        # Not when the service is opened: this writes, and a read-only database must not prevent the start.
        if not self._pauses_ended:
            await document_fetches.retry_all(self._pool)
            self._pauses_ended = True
        return {"fetched": await self._documents.fetch_due()}

    async def _measure(self) -> float:
        storage = await anchors.storage(self._pool)
        metrics.storage_pins.set(storage.pins)
        metrics.storage_bytes.set(storage.size_bytes)
        return _MEASURED_EVERY_LOCAL_S if self._settings.is_local else _MEASURED_EVERY_S

    async def _maintain_pins(self) -> TickCounts:
        try:
            done = await self._runs.maintain()
        except NotUnpinned as problem:
            await self._alert(str(problem))
            raise
        except PinError as problem:  # the provider cannot be used at all: no single pin has failed
            await self._alert(f"Nothing can be pinned at {self._runs.keeper.provider}: {problem}")
            raise
        counts = await anchors.counts(self._pool)
        if counts.failing:
            provider = self._runs.keeper.provider
            await self._alert(
                f"{counts.failing} pin(s) cannot be made or read back at {provider}: {counts.last_error}"
            )
        else:
            await alerts.resolve_alert(self._pool, _FAILING)
        return {"verified": done.verified, "unpinned": done.unpinned, "open": counts.open}

    async def _alert(self, text: str) -> None:
        await alerts.raise_alert(self._pool, _FAILING, "warning", text)
