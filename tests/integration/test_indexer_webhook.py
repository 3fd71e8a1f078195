"""Tests of the webhook's contract and of the indexer behind it, as `zmart run` hosts it."""

from __future__ import annotations

import hashlib
import hmac
import time
from statistics import median

import httpx
import msgspec
import pytest
from pydantic import SecretStr

from kit.chain_story import PROGRAM, Story, key
from kit.indexer import (
    settings_of,
)
from kit.services import running_service
from kit.story_node import serving
from kit.waiting import until
from zmart.errors import ConfigError
from zmart.services.indexer.routes import webhook_app
from zmart.services.indexer.service import Indexer
from zmart.services.webhook import PATH, WebhookReceiver
from zmart.store import inbox
from zmart.store.pool import Pool

SECRET = "a secret that Helius echoes"
STORY = Story(2, markets=1, trades=3)


def client_of(pool, database_url, **more):
    receiver = WebhookReceiver(pool, settings_of(database_url, "http://unused", **more))
    return httpx.AsyncClient(transport=httpx.ASGITransport(webhook_app(receiver)), base_url="http://indexer")


@pytest.fixture
async def client(pool, database_url):
    async with client_of(pool, database_url, helius_webhook_secret=SecretStr(SECRET)) as opened:
        yield opened


async def post(client, body, authorization=SECRET, **headers):
    sent = {**headers, **({"authorization": authorization} if authorization else {})}
    return await client.post(PATH, content=body, headers=sent)


def body_of(*txs):
    return b"[" + b",".join(tx.raw() for tx in txs) + b"]"


async def test_a_delivery_is_stored_raw_and_counted(client, pool):
    answer = await post(client, body_of(*STORY.txs[:3]))
    assert (answer.status_code, answer.json()) == (200, {"received": 3, "duplicates": 0})
    answer = await post(client, body_of(*STORY.txs[2:4], STORY.txs[3]))
    assert answer.json() == {"received": 3, "duplicates": 2}
    rows = await pool.fetch("SELECT signature, slot, source, payload FROM inbox ORDER BY id")
    assert sorted(tuple(row) for row in rows) == sorted(
        (tx.signature, tx.slot, "webhook", tx.raw()) for tx in STORY.txs[:4]
    )


async def test_a_single_object_and_an_enhanced_payload_are_accepted(client, pool):
    assert (await post(client, STORY.txs[0].raw())).json() == {"received": 1, "duplicates": 0}
    enhanced = {"signature": STORY.txs[1].signature, "slot": 7, "type": "UNKNOWN", "transactionError": None}
    assert (await post(client, msgspec.json.encode([enhanced]))).json() == {"received": 1, "duplicates": 0}
    [waiting] = await inbox.claim_fetches(pool, 10, lease_s=5)
    assert (waiting.signature, waiting.slot) == (STORY.txs[1].signature, 7)


async def test_a_raw_delivery_completes_one_that_was_only_named(client, pool):
    tx = STORY.txs[0]
    await inbox.store(pool, "logs", [inbox.Hint(tx.signature, None, None)])
    assert (await post(client, body_of(tx))).json() == {"received": 1, "duplicates": 1}
    async with pool.transaction() as connection:
        [row] = await inbox.ready(connection, 10)
    assert (row.payload, row.slot) == (tx.raw(), tx.slot)


@pytest.mark.parametrize("header", [None, "", "wrong", SECRET + " ", SECRET.upper()])
async def test_another_authorization_is_refused(client, pool, header):
    assert (await post(client, body_of(STORY.txs[0]), header)).status_code == 401
    assert await pool.fetchval("SELECT count(*) FROM inbox") == 0


async def test_a_signature_over_the_body_is_accepted_when_it_is_switched_on(pool, database_url):
    body = body_of(STORY.txs[0])
    signed = {"x-helius-signature": hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}
    off = {"helius_webhook_secret": SecretStr(SECRET)}
    async with client_of(pool, database_url, **off) as client:
        assert (await post(client, body, None, **signed)).status_code == 401
    async with client_of(pool, database_url, helius_webhook_hmac=True, **off) as client:
        assert (await post(client, body, None, **signed)).status_code == 200


@pytest.mark.parametrize("body", [b"", b"[", b"7", b'{"a": 1}', b'[{"signature": "no"}]', b"\xff\x00"])
async def test_what_is_no_delivery_is_400(client, body):
    answer = await post(client, body)
    assert (answer.status_code, answer.json()["error"]) == (400, "Bad Request")


