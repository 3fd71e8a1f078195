"""Tests of the response cache: it answers repeated requests without the router, and never with outdated data."""

from __future__ import annotations

import asyncio
import json

import pytest

from kit.gateway import add_market, add_trade
from kit.raw_client import RawClient, Served, connected, request, served
from kit.wallets import address, market_id, wallet
from zmart.services.gateway import metrics
from zmart.services.gateway.http.feed_position import FeedPositionReader
from zmart.store import change_feed, documents
from zmart.store.pool import Pool


async def cached(client: RawClient, here: Served, path: str, headers: str = "") -> bytes:
    """Repeat a request until the cache handles its address, as a hit or a miss; return the last body."""
    for _ in range(10):
        before = here.taken()
        status, _, body = await client.get(path, headers)
        assert status == 200, body
        if here.taken() > before:
            return body
    raise AssertionError(f"{path} was never cached")


@pytest.mark.parametrize("answer_cache_bytes", [0, 1 << 20])
async def test_a_commit_shows_in_the_next_answer(
    database_url: str, redis_url: str, answer_cache_bytes: int
) -> None:
    async with served(database_url, redis_url, answer_cache_bytes=answer_cache_bytes) as here:
        key = await add_market(here.site.pool, 1)
        async with connected(here.port) as client:
            paths = ["/api/markets", f"/api/markets/{key}", f"/api/markets/{key}/trades"]
            for path in paths:
                await cached(client, here, path)
            before = here.taken()
            for number in range(1, 31):
                await here.site.pool.execute(
                    "UPDATE markets SET total_volume = $2 WHERE market_id = $1", key, number
                )
                await add_trade(here.site.pool, key, address(2), number)
                answers = [json.loads((await client.get(path))[2]) for path in paths]
                assert answers[0]["markets"][0]["total_volume"] == number
                assert answers[1]["total_volume"] == number
                assert answers[2]["count"] == number
        assert here.taken() - before >= 90


async def test_the_count_follows_new_markets_and_states(database_url: str, redis_url: str) -> None:
    async with served(database_url, redis_url) as here, connected(here.port) as client:
        await add_market(here.site.pool, 1)
        await cached(client, here, "/api/markets?state=ACTIVE")
        for number in range(2, 8):
            await add_market(here.site.pool, number)
            assert json.loads((await client.get("/api/markets?state=ACTIVE"))[2])["count"] == number
        await here.site.pool.execute(
            "UPDATE markets SET state = 'RESOLVING' WHERE market_id = $1", market_id(3)
        )
        assert json.loads((await client.get("/api/markets?state=ACTIVE"))[2])["count"] == 6
        await here.site.pool.execute("DELETE FROM markets WHERE market_id = $1", market_id(4))
        assert json.loads((await client.get("/api/markets?state=ACTIVE"))[2])["count"] == 5


async def test_a_cached_response_says_what_the_router_says(database_url: str, redis_url: str) -> None:
    async with served(database_url, redis_url, cors_origin="https://app.example") as here:
        key = await add_market(here.site.pool, 1)
        await add_trade(here.site.pool, key, address(2), 5)
        async with connected(here.port) as client:
            for path in (
                "/api/markets",
                f"/api/markets/{key}/trades?numeric=string",
                f"/api/markets/{key}/candles",
            ):
                for headers in (
                    "",
                    "Origin: https://app.example\r\n",
                    "Origin: https://stranger.example\r\n",
                ):
                    _, long, body = await client.get(path, f"{headers}Authorization: Bearer x\r\n")
                    assert await cached(client, here, path, headers) == body
                    _, brief, _ = await client.get(path, headers)
                    own = {"x-request-id", "ratelimit"}
                    assert {k: v for k, v in brief.items() if k not in own} == {
                        k: v for k, v in long.items() if k not in own
                    }
                    assert own <= set(brief)


async def test_what_a_client_has_is_not_sent_again_until_it_changes(
    database_url: str, redis_url: str
) -> None:
    async with served(database_url, redis_url) as here, connected(here.port) as client:
        key = await add_market(here.site.pool, 1)
        path = f"/api/markets/{key}"
        await cached(client, here, path)
        tag = (await client.get(path))[1]["etag"]
        for _ in range(3):
            status, headers, body = await client.get(path, f"If-None-Match: {tag}\r\n")
            assert (status, headers["etag"], body) == (304, tag, b"")
        await here.site.pool.execute("UPDATE markets SET total_volume = 9 WHERE market_id = $1", key)
        status, headers, body = await client.get(path, f"If-None-Match: {tag}\r\n")
        assert status == 200
        assert headers["etag"] != tag
        assert json.loads(body)["total_volume"] == 9


async def test_requests_that_arrive_together_or_in_pieces_are_answered_in_order(
    database_url: str, redis_url: str
) -> None:
    async with served(database_url, redis_url) as here, connected(here.port) as client:
        keys = [await add_market(here.site.pool, number) for number in (1, 2, 3)]
        for key in keys:
            await cached(client, here, f"/api/markets/{key}")
        expected = [keys[n] for n in (0, 2, 1, 1, 0)]
        client.writer.write(b"".join(request(f"/api/markets/{key}") for key in expected))
        assert [json.loads((await client.answer())[2])["id"] for _ in expected] == expected
        client.writer.write(request(f"/api/markets/{keys[0]}"))
        await asyncio.sleep(0)
        client.writer.write(request(f"/api/markets/{keys[1]}"))  # while the first may still be on its way
        assert [json.loads((await client.answer())[2])["id"] for _ in range(2)] == keys[:2]
        whole = request(f"/api/markets/{keys[2]}")
        client.writer.write(whole[:20])
        await client.writer.drain()
        await asyncio.sleep(0.05)  # long enough to be read as a piece of its own
        client.writer.write(whole[20:])
        assert json.loads((await client.answer())[2])["id"] == keys[2]
        assert (await client.get(f"/api/markets/{keys[0]}"))[0] == 200


