"""C21: tests that the status, the dashboard and an alert say so while Redis is unavailable and nobody can sign in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from kit.gateway import Site, site
from kit.services import running_service
from kit.tcp_proxy import TcpProxy
from kit.waiting import until
from kit.wallets import wallet
from zmart.errors import Unavailable
from zmart.feed.redis_client import RedisClient
from zmart.ops.dashboard import Dashboard
from zmart.services.contract import SERVICES
from zmart.services.gateway import sign_in_watch
from zmart.services.gateway.sign_in_watch import SignInWatch
from zmart.settings import load_settings
from zmart.store import alerts, service_status
from zmart.store.pool import Pool


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


class Gateways:
    """The watches of two gateways of one deployment, each before a Redis of its own that may fail."""

    def __init__(self, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sign_in_watch, "ALERT_AFTER_S", 0.0)
        self.pool = pool
        self.failing = [False, False]
        self.watches = [self.started(0), self.started(1)]

    def started(self, number: int, renewed_every_s: float = 0.0) -> SignInWatch:
        async def write(*_: object, **__: object) -> None:
            if self.failing[number]:
                raise Unavailable("Redis is unavailable.")

        redis = cast("RedisClient", SimpleNamespace(set=write))
        return SignInWatch(self.pool, redis, renewed_every_s=renewed_every_s)

    async def turn(self, number: int) -> None:
        for _ in range(2):  # the first failure in a row is no outage
            await self.watches[number]._turn()

    async def alerts(self) -> list[int]:
        """Return how often the alert was raised, if it is open."""
        return [alert.times for alert in await alerts.open_alerts(self.pool)]

    async def pass_time(self, seconds: int) -> None:
        await self.pool.execute("UPDATE alerts SET last_at = last_at - make_interval(secs => $1)", seconds)


@pytest.fixture
def gateways(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> Gateways:
    return Gateways(pool, monkeypatch)


@pytest.mark.parametrize("first", [0, 1])
async def test_the_alert_stays_while_one_of_two_gateways_cannot_write(gateways: Gateways, first: int) -> None:
    """Whichever of them raised it first, or last."""
    gateways.failing = [True, True]
    await gateways.turn(0)
    await gateways.turn(1)
    times = await gateways.alerts()
    gateways.failing[first] = False
    gateways.watches[first]._renewed_every_s = 30.0
    await gateways.turn(first)
    assert await gateways.alerts() == times
    await gateways.turn(1 - first)
    gateways.failing[1 - first] = False
    await gateways.pass_time(91)
    gateways.watches[1 - first]._renewed_every_s = 30.0
    await gateways.turn(1 - first)
    assert await gateways.alerts() == []


async def test_the_alert_is_raised_again_while_the_failure_lasts(gateways: Gateways) -> None:
    gateways.failing[1] = True
    for times in (1, 2, 3):
        await gateways.watches[1]._turn()
        await gateways.watches[1]._turn()
        assert (await gateways.alerts())[0] >= times


async def test_the_alert_of_a_gateway_that_is_gone_is_closed_by_another(gateways: Gateways) -> None:
    """The process that raised it may have been killed, and replaced by one of another name."""
    gateways.watches[1] = gateways.started(1, 10.0)
    gateways.failing[0] = True
    await gateways.turn(0)
    await gateways.turn(1)
    assert len(await gateways.alerts()) == 1, "its gateway raised it a moment ago"
    gateways.watches[1] = gateways.started(1, 10.0)
    await gateways.pass_time(31)
    await gateways.turn(1)
    assert await gateways.alerts() == []
