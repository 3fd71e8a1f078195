"""I6: tests of a webhook that Helius switched off (shown, alerted, switched on) and of failures to list webhooks."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from kit import http_servers
from kit.providers import API_KEY, SECRET, Endpoint, Trader, listening, providers_on, settings_of
from kit.services import running_service
from kit.waiting import until
from zmart.chain.helius import HeliusClient, HeliusError
from zmart.chain.rpc import Rpc
from zmart.local.processes import free_port
from zmart.local.providers import metrics
from zmart.local.providers.process import DEFAULT_WEBHOOK_ID
from zmart.services.indexer.service import Indexer
from zmart.services.indexer.wake_signal import WakeSignal
from zmart.services.indexer.webhook_watch import WebhookWatch
from zmart.settings import Settings
from zmart.store import alerts
from zmart.store.retrying import Outages

ONE = f"/v0/webhooks/{DEFAULT_WEBHOOK_ID}"
URL = "https://example.org/api/webhooks/helius"


@pytest.fixture
def endpoint():
    return Endpoint(free_port())


@pytest.fixture
def settings(tmp_path, local_chain, endpoint):
    program = local_chain.program.address
    return settings_of(tmp_path, local_chain, free_port(), endpoint.port, solana_program_id_core=program)


@pytest.fixture
async def trader(local_chain):
    async with Rpc([local_chain.rpc_url]) as rpc:
        yield await Trader(local_chain, rpc).prepare()


async def test_an_endpoint_that_keeps_failing_is_switched_off_and_register_switches_it_on(
    settings, endpoint, local_chain, trader
):
    """I6: a webhook that keeps failing is switched off, and `register` switches it on with a new period of grace.

    Helius documents both.
    """
    second = Endpoint(free_port())
    endpoint.status = lambda: 500
    addresses = [local_chain.program.address]

    async def is_off():
        return not (await http.get(ONE)).json()["active"]

    async with (
        listening(endpoint),
        listening(second),
        providers_on(settings, disable_after=2) as http,
        HeliusClient.from_settings(settings) as helius,
    ):
        other = await helius.register(second.url, addresses, SECRET, "raw")
        for _ in range(2):
            await drop_one(trader)
        await until(is_off)
        posts = len(endpoint.bodies)
        received = await trader.propose()
        await until(lambda: received in second.signatures())
        assert (len(endpoint.bodies), other.webhook.active) == (posts, True)
        revived = await helius.register(endpoint.url, addresses, SECRET, "raw")
        assert (revived.is_new, revived.is_reactivated, revived.webhook.active) == (False, True, True)
        assert len(await helius.webhooks()) == 2
        for _ in range(3):
            await drop_one(trader)
        assert not await is_off()


async def test_an_inactive_webhook_of_ours_alerts_until_it_is_switched_on(settings, pool):
    """I6: the indexer's own webhook raises an alert while it is inactive.

    Another webhook raises none, and an error of Helius leaves the alert open.
    """
    watch = WebhookWatch(pool, settings)
    async with providers_on(settings) as http, HeliusClient.from_settings(settings) as helius:
        await watch.check()
        assert await open_alerts(pool) == []
        other = await helius.register(URL, ["1" * 32], SECRET, "raw")
        await http.patch(f"/v0/webhooks/{other.webhook.webhook_id}", json={"active": False})
        await watch.check()
        assert await open_alerts(pool) == []
        await http.patch(ONE, json={"active": False})
        await watch.check()
        [text] = await open_alerts(pool)
        assert DEFAULT_WEBHOOK_ID in text
        assert "`zmart webhook register`" in text
    with pytest.raises(HeliusError):
        await watch.check()
    assert await open_alerts(pool) == [text]
    async with providers_on(settings):
        await watch.check()
    assert await open_alerts(pool) == []


async def test_the_indexer_looks_by_itself_where_it_has_a_key(settings, pool, database_url):
    """I6: an indexer with an API key checks its webhook by itself, but not without a key or with an interval of 0."""
    quick = {"helius_check_interval_s": 0.05, "database_url": SecretStr(database_url)}
    indexer = await Indexer.open(settings.model_copy(update=quick))
    async with running_service(indexer), providers_on(settings) as http:
        await http.patch(ONE, json={"active": False})
        await until(lambda: _has_alert(pool))
    never = Settings(_env_file=None, helius_api_key=API_KEY, helius_check_interval_s=0)
    for idle in (never, Settings(_env_file=None)):
        await asyncio.wait_for(WebhookWatch(pool, idle).run(WakeSignal(asyncio.Event()), Outages()), 5)


MALFORMED = [
    (200, b'{"error": {"code": -32602, "message": "Invalid params"}}'),
    (200, b'{"webhooks": []}'),
    (200, b"<html>maintenance</html>"),
    (200, b""),
    (200, b"null"),
    (200, b'[{"webhookURL": "https://example.org/api/webhooks/helius"}]'),
    (200, b'[{"webhookID": "", "webhookURL": "https://example.org/x"}]'),
    (200, b'[{"webhookID": "a", "webhookURL": "https://example.org/x", "active": "no"}]'),
    (200, b"[[]]"),
    (204, b""),
    (302, b""),
    (402, b'{"error": "max usage reached"}'),
    (429, b"[]"),
    (500, b"[]"),
]


@pytest.mark.parametrize(("status", "body"), MALFORMED)
async def test_a_listing_that_is_none_leads_to_no_second_registration(status, body):
    """I6: an answer that is no list of webhooks is a failure, never an empty list, so nothing is registered again."""
    async with scripted(status, body) as (url, requested), HeliusClient(url, API_KEY) as helius:
        with pytest.raises(HeliusError):
            await helius.webhooks()
        with pytest.raises(HeliusError):
            await helius.register(URL, ["1" * 32], SECRET, "raw")
    assert set(requested) == {"GET"}


async def test_fields_of_a_listing_that_are_not_known_are_ignored():
    """I6: unknown fields of a webhook are ignored, since Helius adds fields, and `active` is None if it is missing."""
    known = b'{"webhookID": "a", "webhookURL": "https://example.org/x", "project": "p", "new": {"x": [1]}}'
    async with scripted(200, b"[" + known + b"]") as (url, _), HeliusClient(url, API_KEY) as helius:
        [webhook] = await helius.webhooks()
    assert (webhook.webhook_id, webhook.active, webhook.account_addresses) == ("a", None, None)


def test_the_present_host_of_the_api_is_the_default():
    """I6: the default of HELIUS_API_URL is the present host of the API."""
    assert Settings(_env_file=None).helius_api_url == "https://api-mainnet.helius-rpc.com"


@asynccontextmanager
async def scripted(status, body):
    """Serve one answer to every request; yield the server's URL and the list of the requests' methods."""
    requested = []

    async def app(scope, receive, send):
        requested.append(scope["method"])
        headers = [(b"content-length", str(len(body)).encode())]
        headers += [(b"location", b"https://example.org")] if status == 302 else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async with http_servers.serving(app) as url:
        yield url, requested


async def open_alerts(pool):
    return [alert.message for alert in await alerts.open_alerts(pool)]


async def _has_alert(pool):
    return bool(await open_alerts(pool))


async def drop_one(trader):
    """Send a transaction and wait until its delivery is given up."""
    before = metrics.HINTS.labels("dropped")._value.get()
    await trader.propose()
    await until(lambda: metrics.HINTS.labels("dropped")._value.get() > before)
