"""Tests of the rules that hold for every endpoint: errors, bodies, pages, headers and limits."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import timedelta

import pytest

from kit.gateway import (
    NOW,
    Site,
    add_market,
    add_trade,
    legacy_body,
    site,
)
from kit.waiting import begin_within_a_window
from kit.wallets import address, market_id, wallet
from zmart.settings import Settings


async def test_every_error_has_one_shape(database_url: str, redis_url: str) -> None:
    async with site(database_url, redis_url) as here:
        for path, status in (
            ("/nope", 404),
            ("/api/markets?limit=x", 400),
            (f"/api/markets/{'0' * 64}", 404),
        ):
            answer = await here.get(path)
            body = answer.json()
            assert answer.status_code == body["status"] == status
            assert body.keys() >= {"error", "message", "status", "timestamp", "path", "request_id"}
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["timestamp"])
            assert body["path"] == path.partition("?")[0]
            assert body["request_id"] == answer.headers["x-request-id"]
        assert (await here.http.put("/api/markets", json={})).status_code == 405
        assert (await here.get("/api/markets?limit=x")).json()["details"][0]["field"] == "limit"


async def test_bodies_are_json_and_small(database_url: str) -> None:
    async with site(database_url) as here:
        post = here.http.post
        assert (await post("/api/discussions", content="x=1")).status_code == 415
        json_type = {"content-type": "application/json"}
        assert (await post("/api/discussions", content='{"a"', headers=json_type)).status_code == 400
        large = '{"content": "' + "x" * 70_000 + '"}'
        assert (await post("/api/discussions", content=large, headers=json_type)).status_code == 413
        deep = "[" * 30_000 + "]" * 30_000
        assert (await post("/api/discussions", content=deep, headers=json_type)).status_code == 400


async def test_a_large_body_is_refused_before_it_is_read(database_url: str) -> None:
    async with site(database_url) as here:
        read = []

        async def receive() -> dict[str, object]:
            read.append(1)
            return {"type": "http.request", "body": b"x", "more_body": True}

        sent: list[dict[str, object]] = []

        async def send(message: dict[str, object]) -> None:
            sent.append(message)

        headers = [(b"content-type", b"application/json"), (b"content-length", b"100000000")]
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": "/api/discussions", "raw_path": b"/api/discussions", "query_string": b"", "root_path": "",
            "headers": headers, "client": ("1.2.3.4", 5), "server": ("x", 80),
        }  # fmt: skip
        await here.gateway.asgi()(scope, receive, send)
        assert sent[0]["status"] == 413
        assert read == []


async def test_an_invalid_body_is_400_even_without_a_signature(database_url: str) -> None:
    async with site(database_url) as here:
        assert (await here.post("/api/discussions", {"content": ""})).status_code == 400
        assert (await here.post("/api/trades/buy", {"market_id": "x", "outcome": True})).status_code == 400
        valid = {"content": "Hello", "market_id": market_id(1)}
        assert (await here.post("/api/discussions", valid)).status_code == 401


@pytest.mark.parametrize(("limit", "shown"), [(0, 0), (2, 2), (999, 5)])
async def test_limits_are_clamped(database_url: str, limit: int, shown: int) -> None:
    async with site(database_url) as here:
        for number in range(5):
            await add_market(here.pool, number)
        body = (await here.get(f"/api/markets?limit={limit}")).json()
        assert len(body["markets"]) == shown
        assert body["count"] == 5
        assert body["limit"] == min(limit, 200)
        assert (await here.get("/api/markets?limit=-1")).status_code == 400


@pytest.mark.parametrize("sort", ["newest", "volume", "ending"])
async def test_a_cursor_is_stable_while_rows_are_added(database_url: str, sort: str) -> None:
    async with site(database_url) as here:
        far = NOW + timedelta(days=3000)
        for number in range(6):
            times = {"created_at": NOW + timedelta(hours=number), "ends_at": far + timedelta(hours=number)}
            await add_market(here.pool, number, volume=number // 2, **times)
        seen: list[str] = []
        cursor = ""
        while True:
            body = (await here.get(f"/api/markets?sort={sort}&limit=2&cursor={cursor}")).json()
            seen += [row["id"] for row in body["markets"]]
            await add_market(here.pool, 100 + len(seen), volume=10**6, created_at=NOW + timedelta(days=9))
            cursor = body["next_cursor"]
            if cursor is None:
                break
        assert sorted(set(seen)) == sorted(seen)
        assert set(seen) == {market_id(number) for number in range(6)}
        for bad in ("x", "W10", "WyJ4IiwieSJd", "A" * 600):
            assert (await here.get(f"/api/markets?sort={sort}&cursor={bad}")).status_code == 400


async def test_numbers_can_be_text(database_url: str) -> None:
    async with site(database_url) as here:
        key = await add_market(here.pool, 1, volume=2**63 + 1)
        plain = (await here.get(f"/api/markets/{key}")).json()
        text = (await here.get(f"/api/markets/{key}?numeric=string")).json()
        assert plain["total_volume"] == 2**63 + 1
        assert text["total_volume"] == str(2**63 + 1)
        assert text["b_parameter"] == "1000000000"
        assert text["accumulated_fees"]["protocol"] == "0"
        assert text["traders"] == plain["traders"] == 1
        assert text.keys() == plain.keys()


async def test_chain_derived_answers_say_their_slot_and_revalidate(database_url: str) -> None:
    async with site(database_url) as here:
        key = await add_market(here.pool, 1)
        first = await here.get(f"/api/markets/{key}")
        assert first.headers["x-as-of-slot"] == "777"
        assert first.headers["cache-control"]
        second_result = await here.get(
            f"/api/markets/{key}", headers={"if-none-match": first.headers["etag"]}
        )
        assert second_result.status_code == 304
        assert second_result.content == b""
        assert second_result.headers["x-as-of-slot"] == "777"
        await here.pool.execute("UPDATE markets SET total_volume = 5")
        changed = await here.get(f"/api/markets/{key}", headers={"if-none-match": first.headers["etag"]})
        assert changed.status_code == 200
        assert changed.headers["etag"] != first.headers["etag"]


async def test_only_listed_origins_are_allowed(database_url: str) -> None:
    async with site(database_url, cors_origin="https://app.example, https://two.example") as here:
        requested = {
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization",
        }
        good = {"origin": "https://two.example"}
        preflight = await here.http.options("/api/markets", headers={**good, **requested})
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == "https://two.example"
        allowed = preflight.headers["access-control-allow-headers"].lower().split(", ")
        assert {"authorization", "content-type", "sentry-trace", "baggage", "traceparent"} <= set(allowed)
        assert (await here.get("/nope", headers=good)).headers["access-control-allow-credentials"] == "true"
        bad = {"origin": "https://evil.example"}
        for answer in (
            await here.http.options("/api/markets", headers={**bad, **requested}),
            await here.get("/api/markets", headers=bad),
        ):
            assert "access-control-allow-origin" not in answer.headers


async def test_security_headers_and_request_ids_are_on_every_answer(database_url: str) -> None:
    async with site(database_url) as here:
        for path in ("/api/markets", "/nope", "/", "/docs"):
            answer = await here.get(path, headers={"x-request-id": "from-the-client.1"})
            assert answer.headers["x-request-id"] == "from-the-client.1"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert "max-age" in answer.headers["strict-transport-security"]
        odd = await here.get("/api/markets", headers={"x-request-id": "x" * 100})
        assert odd.headers["x-request-id"] != "x" * 100


async def test_head_is_get_without_a_body(database_url: str) -> None:
    async with site(database_url) as here:
        answer = await here.http.head("/api/markets")
        assert answer.status_code == 200
        assert answer.headers["etag"]


@pytest.mark.parametrize("with_redis", [True, False])
async def test_limits_hold_with_and_without_redis(
    database_url: str, redis_url: str, with_redis: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All requests come in the same minute: at the beginning of the next one a part of them would count no more."""
    halfway = time.time() // 60 * 60 + 30
    monkeypatch.setattr(time, "time", lambda: halfway)
    async with site(database_url, redis_url if with_redis else "") as here:
        body = {"wallet": address(1)}
        answers = [await here.post("/api/auth/nonce", body) for _ in range(21)]
        allowed = Settings.model_fields["rate_limit_nonce"].default
        assert [a.status_code for a in answers[:allowed]] == [200 if with_redis else 503] * allowed
        refused = answers[-1]
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 0
        assert refused.headers["ratelimit-policy"] == '"nonce";q=20;w=60'
        assert '"nonce";r=0' in refused.headers["ratelimit"]


