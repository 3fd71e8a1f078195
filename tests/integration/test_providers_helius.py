"""Tests of the local Helius: webhooks get transactions in their raw shape, retries end, and registrations stay."""

from __future__ import annotations

import asyncio
import itertools

import httpx
import msgspec
import pytest

from kit.providers import API_KEY, SECRET, Endpoint, Trader, listening, providers_on, settings_of
from kit.waiting import until
from zmart.chain.event_extraction import extract_events
from zmart.chain.helius import WEBHOOK_PATH, HeliusClient, HeliusError
from zmart.chain.rpc import Rpc
from zmart.chain.transactions import parse_transaction
from zmart.chain.webhooks import parse_webhook
from zmart.local.processes import free_port
from zmart.local.providers import metrics
from zmart.local.providers.helius.delivery import RETRIES, WebhookPoster
from zmart.local.providers.helius.payloads import TransactionSource
from zmart.local.providers.helius.registry import RegisteredWebhook
from zmart.local.providers.process import DEFAULT_WEBHOOK_ID
from zmart.services.webhook import PATH

TOO_SMALL = 1


@pytest.fixture
def endpoint():
    return Endpoint(free_port())


@pytest.fixture
def settings(tmp_path, local_chain, endpoint):
    return settings_of(tmp_path, local_chain, free_port(), endpoint.port)


@pytest.fixture
async def rpc(local_chain):
    async with Rpc([local_chain.rpc_url]) as rpc:
        yield rpc


@pytest.fixture
async def trader(local_chain, rpc):
    return await Trader(local_chain, rpc).prepare()


def delivered(endpoint, *signatures):
    async def condition():
        return set(signatures) <= set(endpoint.signatures())

    return until(condition)


def outcome(name):
    return metrics.HINTS.labels(name)._value.get()


def webhook_of(endpoint, program, **changes):
    order = RegisteredWebhook(
        webhook_id="w",
        webhook_url=endpoint.url,
        transaction_types=["ANY"],
        account_addresses=[program.address],
        webhook_type="raw",
        auth_header=SECRET,
        txn_status="all",
    )
    return msgspec.structs.replace(order, **changes)


async def test_the_local_stack_has_the_indexer_registered_without_a_command(settings, endpoint, local_chain):
    async with providers_on(settings) as http:
        [webhook] = (await http.get("/v0/webhooks")).json()
    assert webhook["webhookID"] == DEFAULT_WEBHOOK_ID
    assert webhook["webhookURL"] == endpoint.url
    assert webhook["accountAddresses"] == [local_chain.program.address]
    assert (webhook["webhookType"], webhook["authHeader"]) == ("raw", SECRET)


def test_the_path_of_deliveries_is_the_one_that_the_indexer_serves():
    assert WEBHOOK_PATH == PATH


async def test_a_transaction_arrives_as_helius_posts_it_and_as_the_indexer_reads_it(
    settings, endpoint, local_chain, rpc, trader
):
    async with listening(endpoint), providers_on(settings):
        signatures = [await trader.propose() for _ in range(5)]
        await delivered(endpoint, *signatures)
        clock = await rpc.get_clock()
    assert endpoint.authorizations == {SECRET.encode()}
    for element in endpoint.elements():
        assert set(element) == {"blockTime", "indexWithinBlock", "meta", "slot", "transaction", "version"}
        assert abs(element["blockTime"] - clock.unix_timestamp) < 30
        block = await rpc.get_block_signatures(element["slot"])
        assert block[element["indexWithinBlock"]] == element["transaction"]["signatures"][0]
    [item] = [
        each for body in endpoint.bodies for each in parse_webhook(body) if each.signature == signatures[0]
    ]
    transaction = parse_transaction(item.raw)
    [event] = extract_events(local_chain.program, transaction).events
    assert type(event.event).__name__ == "MarketCreated"


async def test_a_failed_transaction_is_told_by_raw_webhooks_and_not_by_enhanced_ones(
    settings, endpoint, local_chain, trader
):
    second = Endpoint(free_port())
    async with listening(endpoint), listening(second), providers_on(settings) as http:
        order = {
            "webhookURL": second.url,
            "transactionTypes": ["ANY"],
            "accountAddresses": [local_chain.program.address],
            "webhookType": "enhanced",
        }
        assert (await http.post("/v0/webhooks", json=order)).status_code == 200
        failed = await trader.propose(TOO_SMALL)
        landed = await trader.propose()
        await delivered(endpoint, failed, landed)
        await delivered(second, landed)
    assert failed not in second.signatures()
    assert second.authorizations == {b""}
    items = {item.signature: item for body in second.bodies for item in parse_webhook(body)}
    assert items[landed].raw is None
    assert items[landed].slot > 0
    raw = {item.signature: item for body in endpoint.bodies for item in parse_webhook(body)}
    assert (raw[failed].failed, raw[landed].failed) == (True, False)