async def test_good_elements_are_stored_beside_bad_ones(client, pool):
    """W4, W5: the valid elements of a delivery are stored beside invalid ones, which the answer counts and explains."""
    bad = [b"{}", b"null", b'"x"', b'{"signature":"%s","slot":5}' % (b"z" * 88)] * 3
    body = b"[" + b",".join([STORY.txs[0].raw(), *bad, STORY.txs[1].raw()]) + b"]"
    answer = await post(client, body)
    response = answer.json()
    assert answer.status_code == 200
    assert {name: response[name] for name in ("received", "duplicates", "refused")} == {
        "received": 2,
        "duplicates": 0,
        "refused": 12,
    }
    assert "not a signature" in response["reasons"][3]
    assert len(response["reasons"]) == 5
    assert await pool.fetchval("SELECT count(*) FROM inbox") == 2


@pytest.mark.parametrize("body", [b"[{}]", b"[null]", b'[{"signature":"%s"}, 7]' % (b"z" * 88)])
async def test_a_delivery_without_any_good_element_is_400(client, pool, body):
    """W4, W5: a delivery without any valid element is 400 and stores nothing."""
    answer = await post(client, body)
    assert (answer.status_code, answer.json()["error"]) == (400, "Bad Request")
    assert await pool.fetchval("SELECT count(*) FROM inbox") == 0


async def test_a_body_over_the_limit_is_413_and_not_read(pool, database_url):
    async with client_of(pool, database_url, webhook_max_body_bytes=100) as client:
        assert (await post(client, b"[" + b" " * 100)).status_code == 413

        async def chunks():
            for _ in range(20):
                yield b" " * 10

        assert (await client.post(PATH, content=chunks())).status_code == 413


async def test_other_paths_and_methods_are_refused(client):
    assert (await client.post("/api/webhooks/other")).status_code == 404
    assert (await client.get(PATH)).status_code == 405


async def test_a_database_that_is_away_is_503(database_url):
    away = Pool(database_url.replace("/test_", "/gone_"), size=1, wait_s=0.1)
    async with client_of(away, database_url) as client:
        assert (await post(client, body_of(STORY.txs[0]))).status_code == 503


async def test_no_secret_is_refused_outside_of_a_local_stack(pool, database_url):
    local = settings_of(database_url, "http://unused")
    with pytest.raises(ConfigError, match="HELIUS_WEBHOOK_SECRET"):
        WebhookReceiver(pool, local.model_copy(update={"zmart_env": "production"}))


async def test_a_database_of_another_chain_or_program_is_refused(database_url):
    async with serving(STORY) as node:
        indexer = await Indexer.open(settings_of(database_url, node.url))
        await indexer._engine.pool.execute("UPDATE index_progress SET genesis_hash = 'another'")
        with pytest.raises(ConfigError, match="genesis another"):
            await Indexer.open(settings_of(database_url, node.url))
        await indexer._engine.pool.execute("UPDATE index_progress SET program_id = $1", key(5))
        with pytest.raises(ConfigError, match=f"not of {PROGRAM.address}"):
            await Indexer.open(settings_of(database_url, node.url))
        await indexer._engine.close()


async def test_it_says_why_it_is_not_ready(database_url):
    async with serving(STORY) as node:
        indexer = await Indexer.open(settings_of(database_url, node.url))
        pool = indexer._engine.pool
        assert (await indexer.readiness()).reason == "the first scan of the chain has not ended"
        async with running_service(indexer):

            async def ready():
                answer = await indexer.readiness()
                return answer.ready and answer.details["gap_free_slot"] == node.tip()

            await until(ready)
            assert indexer.health()["events_total"] == sum(
                len(tx.events) for tx in STORY.txs if tx.err is None
            )
            node.away = True
            await pool.execute("UPDATE index_progress SET scanned_at = now() - interval '1 minute'")
            await inbox.store(pool, "scan", [inbox.Hint(key(8) + key(9), 5, None)])
            await pool.execute(
                "UPDATE inbox SET received_at = now() - interval '11 s' WHERE state = 'pending'"
            )
            assert "is the RPC there?" in (await indexer.readiness()).reason
            await pool.execute("UPDATE index_progress SET scanned_at = now()")
            assert (await indexer.readiness()).reason.startswith(
                "1 transactions wait to be indexed, the oldest"
            )
            node.away = False


async def test_a_webhook_is_visible_within_a_second(database_url):
    async with serving(STORY) as node:
        node.shown, node.final_slot = STORY.txs[:1], 0  # the node does not know the others yet
        indexer = await Indexer.open(settings_of(database_url, node.url))
        async with running_service(indexer):
            transport = httpx.ASGITransport(indexer.asgi())
            async with httpx.AsyncClient(transport=transport, base_url="http://indexer") as client:
                waited = []
                for tx in STORY.txs[1:]:
                    sent = time.monotonic()
                    assert (await post(client, body_of(tx))).status_code == 200

                    async def visible(signature=tx.signature):
                        return await indexer._engine.pool.fetchval(
                            "SELECT true FROM chain_transactions WHERE signature = $1", signature
                        )

                    await until(visible)
                    waited.append(time.monotonic() - sent)
            assert median(waited) < 1  # bench/indexer.py measures the speed itself, on a machine of its own