async def test_gateways_share_their_counts_and_wallets_have_their_own(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(database_url, redis_url) as one, site(database_url, redis_url, with_rules=False) as two:
        for here in (one, two):  # a slow answer does not count as an unavailable Redis
            here.gateway.context.limiter.answer_within_s = 10.0
        market = await add_market(one.pool, 1)
        begin_within_a_window()

        async def comment(here: Site, who: int) -> int:
            body = legacy_body(wallet(who), content=f"Hello {who}", market_id=market)
            return (await here.http.post("/api/discussions", json=body)).status_code

        statuses = [await comment(here, 1) for _ in range(6) for here in (one, two)]
        assert statuses.count(429) == 2
        assert await comment(one, 2) == 201


async def test_a_forwarded_address_counts_only_behind_a_trusted_proxy(
    database_url: str, redis_url: str
) -> None:
    async def refusals(**settings: object) -> int:
        async with site(database_url, redis_url, **settings) as here:
            begin_within_a_window()
            statuses = []
            for number in range(25):
                headers = {"x-forwarded-for": f"9.9.9.{number}"}
                answer = await here.http.post("/api/auth/nonce", json={"wallet": address(1)}, headers=headers)
                statuses.append(answer.status_code)
            return statuses.count(429)

    assert await refusals(trusted_proxies="127.0.0.0/8") == 0
    assert await refusals(with_rules=False) == 5


async def test_a_server_error_tells_nothing_but_its_request_id(database_url: str) -> None:
    async with site(database_url) as here:
        await here.pool.execute("DROP TABLE trades CASCADE")
        answer = await here.get(f"/api/users/{address(1)}/trades")
        assert answer.status_code == 500
        assert "trades" not in answer.json()["message"]
        assert answer.json()["request_id"] in answer.headers["x-request-id"]


async def test_text_that_no_database_can_hold_is_refused(database_url: str, redis_url: str) -> None:
    async with site(database_url, redis_url) as here:
        market = await add_market(here.pool, 1)
        token = await here.sign_in(wallet(1))
        assert (await here.get("/api/markets?q=a%00b")).status_code == 400
        body = {"content": "a\0b", "market_id": market}
        assert (await here.post("/api/discussions", body, token)).status_code == 400


async def test_reads_of_one_moment_are_counted_by_one_call(database_url: str, redis_url: str) -> None:
    async with site(database_url, redis_url) as here:
        await add_trade(here.pool, await add_market(here.pool, 1), address(2), 5)
        answers = await asyncio.gather(*(here.get("/api/markets") for _ in range(40)))
        left = sorted(int(re.search(r"r=(\d+)", a.headers["ratelimit"])[1]) for a in answers)
        assert left == list(range(1160, 1200))


@pytest.mark.parametrize(
    ("path", "body", "field", "message"),
    [
        ("/api/leaderboard?window=1y", None, "window", "window is one of 24h, 7d, 30d, all."),
        ("/api/markets?sort=best", None, "sort", "sort is one of newest, volume, ending, trending."),
        ("/api/markets/activity?type=x", None, "type",
         "type is one of all, trade, vote, discussion, creation, resolution, market."),
        ("/api/markets?limit=many", None, "limit", "limit must be an integer, not a string."),
        ("/api/auth/nonce", {}, "wallet", "wallet is missing."),
        ("/api/auth/nonce", {"wallet": 5}, "wallet", "wallet must be a string, not an integer."),
        ("/api/auth/nonce", [], "body", "body must be an object, not an array."),
        ("/api/votes/dispute", {"market_id": market_id(1), "vote_choice": "maybe"}, "vote_choice",
         "vote_choice is one of like, dislike, agree, disagree, support, reject."),
        ("/api/trades/buy", {"market_id": market_id(1), "outcome": "maybe", "shares": 1}, "outcome",
         "outcome is one of YES, NO."),
        ("/api/trades/buy", {"market_id": market_id(1), "outcome": "no"}, "max_cost",
         "Send max_cost or shares, or both."),
        ("/api/discussions", {"content": " \n", "market_id": market_id(1)}, "content",
         "content must have 1 to 1000 characters."),
    ],
)  # fmt: skip
async def test_a_wrong_value_is_told_by_its_name_and_in_the_words_of_json(
    database_url: str, path: str, body: object, field: str, message: str
) -> None:
    async with site(database_url) as here:
        answer = await (here.get(path) if body is None else here.post(path, body))
        assert answer.status_code == 400, answer.text
        assert answer.json()["details"] == [{"field": field, "message": message}]


async def test_a_parameter_is_known_by_its_name_and_not_by_its_letters(database_url: str) -> None:
    """W26: `numeric` is recognised as a parameter's whole name, not as a part of another name or of a value."""
    async with site(database_url) as here:
        await add_market(here.pool, 1)
        for path in (
            "/api/search?q=numeric=1",
            "/api/markets?alphanumeric=1",
            "/api/markets?q=numeric%3Dstring",
        ):
            answer = await here.get(path)
            assert answer.status_code == 200, path
        assert (await here.get("/api/markets?numeric=1")).status_code == 400