async def test_a_refused_delivery_is_tried_again_three_times_and_then_forgotten(settings, endpoint, trader):
    statuses = itertools.chain([500, 404, 503, 200], itertools.repeat(500))
    endpoint.status = lambda: next(statuses)
    dropped = outcome("dropped")
    async with listening(endpoint), providers_on(settings):
        await trader.propose()
        await until(lambda: endpoint.answers == [500, 404, 503, 200])
        await trader.propose()
        await until(lambda: outcome("dropped") == dropped + 1)
        assert endpoint.answers[4:] == [500] * (1 + RETRIES)
        endpoint.status = lambda: 200
        await delivered(endpoint, await trader.propose())


async def test_403_ends_it_at_once(settings, endpoint, trader):
    endpoint.status = lambda: 403
    dropped = outcome("dropped")
    async with listening(endpoint), providers_on(settings):
        await trader.propose()
        await until(lambda: outcome("dropped") == dropped + 1)
    assert endpoint.answers == [403]


async def test_an_endpoint_that_is_away_loses_hints_and_nothing_else(settings, endpoint, trader):
    dropped = outcome("dropped")
    async with providers_on(settings) as http:
        lost = await trader.propose()
        await until(lambda: outcome("dropped") == dropped + 1)
        async with listening(endpoint):
            await delivered(endpoint, await trader.propose())
        assert (await http.get("/ready")).status_code == 200
    assert lost not in endpoint.signatures()


async def test_a_slow_endpoint_costs_no_more_than_a_bounded_queue(local_chain, endpoint, trader):
    signatures = [await trader.propose() for _ in range(3)]
    overflow = outcome("overflow")
    async with Rpc([local_chain.rpc_url]) as rpc, httpx.AsyncClient() as http:
        webhook = webhook_of(endpoint, local_chain.program)
        source = TransactionSource(rpc)
        delivery = WebhookPoster(webhook, source, http, queue_max=2, concurrency=1, retry_gap_s=0.05)
        for signature in signatures * 2:
            delivery.offer(signature)
        assert outcome("overflow") == overflow + 1
        async with listening(endpoint):
            await delivered(endpoint, *signatures[:2])
        await delivery.close()
    assert endpoint.signatures() == signatures[:2]


async def test_a_transaction_that_the_node_does_not_have_is_passed_over(local_chain, endpoint):
    unfindable = outcome("unfindable")
    async with Rpc([local_chain.rpc_url]) as rpc, httpx.AsyncClient() as http:
        delivery = WebhookPoster(
            webhook_of(endpoint, local_chain.program), TransactionSource(rpc, 0.001), http
        )
        delivery.offer("5" * 88)
        await until(lambda: outcome("unfindable") == unfindable + 1)
        await delivery.close()
    assert not endpoint.bodies


async def test_a_block_that_is_still_closing_is_asked_for_again(rpc, trader, monkeypatch):
    signature = await trader.propose()
    whole, requested = rpc.get_block_signatures, itertools.count()

    async def closing(slot):
        return await whole(slot) if next(requested) >= 2 else None

    monkeypatch.setattr(rpc, "get_block_signatures", closing)
    assert await TransactionSource(rpc, 0.001).fetch(signature) is not None
    assert next(requested) >= 3


