"""A3, A4, A9: tests that rate limits always count an address, and also a wallet that has proven its request."""

from __future__ import annotations

import httpx
import pytest
from solders.keypair import Keypair

from kit.gateway import Site, add_market, legacy_body, site
from kit.waiting import begin_within_a_window
from kit.wallets import address, wallet
from zmart.services.gateway.http.rate_limiting import WALLETS_PER_ADDRESS

BEHIND = {"trusted_proxies": "127.0.0.1"}


@pytest.fixture(autouse=True)
def within_a_minute() -> None:
    begin_within_a_window()


def throw_away() -> Keypair:
    return Keypair()


async def post(here: Site, path: str, body: object, client: str) -> httpx.Response:
    return await here.http.post(path, json=body, headers={"x-forwarded-for": client})


async def test_a_key_pair_in_every_body_does_not_evade_the_limit_of_an_open_operation(
    database_url: str, redis_url: str
) -> None:
    """A4: an operation that is open to all is limited by address alone; a new signature in each body gains nothing."""
    async with site(database_url, redis_url, rate_limit_nonce=5) as here:
        bodies = [legacy_body(throw_away()) for _ in range(6)]
        bodies += [{**body, "statement": body["message"]} for body in bodies]
        statuses = [(await here.post("/api/auth/nonce", body)).status_code for body in bodies]
        assert statuses == [200] * 5 + [429] * 7


async def test_new_wallets_behind_one_address_share_the_limit_of_some(
    database_url: str, redis_url: str
) -> None:
    """A4: requests from one address, each of a new wallet, share the limit of WALLETS_PER_ADDRESS wallets."""
    async with site(database_url, redis_url, rate_limit_comments=3, **BEHIND) as here:
        market = await add_market(here.pool, 1)
        most = 3 * WALLETS_PER_ADDRESS

        async def comment(key: Keypair, client: str) -> int:
            body = legacy_body(key, content="Hello", market_id=market)
            return (await post(here, "/api/discussions", body, client)).status_code

        statuses = [await comment(throw_away(), "9.9.9.9") for _ in range(most + 5)]
        assert statuses == [201] * most + [429] * 5
        assert await comment(throw_away(), "9.9.9.8") == 201


async def test_a_wallet_has_one_limit_wherever_it_sends_from(database_url: str, redis_url: str) -> None:
    async with site(database_url, redis_url, rate_limit_comments=3, **BEHIND) as here:
        market, key = await add_market(here.pool, 1), wallet(1)
        answers = [
            await post(
                here,
                "/api/discussions",
                legacy_body(key, content=f"Hello {number}", market_id=market),
                f"9.9.9.{number}",
            )
            for number in range(5)
        ]
        assert [answer.status_code for answer in answers] == [201] * 3 + [429] * 2
        assert answers[0].headers["ratelimit-policy"] == '"comments";q=3;w=60'
        assert '"comments";r=2' in answers[0].headers["ratelimit"]
        assert int(answers[4].headers["retry-after"]) > 0


@pytest.mark.parametrize(
    "path", ["/api/auth/nonce", "/api/discussions", "/api/votes/proposal", "/api/markets"]
)
async def test_nobody_uses_up_the_limit_of_a_wallet_whose_signature_he_has_seen(
    database_url: str, redis_url: str, path: str
) -> None:
    """A3: a copied signature over another body is refused, and counts against its sender, not against its wallet."""
    limits = {f"rate_limit_{name}": 4 for name in ("writes", "votes", "comments", "nonce")}
    async with site(database_url, redis_url, **limits, **BEHIND) as here:
        market, victim = await add_market(here.pool, 1), wallet(1)
        own = legacy_body(victim, content="Mine", market_id=market)
        assert (await post(here, "/api/discussions", own, "1.1.1.1")).status_code == 201
        seen = {name: own[name] for name in ("message", "signature", "wallet")}
        stolen = {
            **seen,
            "statement": own["message"],
            "content": "Not mine",
            "market_id": market,
            "vote": True,
        }
        for number in range(40):
            await post(here, path, {**stolen, "number": number}, f"9.9.9.{number % 8}")
        for number in range(2, 5):
            mine = legacy_body(victim, content=f"Mine {number}", market_id=market)
            assert (await post(here, "/api/discussions", mine, "1.1.1.1")).status_code == 201


async def test_all_header_lines_count_and_an_ipv6_subnet_is_one_client(
    database_url: str, redis_url: str
) -> None:
    """A9: a second header line, another address of an IPv6 subnet or another port is not counted as a new client."""
    async with site(database_url, redis_url, rate_limit_nonce=3, **BEHIND) as here:
        body = {"wallet": address(1)}

        async def statuses(lines: list[list[str]]) -> list[int]:
            found = []
            for values in lines:
                headers = [("x-forwarded-for", value) for value in values]
                found.append(
                    (await here.http.post("/api/auth/nonce", json=body, headers=headers)).status_code
                )
            return found

        assert await statuses([[f"5.5.5.{n}", "1.1.1.1"] for n in range(5)]) == [200] * 3 + [429] * 2
        assert await statuses([[f"2001:db8::{n}"] for n in range(5)]) == [200] * 3 + [429] * 2
        assert await statuses([[f"2.2.2.2:{n}"] for n in range(5)]) == [200] * 3 + [429] * 2


async def test_a_request_that_is_refused_for_its_query_counts(database_url: str, redis_url: str) -> None:
    """A8: a request with an invalid query counts, since the limit is checked before the query."""
    async with site(database_url, redis_url, rate_limit_reads=5) as here:
        paths = ["/api/markets?limit=1&limit=2", "/api/markets?search=%00", "/api/markets?numeric=words"]
        statuses = [(await here.get(paths[number % 3])).status_code for number in range(8)]
        assert statuses == [400] * 5 + [429] * 3


async def test_a_body_that_cannot_be_read_counts(database_url: str, redis_url: str) -> None:
    async with site(database_url, redis_url, rate_limit_nonce=1) as here:
        bodies = [
            ({"content-type": "text/plain"}, b"x", 415),
            ({"content-type": "application/json"}, b"\xff", 400),
            ({"content-type": "application/json"}, b"x" * 65_537, 413),
        ]
        for number in range(WALLETS_PER_ADDRESS):
            headers, body, status = bodies[number % 3]
            refused = await here.http.post("/api/auth/nonce", content=body, headers=headers)
            assert refused.status_code == status
        headers, body, _ = bodies[0]
        refused = await here.http.post("/api/auth/nonce", content=body, headers=headers)
        assert refused.status_code == 429


async def test_a_page_that_is_refused_says_when_to_come_back(database_url: str) -> None:
    browser = {"accept": "text/html"}
    async with site(database_url, rate_limit_reads=1) as here:
        assert (await here.get("/leaderboard", headers=browser)).status_code == 200
        refused = await here.get("/leaderboard", headers=browser)
        assert (refused.status_code, refused.headers["content-type"]) == (429, "text/html; charset=utf-8")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        wrong = await here.http.post("/leaderboard", headers=browser)
        assert (wrong.status_code, wrong.headers.get("allow")) == (405, "GET, OPTIONS")
