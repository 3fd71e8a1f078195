"""Tests of a service's background jobs: a job that ends runs again, and a server that ends ends its service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest

from kit.alert_receiver import Receiver
from kit.database_conditions import DatabaseConditions
from kit.waiting import until
from zmart.ops.alerts import send_alerts
from zmart.ops.background import BackgroundJobs
from zmart.ops.host import heartbeat, run_until_stopped
from zmart.ops.probes import Probes
from zmart.services.contract import AsgiApp, ProbeMiddleware, Readiness
from zmart.settings import Settings
from zmart.store import alerts
from zmart.store.pool import Pool


class ReadyService:
    """A service that is always ready, and runs until it is stopped."""

    name = "monitor"

    async def run(self, stop: asyncio.Event) -> None:
        await stop.wait()

    async def readiness(self) -> Readiness:
        return Readiness(ready=True)

    def asgi(self, probes: ProbeMiddleware) -> AsgiApp:
        return probes(None)


@asynccontextmanager
async def jobs(settled_after_s: float = 0.2) -> AsyncIterator[tuple[BackgroundJobs, Probes]]:
    background = BackgroundJobs(asyncio.Event(), retry_s=0.01, settled_after_s=settled_after_s)
    try:
        yield background, Probes(ReadyService(), background=background)
    finally:
        await background.end()


async def test_a_job_that_fails_is_run_again_and_makes_its_service_unready_until_it_runs() -> None:
    """C18: a background job that raises an error runs again; its service is not ready until the job works."""
    fails, runs = True, 0

    async def job() -> None:
        nonlocal runs
        runs += 1
        if fails:
            raise KeyError("unforeseen")
        await asyncio.Event().wait()

    async with jobs() as (background, probes):
        background.start("The job", job)
        said = await until(probes.readiness, lambda said: not said.ready)
        assert said.reason == "The job waits: KeyError: 'unforeseen'"
        await until(lambda: runs > 3)
        assert not (await probes.readiness()).ready, "it fails each time"
        fails = False
        await until(probes.readiness, lambda said: said == Readiness(ready=True))
        assert background.reason == ""


async def test_a_job_that_ends_by_itself_is_noticed() -> None:
    """C18: a background job that returns by itself makes its service not ready, and the reason says so."""

    async def job() -> None:
        return

    async with jobs() as (background, probes):
        background.start("The job", job)
        said = await until(probes.readiness, lambda said: not said.ready)
        assert said.reason == "The job waits: it ended"


async def test_alerts_are_sent_again_after_an_error_that_nobody_foresaw(
    pool: Pool, database_url: str
) -> None:
    """C18: alerts are sent again after a statement failed with an error that is no outage, here a missing column."""
    conditions = DatabaseConditions(database_url)
    async with Receiver.listening() as receiver, jobs() as (background, probes):
        settings = Settings(_env_file=None, database_url=database_url, alert_webhook_url=receiver.url)
        background.start("Sending alerts", partial(send_alerts, settings, asyncio.Event(), 0.02))
        await alerts.raise_alert(pool, "one", "critical", "about one")
        await until(lambda: receiver.told() == [("one", "open")])
        await conditions.execute("ALTER TABLE alerts RENAME COLUMN notified_at TO once")
        said = await until(probes.readiness, lambda said: not said.ready)
        assert said.reason.startswith("Sending alerts waits: UndefinedColumn")
        await conditions.execute("ALTER TABLE alerts RENAME COLUMN once TO notified_at")
        await alerts.raise_alert(pool, "two", "critical", "about two")
        await until(lambda: ("two", "open") in receiver.told())
        await until(probes.readiness, lambda said: said.ready)


async def test_a_heartbeat_that_fails_by_no_outage_is_named(database_url: str, pool: Pool) -> None:
    """A heartbeat whose statement fails makes its service not ready, and the reason names the database's error."""
    conditions = DatabaseConditions(database_url)
    settings = Settings(database_url=database_url)
    async with jobs() as (background, probes):
        await conditions.execute("ALTER TABLE service_status RENAME COLUMN reason TO why")
        background.start("The heartbeat", partial(heartbeat, "monitor", probes, settings, 0.05))
        said = await until(probes.readiness, lambda said: not said.ready)
        assert said.reason.startswith("The heartbeat waits: UndefinedColumn")
        await conditions.execute("ALTER TABLE service_status RENAME COLUMN why TO reason")
        await until(lambda: pool.fetchval("SELECT ready FROM service_status WHERE service = 'monitor'"))


async def test_an_outage_costs_the_heartbeat_only_its_report(database_url: str) -> None:
    conditions = DatabaseConditions(database_url)
    beats = 0

    class CountedService(ReadyService):
        async def readiness(self) -> Readiness:
            nonlocal beats
            beats += 1
            return await super().readiness()

    await conditions.set("default_transaction_read_only", "on")
    background = BackgroundJobs(asyncio.Event(), retry_s=60)
    probes = Probes(CountedService(), background=background)
    work = partial(heartbeat, "monitor", probes, Settings(database_url=database_url), 0.05)
    try:
        background.start("The heartbeat", work)
        await until(lambda: beats >= 3)
        assert background.reason == ""
    finally:
        await background.end()
        await conditions.reset("default_transaction_read_only")


async def test_a_report_that_hangs_costs_the_heartbeat_only_its_time_limit(
    database_url: str, pool: Pool
) -> None:
    """A live process does not look silent for as long as one statement hangs: its next report has a new connection."""
    async with jobs() as (background, probes):
        settings = Settings(database_url=database_url)
        async with pool.transaction() as connection:
            await connection.execute("LOCK TABLE service_status IN SHARE MODE")
            background.start("The heartbeat", partial(heartbeat, "monitor", probes, settings, 0.05, 0.2))
            waiting = "SELECT pid FROM pg_locks WHERE relation = 'service_status'::regclass AND NOT granted"
            first = await until(lambda: pool.fetchval(waiting))
            await until(lambda: pool.fetchval(f"{waiting} AND pid <> {first}"))
            await until(lambda: pool.fetch(waiting), lambda rows: first not in [row["pid"] for row in rows])
            assert background.reason == ""
        await until(lambda: pool.fetchval("SELECT ready FROM service_status WHERE service = 'monitor'"))


async def test_a_server_that_ends_ends_its_service() -> None:
    """C18: when the task of a service's server returns, the service ends with an error."""

    async def serve() -> None:
        return

    with pytest.raises(RuntimeError, match="the server of the monitor ended"):
        await run_until_stopped(ReadyService(), asyncio.Event(), asyncio.create_task(serve()))


async def test_a_service_that_is_stopped_ends_without_an_error() -> None:
    stop, serving = asyncio.Event(), asyncio.create_task(asyncio.Event().wait())
    stop.set()
    await run_until_stopped(ReadyService(), stop, serving)
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving


async def test_a_job_that_loses_a_cancellation_is_ended_all_the_same(monkeypatch):
    """A job that swallows its cancellation does not keep its service from stopping.

    Before Python 3.12 a call to a server may swallow a cancellation.
    """
    monkeypatch.setattr("zmart.ops.background.ENDS_WITHIN_S", 0.01)
    jobs = BackgroundJobs(asyncio.Event())
    running, lost = asyncio.Event(), asyncio.Event()

    async def job() -> None:
        running.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        lost.set()
        await asyncio.Event().wait()

    jobs.start("The job", job)
    await running.wait()
    async with asyncio.timeout(10):
        await jobs.end()
    assert lost.is_set()