async def test_a_market_that_is_gone_is_not_found(database_url: str, redis_url: str) -> None:
    async with served(database_url, redis_url) as here, connected(here.port) as client:
        key = await add_market(here.site.pool, 1)
        await cached(client, here, f"/api/markets/{key}")
        await here.site.pool.execute("DELETE FROM markets WHERE market_id = $1", key)
        status, _, body = await client.get(f"/api/markets/{key}")
        assert status == 404
        assert "There is no market" in json.loads(body)["message"]


async def test_the_limit_is_kept_to_the_last_request(database_url: str, redis_url: str) -> None:
    async with served(database_url, redis_url, rate_limit_reads=120) as here:
        await add_market(here.site.pool, 1)
        async with connected(here.port) as client:
            before = here.taken()
            answers = [await client.get("/api/markets") for _ in range(140)]
    statuses = [status for status, _, _ in answers]
    # If a minute begins during the test, requests of the minute before may still count: fewer may be allowed.
    assert statuses[:100] == [200] * 100
    assert 100 <= statuses.count(200) <= 121
    assert 429 in statuses
    assert here.taken() - before > 50


async def test_a_signed_request_is_never_answered_from_the_cache(database_url: str, redis_url: str) -> None:
    async with served(database_url, redis_url) as here, connected(here.port) as client:
        await add_market(here.site.pool, 1)
        await cached(client, here, "/api/markets")
        before = here.taken()
        for _ in range(3):
            await client.get("/api/markets", "Authorization: Bearer x\r\n")
        assert here.taken() == before


async def test_a_draft_never_enters_the_cache(database_url: str, redis_url: str) -> None:
    async with served(database_url, redis_url) as here, connected(here.port) as client:
        owner = wallet(1)
        token = await here.site.sign_in(owner)
        key = market_id(7)
        draft = documents.Document(
            market_id=key, creator=address(1), question="Is this a draft?", description="", category="weather",
            tags=[], ends_at=None, cid="QmX", document=b"{}", created_at=None,
        )  # fmt: skip
        await documents.add(here.site.pool, draft, "none")
        signed = f"Authorization: Bearer {token}\r\n"
        for path in ("/api/markets?state=DRAFT", f"/api/markets/{key}"):
            for _ in range(2):
                status, headers, _ = await client.get(path, signed)
                assert (status, headers["cache-control"]) == (200, "private, no-store")
                assert (await client.get(path))[0] in (401, 404)
        assert len(here.cache.routes) == 0


async def test_head_is_answered_from_the_same_entry_without_a_body(database_url: str, redis_url: str) -> None:
    async with served(database_url, redis_url) as here, connected(here.port) as client:
        await add_market(here.site.pool, 1)
        body = await cached(client, here, "/api/markets")
        before = metrics.CACHE.hits
        client.writer.write(request("/api/markets", method="HEAD"))
        status, headers, _ = await client.answer(has_body=False)
        assert (status, int(headers["content-length"])) == (200, len(body))
        assert metrics.CACHE.hits == before + 1
        assert (await client.get("/api/markets"))[2] == body


async def test_many_who_ask_at_once_wait_for_one_position_and_one_read(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    positions = asked = 0
    everyone_came = asyncio.Event()
    read, ask = change_feed.position, FeedPositionReader.position

    async def counting(pool: Pool) -> change_feed.FeedPosition:
        nonlocal positions
        positions += 1
        await everyone_came.wait()  # on a busy machine the requests come slowly
        return await read(pool)

    async def asking(reader: FeedPositionReader) -> change_feed.FeedPosition:
        nonlocal asked
        asked += 1
        if asked == 40:
            everyone_came.set()
        return await ask(reader)

    async with served(database_url, redis_url) as here, connected(here.port) as client:
        await add_market(here.site.pool, 1)
        await cached(client, here, "/api/markets")
        monkeypatch.setattr(change_feed, "position", counting)
        monkeypatch.setattr(FeedPositionReader, "position", asking)
        route = here.cache.routes.get(("/api/markets", b""))
        assert route is not None
        before = metrics.CACHE.hits
        answers = await asyncio.gather(*(here.site.get("/api/markets") for _ in range(40)))
        assert {answer.status_code for answer in answers} == {200}
        assert metrics.CACHE.hits - before <= 40
        assert positions <= 4


async def test_the_cache_stays_within_its_bytes_and_reports_them(database_url: str, redis_url: str) -> None:
    most = 256 * 1024
    async with (
        served(database_url, redis_url, answer_cache_bytes=most) as here,
        connected(here.port) as client,
    ):
        await add_market(here.site.pool, 1)
        for offset in range(150):
            for _ in range(2):
                assert (await client.get(f"/api/markets?offset={offset}"))[0] == 200
            assert here.cache.routes.size_bytes <= most
        assert 20 < len(here.cache.routes) < 150
        assert metrics.CACHE.size_bytes == here.cache.routes.size_bytes
        figures = {metric.name: metric.samples[0].value for metric in metrics.CACHE.collect()}
        assert figures["zmart_gateway_cache_bytes"] == here.cache.routes.size_bytes
        assert figures["zmart_gateway_cache_misses"] >= 150
