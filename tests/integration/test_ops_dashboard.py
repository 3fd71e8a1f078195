"""Tests that the dashboard shows at one look what is wrong."""

import asyncio
import math
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from kit.tcp_proxy import TcpProxy
from zmart.feed import redis_client
from zmart.ops import redis_watch
from zmart.ops.dashboard import Dashboard
from zmart.ops.probes import Probes
from zmart.ops.process_cards import database_card
from zmart.services.contract import SERVICES, AsgiApp, ProbeMiddleware
from zmart.settings import Settings, load_settings
from zmart.store import service_status
from zmart.store.metrics import PoolTotals
from zmart.store.pool import Pool
from zmart.version import VERSION, commit


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
        status, page = await dashboard.page()
    finally:
        await dashboard.close()
    assert status == 200
    return page


def _headline(page: str) -> str:
    return page.partition("<h1>")[2].partition("</h1>")[0]


async def test_six_ready_services_are_healthy(settings: Settings) -> None:
    async with _database(settings) as pool:
        for name in SERVICES:
            await service_status.report(pool, name, "here:1", True, "", {"lag": 0})
    page = await _page(settings)
    assert "healthy" in page
    assert "silent" not in page


def _card(page: str, name: str) -> str:
    return re.sub(r"<[^>]*>", "", page.partition(f">{name}</span>")[2].partition("</li>")[0])


async def test_the_release_the_connections_and_redis_are_on_the_page(
    settings: Settings, redis_url: str
) -> None:
    """P22: build information, the pool of connections and Redis, which /metrics has, are on the dashboard, too."""
    redis_watch.up.set(math.nan)
    assert _card(await _page(settings), "Redis") == "unknown"
    async with _database(settings) as pool, pool.acquire():
        page = await _page(settings)
    assert _card(page, "version") == VERSION
    assert _card(page, "commit") == commit()
    in_use, limit = re.fullmatch(r"(\d+) of (\d+)", _card(page, "database connections in use")).groups()  # type: ignore[union-attr]
    assert 1 <= int(in_use) < int(limit)
    client = redis_client.connect(redis_url, connections=1)
    try:
        await redis_watch.ping(client)
    finally:
        await client.aclose()
    assert re.fullmatch(r"up, \d+\.\d ms", _card(await _page(settings), "Redis"))


async def test_the_release_and_redis_are_on_the_page_while_the_database_cannot_be_read() -> None:
    client = redis_client.connect("redis://127.0.0.1:9", connections=1)
    try:
        await redis_watch.ping(client)
    finally:
        await client.aclose()
    dashboard = Dashboard(load_settings(database_url="postgresql://u@127.0.0.1:9/d"))
    try:
        status, page = await dashboard.page()
    finally:
        await dashboard.close()
    assert status == 503
    assert (_card(page, "version"), _card(page, "Redis")) == (VERSION, "does not answer")


@pytest.mark.parametrize(
    ("totals", "shown"),
    [
        (PoolTotals(in_use=0, idle=0, limit=0, waiting=0), ("unknown", "")),
        (PoolTotals(in_use=3, idle=1, limit=12, waiting=0), ("3 of 12", "")),
        (PoolTotals(in_use=12, idle=0, limit=12, waiting=5), ("12 of 12, 5 waiting", "warn")),
    ],
)
def test_callers_that_wait_for_a_connection_are_named(totals: PoolTotals, shown: tuple[str, str]) -> None:
    card = database_card(totals)
    assert (card.value, card.tone) == shown


async def test_a_silent_service_is_the_headline(settings: Settings) -> None:
    async with _database(settings) as pool:
        for name in SERVICES:
            await service_status.report(pool, name, "here:1", True, "", {})
        await pool.execute(
            "UPDATE service_status SET seen_at = now() - interval '1 minute' WHERE service = 'monitor'"
        )
    page = await _page(settings)
    assert "monitor not ready" in page
    assert re.search(r"no report for 6\d s: see", page)
    assert re.search(r">6\d s ago<", page)


async def test_a_silent_service_shows_the_age_of_its_last_report_however_old_that_is(
    settings: Settings,
) -> None:
    async with _database(settings) as pool:
        for name in list(SERVICES)[:-1]:
            await service_status.report(pool, name, "here:1", True, "", {})
        await pool.execute(
            "UPDATE service_status SET seen_at = now() - interval '1 hour' WHERE service = 'monitor'"
        )
    page = await _page(settings)
    assert re.search(r"no report for 36\d\d s: see", page)
    assert "<td>no report: see `zmart ps`</td>" in page, "of a service that never reported"


async def test_what_a_ready_service_lacks_is_no_headline_over_a_critical_alert(settings: Settings) -> None:
    async with _database(settings) as pool:
        for name in SERVICES:
            reason = "1 of 2 workers do not run." if name == "gateway" else ""
            await service_status.report(pool, name, "here:1", True, reason, {})
        assert "1 of 2 workers do not run" in _headline(await _page(settings))
        await pool.execute(
            "INSERT INTO alerts (key, severity, message) VALUES ('payer low:x', 'critical', 'The payer is empty')"
        )
    assert "The payer is empty" in _headline(await _page(settings))


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


# ------------------------------------------------------------------------------------- while it cannot read the state


@asynccontextmanager
async def _dashboard_behind(proxy: TcpProxy) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the dashboard as the gateway serves it, with its database behind `proxy`."""
    dashboard = Dashboard(load_settings(database_url=proxy.url))
    probes = Probes(NoRoutes(), dashboard)
    try:
        transport = httpx.ASGITransport(app=probes)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            yield http
    finally:
        await probes.close()


class NoRoutes:
    """A stand-in for a service without routes of its own."""

    name = "gateway"

    def asgi(self, probes: ProbeMiddleware) -> AsgiApp:
        return probes(None)


async def _says_what_is_away(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(2):
        answer = await http.get("/dashboard")
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"].startswith("text/html")
    assert "PostgreSQL" in answer.text
    assert "unknown while they cannot be read" in answer.text


async def test_a_database_that_is_away_is_said_on_the_page_with_503(database_url: str) -> None:
    """C7, C25: while the database hangs or refuses connections, the page says so within two seconds, with 503."""
    async with TcpProxy.before(database_url) as proxy, _dashboard_behind(proxy) as http:
        assert (await http.get("/dashboard")).status_code == 200
        proxy.hang()
        await _says_what_is_away(http)
        await _says_what_is_away(http)
        await proxy.restore()
        assert (await http.get("/dashboard")).status_code == 200
        proxy.refuse()
        await _says_what_is_away(http)
        await _says_what_is_away(http)
        await proxy.restore()
        assert (await http.get("/dashboard")).status_code == 200


async def test_a_connection_that_is_cut_in_the_middle_is_said_on_the_page(database_url: str) -> None:
    """C7, C25: a connection that is cut after any number of bytes gives the whole page, or a 503 that says so."""
    async with TcpProxy.before(database_url) as proxy:
        statuses = []
        for most in range(2_000, 62_000, 8_501):
            proxy.cut_after_bytes = most
            async with _dashboard_behind(proxy) as http:
                statuses.append((await http.get("/dashboard")).status_code)
                if statuses[-1] == 503:
                    await _says_what_is_away(http)
        assert statuses[0] == 503
        assert statuses[-1] == 200
        assert set(statuses) == {503, 200}