async def test_surfpools_own_block_time_is_put_right(rpc, trader):
    signature = await trader.propose()
    source = TransactionSource(rpc)
    result = await source.fetch(signature)
    clock = await rpc.get_clock()
    assert abs(result.block_time - clock.unix_timestamp) < 30
    for unusable in (None, clock.unix_timestamp // 1000):
        assert abs(await source._time(unusable) - clock.unix_timestamp) < 30


async def test_registrations_outlive_the_process(settings, endpoint):
    order = {
        "webhookURL": "https://example.org/x",
        "transactionTypes": ["ANY"],
        "accountAddresses": ["1" * 32],
    }
    async with providers_on(settings) as http:
        stored = (await http.post("/v0/webhooks", json=order)).json()
        gone = (await http.post("/v0/webhooks", json=order)).json()
        assert (await http.delete(f"/v0/webhooks/{gone['webhookID']}")).status_code == 204
        change = {"webhookURL": "https://example.org/y", "txnStatus": "success"}
        changed = (await http.put(f"/v0/webhooks/{stored['webhookID']}", json=change)).json()
        assert changed == stored | change
    async with providers_on(settings) as http:
        assert [each["webhookID"] for each in (await http.get("/v0/webhooks")).json()] == [
            DEFAULT_WEBHOOK_ID,
            stored["webhookID"],
        ]
        assert (await http.get(f"/v0/webhooks/{stored['webhookID']}")).json() == changed


async def test_a_webhook_for_another_address_hears_of_it_alone(settings, endpoint, local_chain, rpc, trader):
    second = Endpoint(free_port())
    order = {
        "webhookURL": second.url,
        "transactionTypes": ["ANY"],
        "accountAddresses": [str(trader._wallet.pubkey())],
    }
    other = await Trader(local_chain, rpc).prepare()
    async with listening(endpoint), listening(second), providers_on(settings) as http:
        await http.post("/v0/webhooks", json=order)
        await until(lambda: _status(http, "/ready", 200))
        theirs, ours = await other.propose(), await trader.propose()
        await delivered(endpoint, theirs, ours)
        await delivered(second, ours)
        assert theirs not in second.signatures()


@pytest.mark.parametrize(
    "change",
    [
        {"webhookURL": "ftp://example.org"},
        {"webhookURL": "https://example.org/\n"},
        {"accountAddresses": []},
        {"accountAddresses": ["no address"]},
        {"accountAddresses": ["1" * 32] * 17},
        {"transactionTypes": []},
        {"transactionTypes": "ANY"},
        {"webhookType": "discord"},
        {"authHeader": "two\r\nlines"},
        {"txnStatus": "some"},
        {"encoding": 1},
        {"encoding": "two words"},
        {"active": True},
        {"typo": 1},
    ],
)
async def test_a_wrong_order_is_refused_with_its_field(settings, change):
    order = {
        "webhookURL": "https://example.org/x",
        "transactionTypes": ["ANY"],
        "accountAddresses": ["1" * 32],
    }
    async with providers_on(settings) as http:
        answer = await http.post("/v0/webhooks", json=order | change)
        assert answer.status_code == 400
        [field] = change
        assert field.lower() in answer.json()["error"].lower().replace("_", "")
        assert len((await http.get("/v0/webhooks")).json()) == 1


async def test_a_wrong_key_opens_nothing(settings):
    async with providers_on(settings) as http:
        for params in ({"api-key": "another"}, {"api-key": ""}):
            assert (await http.get("/v0/webhooks", params=params)).status_code == 401
        assert (await http.post("/v0/webhooks", content=b"{")).status_code == 400
        assert (await http.post("/v0/webhooks", content=b" " * 70_000)).status_code == 413
        assert (await http.patch("/v0/webhooks")).status_code == 405
        one = f"/v0/webhooks/{DEFAULT_WEBHOOK_ID}"
        for body in (
            {},
            {"active": 1},
            {"active": "true"},
            {"active": None},
            {"active": False, "typo": 1},
            [],
        ):
            assert (await http.patch(one, json=body)).status_code == 400
        assert (await http.put(one, json={"active": False})).status_code == 400
        assert (await http.patch("/v0/webhooks/none", json={"active": True})).status_code == 404
        assert (await http.patch(one, json={"active": True}, params={"api-key": ""})).status_code == 401


async def test_the_client_registers_once_changes_and_deletes(settings, local_chain):
    addresses = [local_chain.program.address]
    async with providers_on(settings), HeliusClient.from_settings(settings) as helius:
        made = await helius.register("https://example.org/x", addresses, "s", "rawDevnet")
        changed = await helius.register("https://example.org/x", addresses, "t", "raw")
        assert (made.is_new, changed.is_new, changed.is_reactivated) == (True, False, False)
        first, second_result = made.webhook, changed.webhook
        assert (first.webhook_type, second_result.webhook_type) == ("rawDevnet", "raw")
        assert second_result.webhook_id == first.webhook_id
        assert second_result in await helius.webhooks()
        assert await helius.delete(first.webhook_id)
        assert not await helius.delete(first.webhook_id)
        assert second_result not in await helius.webhooks()


async def test_the_client_says_what_is_wrong_without_the_key(settings):
    async with providers_on(settings), HeliusClient(settings.helius_api_url, "a-wrong-key") as helius:
        with pytest.raises(HeliusError, match="Check HELIUS_API_KEY") as refused:
            await helius.webhooks()
        assert "a-wrong-key" not in str(refused.value)
    async with HeliusClient(settings.helius_api_url, API_KEY) as helius:
        with pytest.raises(HeliusError, match="does not answer") as away:
            await helius.webhooks()
        assert API_KEY not in str(away.value)


async def test_it_is_not_ready_while_the_chain_is_away(tmp_path, local_chain, endpoint):
    settings = settings_of(tmp_path, local_chain, free_port(), endpoint.port).model_copy(
        update={"solana_ws_url": f"ws://127.0.0.1:{free_port()}"}
    )
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2), providers_on(settings):
            pass


async def _status(http, path, status):
    return (await http.get(path)).status_code == status
