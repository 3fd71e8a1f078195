"""Tests of hostile input: none of it is executed, believed or shown as anything but text."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kit.gateway import (
    OPERATOR,
    add_market,
    add_trade,
    legacy_body,
    legacy_header,
    site,
)
from kit.machine_time import machine_time, seconds_since
from kit.waiting import begin_within_a_window
from kit.wallets import address, market_id, wallet
from zmart.services.gateway.openapi import offline

INJECTIONS = [
    "' OR '1'='1", "'; DROP TABLE markets; --", "1 UNION SELECT version()", "${jndi:ldap://x}", "{{7*7}}",
    "%27%20OR%201=1", '{"$gt": ""}', "../../etc/passwd", "a" * 4000, "\u202e", "-1", "1e400", "NaN", "[]", "\\",
    "'||pg_sleep(5)||'", "*", "(", "a & | b", ":*", "😀",
]  # fmt: skip
HTML = "<script>alert(1)</script><img src=x onerror=alert(1)>"


def _arguments() -> list[tuple[str, str, str]]:
    """Return every parameter of every read, headers excluded: (path, "path" or "query", name)."""
    return [
        (path, item["in"], item["name"])
        for path, calls in offline.document()["paths"].items()
        for method, operation in calls.items()
        if method == "get" and path.startswith("/api/")
        for item in operation.get("parameters", ())
        if item["in"] != "header"
    ]


async def test_injected_text_in_any_parameter_is_only_text(database_url: str) -> None:
    async with site(database_url, rate_limit_reads=10**6) as here:
        market = await add_market(here.pool, 1)
        await add_trade(here.pool, market, address(2), 1)
        usual = {"key": market, "wallet": address(2), "signature": "1" * 64, "q": "rain", "outcome": "YES"}
        for path, position, name in _arguments():
            for text in INJECTIONS:
                values = {**usual, name: text}
                query = {name: text} if position == "query" else {}
                if path == "/api/search":
                    query.setdefault("q", "rain")
                started = machine_time()
                requested = path.format(**{k: _quoted(v) for k, v in values.items()})
                answer = await here.http.get(requested, params=query)
                assert answer.status_code in (200, 400, 404, 409, 503), (path, name, text, answer.text)
                assert answer.status_code != 503 or "RPC" in answer.text, answer.text
                assert seconds_since(started) < 3
                for leak in ("syntax error", "asyncpg", "PostgreSQL", "Traceback", "pg_catalog"):
                    assert leak not in answer.text
        assert await here.pool.fetchval("SELECT count(*) FROM markets") == 1


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


async def test_injected_text_in_any_field_of_a_body_is_only_text(database_url: str, redis_url: str) -> None:
    limits = dict.fromkeys(
        ("rate_limit_writes", "rate_limit_votes", "rate_limit_comments", "rate_limit_nonce"), 10**6
    )
    async with site(database_url, redis_url, **limits) as here:
        market = await add_market(here.pool, 1, "PROPOSED")
        token = await here.sign_in(wallet(1))
        bodies: dict[str, dict[str, Any]] = {
            "/api/discussions": {"market_id": market, "content": "x", "parent_id": None},
            "/api/votes/proposal": {
                "market_id": market,
                "vote": True,
                "wallet": address(1),
                "vote_choice": "like",
            },
            "/api/trades/buy": {"market_id": market, "outcome": True, "max_cost": 10**9},
            "/api/auth/nonce": {"wallet": address(1)},
            "/api/transactions": {"transaction": "AAAA"},
        }
        for path, body in bodies.items():
            for field in body:
                for value in [*INJECTIONS, {"$ne": 1}, ["x"], 10**30, -1, None, True]:
                    answer = await here.post(path, {**body, field: value}, token)
                    allowed = (200, 201, 400, 401, 403, 404, 409) + (
                        (503,) if path.startswith("/api/tra") else ()
                    )
                    assert answer.status_code in allowed, (path, field, value, answer.text)


@pytest.mark.parametrize("text", [
    "[" * 20_000 + "]" * 20_000, '{"a":' * 9_000 + "1" + "}" * 9_000,
    '{"content": "\ud800"}', "{", "", "null", "[]", "1",
    '{"content": 1e999}', '{"content": "x", "content": 5}', "\ufeff{}",
])  # fmt: skip
async def test_odd_json_is_refused_at_the_door(database_url: str, text: str) -> None:
    async with site(database_url) as here:
        raw = text.encode("utf-8", "surrogatepass")
        headers = {"content-type": "application/json"}
        for path in ("/api/discussions", "/api/votes/proposal", "/api/trades/buy", "/api/auth/nonce"):
            answer = await here.http.post(path, content=raw, headers=headers)
            assert answer.status_code == 400, answer.text
            assert answer.json()["status"] == 400


async def test_a_parameter_that_is_given_twice_is_refused(database_url: str) -> None:
    async with site(database_url) as here:
        for _ in range(2):
            answer = await here.get("/api/markets?limit=1&limit=5")
            assert answer.status_code == 400
            assert answer.json()["details"][0]["field"] == "limit"


async def test_a_body_without_a_length_is_cut_off_when_it_is_too_large(database_url: str) -> None:
    async with site(database_url) as here:
        read = 0

        async def endless():
            nonlocal read
            while read < 100_000_000:
                read += 10_000
                yield b" " * 10_000

        headers = {"content-type": "application/json"}
        answer = await here.http.post("/api/discussions", content=endless(), headers=headers)
        assert answer.status_code == 413
        assert answer.json()["error"] == "Payload Too Large"


async def test_html_in_what_people_write_is_shown_as_text(database_url: str, redis_url: str) -> None:
    async with site(database_url, redis_url) as here:
        market = await add_market(here.pool, 1, question=f"Will {HTML} win?")
        token = await here.sign_in(wallet(2))
        await here.post("/api/discussions", {"market_id": market, "content": HTML}, token)
        headers = {"authorization": f"Bearer {token}"}
        profile = {"display_name": "<b>Ada</b>", "bio": HTML, "avatar_url": 'https://x.example/"><script>'}
        assert (
            await here.http.put(f"/api/users/{address(2)}", json=profile, headers=headers)
        ).status_code == 200
        await add_trade(here.pool, market, address(2), 1)
        for path in ("/", f"/markets/{market}", f"/wallets/{address(2)}", f"/find?q={_quoted(HTML)}"):
            page = (await here.get(path)).text
            assert "<script>alert" not in page, path
            assert "<img src=x" not in page, path
            assert '"><script>' not in page, path
        listed = await here.get(f"/api/discussions/{market}")
        assert listed.json()["discussions"][0]["content"] == HTML
        assert listed.headers["content-type"] == "application/json"
        assert listed.headers["x-content-type-options"] == "nosniff"
        missing = await here.get(f"/markets/{_quoted(HTML)}", headers={"accept": "text/html"})
        assert "<script>alert" not in missing.text


async def test_the_token_of_another_wallet_moves_nothing_of_mine(database_url: str, redis_url: str) -> None:
    async with site(database_url, redis_url, votes_require_statement=False) as here:
        market = await add_market(here.pool, 1, "PROPOSED")
        mine, theirs = await here.sign_in(wallet(1)), await here.sign_in(wallet(2))
        made = (await here.post("/api/discussions", {"market_id": market, "content": "Mine"}, mine)).json()
        headers = {"authorization": f"Bearer {theirs}"}
        url = f"/api/discussions/{made['discussion']['id']}"
        assert (await here.http.delete(url, headers=headers)).status_code == 403
        path = f"/api/users/{address(1)}"
        assert (await here.http.put(path, json={"bio": "Eve"}, headers=headers)).status_code == 403
        vote = {"market_id": market, "vote": True, "wallet": address(1)}
        assert (await here.post("/api/votes/proposal", vote, theirs)).status_code == 403
        for call in ("approve", "cancel"):
            assert (await here.post(f"/api/markets/{market}/{call}", token=theirs)).status_code == 403
        assert (await here.get(f"/api/votes/{market}")).json()["proposal_votes"] == {
            "likes": 0,
            "dislikes": 0,
            "not_counted": 0,
        }


async def test_a_signature_is_spent_in_every_process_and_in_either_place(
    database_url: str, redis_url: str
) -> None:
    async with site(database_url, redis_url) as one, site(database_url, redis_url, with_rules=False) as two:
        market = await add_market(one.pool, 1)
        body = legacy_body(wallet(1), content="First", market_id=market)
        assert (await one.post("/api/discussions", body)).status_code == 201
        assert (await two.post("/api/discussions", {**body, "content": "Second"})).status_code == 401
        assert (
            await two.http.put(f"/api/users/{address(1)}", json={**body, "bio": "Eve"})
        ).status_code == 401
        header = {"authorization": legacy_header(wallet(3))}
        first = {"content": "Third", "market_id": market}
        assert (await one.http.post("/api/discussions", json=first, headers=header)).status_code == 201
        other = await two.http.post("/api/discussions", json={**first, "content": "Fourth"}, headers=header)
        assert other.status_code == 401
        at_once = await asyncio.gather(*(
            here.post("/api/discussions", {**legacy_body(wallet(4), 1_700_000_000_000), "content": str(n)})
            for n, here in enumerate((one, two) * 4)
        ))  # fmt: skip
        assert {answer.status_code for answer in at_once} <= {400, 401}
        listed = (await one.get(f"/api/discussions/{market}")).json()
        assert listed["count"] == 2


async def test_a_nonce_of_another_wallet_or_used_before_signs_nobody_in(
    database_url: str, redis_url: str
) -> None:
    async with site(database_url, redis_url) as one, site(database_url, redis_url, with_rules=False) as two:
        message = (await one.post("/api/auth/nonce", {"wallet": address(1)})).json()["message"]

        def proof(number: int) -> dict[str, str]:
            signature = str(wallet(number).sign_message(message.encode()))
            return {"wallet": address(number), "message": message, "signature": signature}

        assert (await two.post("/api/auth/verify", proof(1))).status_code == 200
        assert (await one.post("/api/auth/verify", proof(1))).status_code == 401
        message = (await one.post("/api/auth/nonce", {"wallet": address(1)})).json()["message"]
        assert (await one.post("/api/auth/verify", proof(2))).status_code == 401


async def test_a_forged_forwarded_address_neither_evades_a_limit_nor_blames_another(
    database_url: str, redis_url: str
) -> None:
    async with site(database_url, redis_url, rate_limit_nonce=3) as here:
        begin_within_a_window()
        statuses = [
            (await here.http.post("/api/auth/nonce", json={"wallet": address(1)}, headers=forged)).status_code
            for forged in (
                {"x-forwarded-for": "1.1.1.1"}, {"x-real-ip": "2.2.2.2"}, {"forwarded": "for=3.3.3.3"},
                {"x-forwarded-for": "9.9.9.9, 127.0.0.1"}, {"cf-connecting-ip": "4.4.4.4"},
            )
        ]  # fmt: skip
        assert statuses == [200, 200, 200, 429, 429]
    async with site(
        database_url, redis_url, with_rules=False, rate_limit_reads=2, trusted_proxies="127.0.0.1"
    ) as after:
        victim = {"x-forwarded-for": "5.5.5.5, 6.6.6.6"}  # the client itself wrote the first address
        for _ in range(3):
            await after.get("/api/markets", headers=victim)
        assert (await after.get("/api/markets", headers={"x-forwarded-for": "5.5.5.5"})).status_code == 200


async def test_a_stranger_origin_gets_no_leave_on_any_path(database_url: str) -> None:
    async with site(database_url, cors_origin="https://app.example") as here:
        for origin in ("https://evil.example", "null", "https://app.example.evil", "http://app.example", "*"):
            for path in ("/api/markets", "/nowhere", "/docs", f"/api/markets/{market_id(1)}"):
                answer = await here.get(path, headers={"origin": origin})
                assert "access-control-allow-origin" not in answer.headers
                assert "Origin" in answer.headers["vary"]
        requested = {"origin": "https://evil.example", "access-control-request-method": "POST"}
        assert (
            "access-control-allow-methods"
            not in (await here.http.options("/api/votes/proposal", headers=requested)).headers
        )


async def test_secrets_are_in_no_answer_and_no_log(
    database_url: str, redis_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = "a-very-secret-token-of-sessions"
    async with site(database_url, redis_url, auth_token_secret=secret) as here:
        token = await here.sign_in(wallet(1))
        answers = [
            await here.get("/api/status"), await here.get("/health/gateway"), await here.get("/api/openapi.json"),
            await here.post("/api/markets/nothing/approve", token="wrong"),
        ]  # fmt: skip
        text = "".join(answer.text for answer in answers) + capfd.readouterr().out
        for hidden in (secret, token, OPERATOR, database_url, redis_url):
            assert hidden not in text
