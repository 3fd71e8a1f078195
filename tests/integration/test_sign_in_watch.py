"""C21: tests that the status, the dashboard and an alert say so while Redis is unavailable and nobody can sign in."""

from __future__ import annotations

import pytest

from kit.gateway import Site, site
from kit.services import running_service
from kit.tcp_proxy import TcpProxy
from kit.waiting import until
from kit.wallets import wallet
from zmart.ops.dashboard import Dashboard
from zmart.services.contract import SERVICES
from zmart.settings import load_settings
from zmart.store import alerts, service_status


async def report(here: Site) -> None:
    """Store the gateway's readiness, as its host does, and all other services as ready."""
    for name in SERVICES:
        await service_status.report(here.pool, name, "here:1", True, "", {})
    said = await here.gateway.readiness()
    await service_status.report(here.pool, "gateway", "here:1", said.ready, said.reason, said.details)


async def status_of(here: Site) -> tuple[str, str]:
    await report(here)
    answer = (await here.get("/api/status")).json()
    return answer["status"], answer["service_status"]["gateway"]


async def page_of(database_url: str) -> str:
    dashboard = Dashboard(load_settings(database_url=database_url))
    try:
        return (await dashboard.page())[1]
    finally:
        await dashboard.close()


@pytest.mark.parametrize("how", ["refuse", "hang"])
async def test_that_nobody_can_sign_in_is_said_until_it_is_over(
    database_url: str, redis_url: str, how: str
) -> None:
    async with (
        TcpProxy.before(redis_url) as redis,
        site(database_url, redis.url) as here,
        running_service(here.gateway),
    ):
        assert await here.sign_in(wallet(1))
        assert await status_of(here) == ("ok", "ok")
        getattr(redis, how)()
        said = await until(here.gateway.readiness, lambda said: said.reason)
        assert said.ready, "reads and sessions go on"
        assert said.reason.startswith("Redis is unavailable")
        assert "Nobody can sign in" in said.reason
        assert await status_of(here) == ("degraded", "degraded")
        assert "gateway: Redis is unavailable" in await page_of(database_url)
        opened = await until(lambda: alerts.open_alerts(here.pool))
        assert [(alert.key, alert.severity) for alert in opened] == [("sign-in", "critical")]
        assert "Nobody can sign in" in opened[0].message
        await redis.restore()
        await until(lambda: alerts.open_alerts(here.pool), lambda opened: opened == [])
        assert await status_of(here) == ("ok", "ok")
        assert await here.sign_in(wallet(1))
