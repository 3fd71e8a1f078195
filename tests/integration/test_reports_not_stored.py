"""Tests that the dashboard and /api/status name the cause while services cannot store their reports."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from kit.database_conditions import DatabaseConditions
from kit.gateway import Site, site
from kit.waiting import until
from zmart.errors import ZmartError
from zmart.feed import redis_client
from zmart.feed.relay import FeedRelay
from zmart.feed.tasks import end
from zmart.local.postgres import Postgres
from zmart.local.processes import free_port
from zmart.ops.dashboard import Dashboard
from zmart.services.contract import SERVICES
from zmart.settings import load_settings
from zmart.store import migrate, service_status
from zmart.store.reported_state import this_instance

READ_ONLY = "default_transaction_read_only"
CAUSE = "PostgreSQL accepts no writes: reports of services cannot be stored"
AGES_S = [5, 39, 150]
"""Seconds since the last reports: before they count as silent, after it, and after they are no longer listed."""


@pytest.fixture
def conditions(database_url: str) -> DatabaseConditions:
    return DatabaseConditions(database_url)


@pytest.fixture
async def here(database_url: str, conditions: DatabaseConditions) -> AsyncIterator[Site]:
    """Yield a gateway whose own last report, and those of the other services, said that they are ready."""
    async with site(database_url) as gateway:
        for name in SERVICES:
            instance = this_instance() if name == "gateway" else "here:1"
            await service_status.report(gateway.pool, name, instance, True, "", {})
        yield gateway
        await conditions.reset(READ_ONLY)


async def no_reports(conditions: DatabaseConditions, here: Site, age_s: int) -> None:
    """Make the database read-only, `age_s` seconds after the last reports."""
    await conditions.execute(f"UPDATE service_status SET seen_at = now() - interval '{age_s} seconds'")
    await conditions.set(READ_ONLY, "on")
    await until(lambda: is_answered(here))


async def is_answered(here: Site) -> bool:
    try:
        return bool(await here.pool.fetchval("SELECT true"))
    except ZmartError:
        return False


async def page_of(here: Site) -> str:
    dashboard = Dashboard(load_settings(database_url=here.gateway.context.settings.require("database_url")))
    try:
        status, page = await dashboard.page()
    finally:
        await dashboard.close()
    assert status == 200
    return page


def headline(page: str) -> str:
    return page.partition("<h1>")[2].partition("</h1>")[0]


def ready_cells(page: str) -> list[str]:
    """Return the texts in the column "ready", row by row."""
    cells = page.split('<td data-name="ready">')[1:]
    return [cell.partition("</span>")[0].rpartition(">")[2] for cell in cells]


async def status_of(here: Site) -> dict[str, Any]:
    answer = await here.get("/api/status")
    assert answer.status_code == 200
    return dict(answer.json())


@pytest.mark.parametrize("age_s", AGES_S)
async def test_a_read_only_database_is_the_headline_and_no_service_is_called_ready_or_silent(
    here: Site, conditions: DatabaseConditions, age_s: int
) -> None:
    await no_reports(conditions, here, age_s)
    page = await page_of(here)
    assert CAUSE in headline(page)
    assert ready_cells(page) == ["no", *["unknown"] * 5], "this gateway knows its own state"
    ages_s = [int(age) for age in re.findall(r"unknown for (\d+) s", page)]
    assert len(ages_s) == 5
    assert all(age_s <= age < age_s + 20 for age in ages_s), "the age of the last report"
    assert "default_transaction_read_only is on" in page


@pytest.mark.parametrize("age_s", AGES_S)
async def test_the_status_of_services_that_cannot_report_is_degraded_with_the_cause(
    here: Site, conditions: DatabaseConditions, age_s: int
) -> None:
    await no_reports(conditions, here, age_s)
    said = await status_of(here)
    assert said["status"] == "degraded"
    assert set(said["service_status"].values()) == {"degraded"}
    assert {row["service"] for row in said["services"]} == set(SERVICES)
    for row in said["services"]:
        assert not row["ready"]
        own = row["service"] == "gateway"
        assert row["reason"].startswith("PostgreSQL accepts no writes (" if own else "Unknown for ")
        assert own or CAUSE in row["reason"]
        assert age_s <= row["age_s"] < age_s + 20, "the age of the last report"
    health = await here.get("/health/event-indexer")
    assert (health.status_code, health.json()["status"]) == (200, "degraded")


async def test_the_gateway_that_answers_is_listed_though_it_could_never_report(
    here: Site, conditions: DatabaseConditions
) -> None:
    await conditions.execute("DELETE FROM service_status")
    await no_reports(conditions, here, 0)
    said = await status_of(here)
    [own] = said["services"]
    assert (own["service"], own["instance"], own["seen_at"]) == ("gateway", this_instance(), None)
    assert set(said["service_status"].values()) == {"degraded"}
    assert ready_cells(await page_of(here)) == ["no", *["unknown"] * 5]


async def test_reports_that_fail_in_a_writable_database_are_unknown_too(here: Site) -> None:
    """Such as behind a lock: the gateway that answers would have reported, too."""
    await here.pool.execute("UPDATE service_status SET seen_at = now() - interval '40 seconds'")
    page = await page_of(here)
    assert "Reports of services cannot be stored: no process has reported for 4" in headline(page)
    assert ready_cells(page) == [*["unknown"] * 5, "yes"]
    said = await status_of(here)
    assert set(said["service_status"].values()) == {"degraded"}
    assert [row["ready"] for row in said["services"] if row["service"] == "gateway"] == [True]


async def test_reports_count_again_as_soon_as_they_are_stored(
    here: Site, conditions: DatabaseConditions
) -> None:
    await no_reports(conditions, here, 39)
    await conditions.reset(READ_ONLY)
    await until(lambda: is_answered(here))
    for name in list(SERVICES)[1:]:
        instance = this_instance() if name == "gateway" else "here:1"
        await service_status.report(here.pool, name, instance, True, "", {})
    silent = next(iter(SERVICES))
    assert f"{silent} not ready" in headline(await page_of(here))
    said = await status_of(here)
    assert said["service_status"] == {**dict.fromkeys(SERVICES, "ok"), silent: "down"}


async def test_a_stand_by_is_named_until_it_is_promoted_and_the_relay_waits_once(
    tmp_path: Path, redis_url: str
) -> None:
    """DATABASE_URL leads to one host, which comes back as a stand-by."""
    server, redis = (
        Postgres(tmp_path / "postgres", free_port(), durable=False),
        redis_client.connect(redis_url),
    )
    await asyncio.to_thread(server.start)
    try:
        database_url = await asyncio.to_thread(server.create_database, "promoted")
        await asyncio.to_thread(migrate.upgrade, database_url)
        async with site(database_url) as here:
            relay = FeedRelay(database_url, redis, keep_hours=24, on_commit=lambda: None)
            relaying = asyncio.create_task(relay.run())
            await until(lambda: relay.leading)
            for name in SERVICES:
                await service_status.report(here.pool, name, "here:1", True, "", {})
            await asyncio.to_thread(server.stop)
            (server.data / "standby.signal").touch()
            await asyncio.to_thread(server.start)
            await until(lambda: is_answered(here))
            assert CAUSE in headline(await page_of(here))
            assert set((await status_of(here))["service_status"].values()) == {"degraded"}
            with capture_logs() as lines:
                await until(lambda: relay.outages.reason, lambda said: "accepts no writes" in said)
                await asyncio.sleep(3)  # several retries
                await here.pool.fetchval("SELECT pg_promote(true, 20)")
                await until(lambda: relay.leading, within_s=20)
            about = [line["event"] for line in lines if "The feed relay" in line["event"]]
            assert about[-1] == "The feed relay continues"
            assert about.count("The feed relay continues") == 1
            await service_status.report(here.pool, "gateway", this_instance(), True, "", {})
            assert CAUSE not in headline(await page_of(here))
            await end([relaying])
    finally:
        await redis.aclose()
        await asyncio.to_thread(server.stop)
        server.erase()


async def test_a_report_of_a_clock_that_was_set_back_hides_no_other(
    here: Site, conditions: DatabaseConditions
) -> None:
    """A wrong clock of the database's host: a report from before it was set back lies in the future."""
    await conditions.execute(
        "UPDATE service_status SET seen_at = now() + interval '3 hours' WHERE service = 'indexer'"
    )
    assert ready_cells(await page_of(here)) == ["yes"] * len(SERVICES)
