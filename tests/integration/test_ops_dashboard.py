"""One look at the dashboard tells what is wrong."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from zmart.ops.dashboard import Dashboard
from zmart.services.contract import SERVICES
from zmart.settings import Settings, load_settings
from zmart.store import service_status
from zmart.store.pool import Pool


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[Pool]:
    pool = await Pool.open(settings.require("database_url"), size=1)
    try:
        yield pool
    finally:
        await pool.close()


@pytest.fixture
def settings(database_url: str) -> Settings:
    return load_settings(database_url=database_url)


async def _page(settings: Settings) -> str:
    dashboard = Dashboard(settings)
    try:
        return await dashboard.page()
    finally:
        await dashboard.close()


async def test_six_ready_services_are_healthy(settings: Settings) -> None:
    async with _database(settings) as pool:
        for name in SERVICES:
            await service_status.report(pool, name, "here:1", True, "", {"lag": 0})
    page = await _page(settings)
    assert "healthy" in page
    assert "silent" not in page


async def test_a_silent_service_is_the_headline(settings: Settings) -> None:
    async with _database(settings) as pool:
        for name in SERVICES:
            await service_status.report(pool, name, "here:1", True, "", {})
        await pool.execute(
            "UPDATE service_status SET seen_at = now() - interval '1 minute' WHERE service = 'monitor'"
        )
    page = await _page(settings)
    assert "monitor not ready" in page
    assert "no report for 20 s" in page


async def test_the_reason_and_the_open_alerts_are_shown_as_text(settings: Settings) -> None:
    async with _database(settings) as pool:
        for name in SERVICES:
            await service_status.report(pool, name, "here:1", name != "indexer", "a <gap> at slot 7", {})
        await pool.execute(
            "INSERT INTO alerts (key, severity, message) VALUES ('k', 'critical', '<b>low</b>')"
        )
    page = await _page(settings)
    assert "a &lt;gap&gt; at slot 7" in page
    assert "&lt;b&gt;low&lt;/b&gt;" in page


async def test_a_database_that_is_away_is_said_on_the_page() -> None:
    page = await _page(load_settings(database_url="postgresql://postgres@127.0.0.1:1/none"))
    assert "PostgreSQL does not answer" in page
