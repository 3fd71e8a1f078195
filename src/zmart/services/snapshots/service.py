"""The snapshot service: the daily run, a look every minute at what is open or has had its time, and the texts of
markets that were made elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from zmart.decisions.schedule import run_schedule
from zmart.decisions.ticks import Ticks
from zmart.ipfs.pinning import PinataClient
from zmart.services.contract import AsgiApp, Readiness
from zmart.services.snapshots import metrics
from zmart.services.snapshots.api import RunApi
from zmart.services.snapshots.runs import Runs
from zmart.services.snapshots.texts import TextFetcher
from zmart.settings import Settings
from zmart.store import alerts, anchors, document_fetches
from zmart.store.pool import Pool

_LOOK_CRON = "* * * * *"
_LOOK_CRON_LOCAL = "* * * * * */5"
_TEXTS_CRON = "* * * * * */10"
_TEXTS_CRON_LOCAL = "* * * * * */2"
_FAILING = "snapshots failing"

# The local stack's providers and servers are up within seconds; a look a minute would be felt there.


class SnapshotService:
    """`open(settings)`, then `run(stop)`."""

    name = "snapshots"

    def __init__(self, settings: Settings, pool: Pool, pins: PinataClient) -> None:
        self._settings = settings
        self._pool = pool
        self._pins = pins
        self._runs = Runs.with_provider(pool, pins, settings)
        self._days = Ticks(metrics.ticks, metrics.tick_seconds)
        self._looks = Ticks(metrics.ticks, metrics.tick_seconds)
        self._texts = TextFetcher(pool, settings.ipfs_gateway_url, self._runs.keeper.provider)
        self._fetches = Ticks(metrics.ticks, metrics.tick_seconds)

    @classmethod
    async def open(cls, settings: Settings) -> SnapshotService:
        """Raises ConfigError when no provider is set, StoreError when PostgreSQL is away."""
        pins = PinataClient.from_settings(settings)
        return cls(settings, await Pool.open(settings.require("database_url"), wait_s=30), pins)

    async def run(self, stop: asyncio.Event) -> None:
        url, cron = self._settings.require("database_url"), self._settings.snapshots_cron
        look = _LOOK_CRON_LOCAL if self._settings.is_local else _LOOK_CRON
        texts = _TEXTS_CRON_LOCAL if self._settings.is_local else _TEXTS_CRON
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(run_schedule(url, "snapshots", cron, self._day, stop))
                group.create_task(run_schedule(url, "snapshots_look", look, self._look, stop))
                fetches = run_schedule(
                    url, "snapshots_texts", texts, self._fetch, stop, again_after_a_crash=False
                )
                group.create_task(fetches)
        finally:
            await self._pins.close()
            await self._pool.close()

    async def readiness(self) -> Readiness:
        counts = await anchors.counts(self._pool)
        metrics.open_pins.set(counts.open)
        waiting = await document_fetches.waiting(self._pool)
        metrics.waiting_texts.set(waiting)
        reason = self._days.error or self._looks.error or self._fetches.error
        if not reason and counts.failing:
            reason = f"{counts.failing} pins are not proven: {counts.last_error}"
        details = {
            "provider": self._runs.keeper.provider,
            "open": counts.open,
            "failing": counts.failing,
            "texts_waiting": waiting,
            "last_snapshot_at": counts.last_snapshot_at,
        }
        return Readiness(ready=not reason, reason=reason, details=details)

    def health(self) -> Mapping[str, object]:
        return {**self._days.health(), "error_of_last_look": self._looks.error}

    def asgi(self) -> AsgiApp | None:
        return RunApi(self._runs, self._settings.operator_token.get_secret_value())

    async def _day(self) -> None:
        await self._days.guard(self._everything)

    async def _everything(self) -> None:
        await self._runs.everything()

    async def _look(self) -> None:
        await self._looks.guard(self._look_after)

    async def _fetch(self) -> None:
        await self._fetches.guard(self._texts.look)

    async def _look_after(self) -> None:
        await self._runs.look_after()
        counts = await anchors.counts(self._pool)
        if counts.failing:
            text = f"{counts.failing} pin(s) cannot be made or read back at {self._runs.keeper.provider}: "
            await alerts.raise_alert(self._pool, _FAILING, "warning", text + str(counts.last_error))
        else:
            await alerts.resolve_alert(self._pool, _FAILING)
