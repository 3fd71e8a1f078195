"""Tests that clients of the old backend go on working: their requests are accepted, and answers have their fields."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from kit import rows
from kit.gateway import (
    NOW,
    Site,
    add_market,
    add_position,
    add_trade,
    ballot,
    legacy_body,
    legacy_header,
    site,
)
from kit.wallets import address, market_id, wallet
from zmart.services.gateway.openapi import offline

EDGE_PROXY = [("path", "api"), ("path", "markets"), ("foo", "1"), ("foo", "2")]


def _reads() -> list[str]:
    """Return the path of every GET, with a market's id and a wallet in place of its parameters."""
    values = {"key": market_id(1), "wallet": address(2), "signature": "1" * 64, "service": "ipfs"}
    paths = offline.document()["paths"].items()
    return [path.format(**values) for path, calls in paths if "get" in calls]


def _taken() -> list[tuple[str, str]]:
    """Return each query parameter of each read: (path, name)."""
    values = {"key": market_id(1), "wallet": address(2), "signature": "1" * 64, "service": "ipfs"}
    return [
        (path.format(**values), item["name"])
        for path, calls in offline.document()["paths"].items()
        for item in calls.get("get", {}).get("parameters", ())
        if item["in"] == "query"
    ]


async def test_parameters_that_a_proxy_adds_are_ignored(database_url: str) -> None:
    """U1: parameters that a proxy adds are ignored.

    The old front end's edge proxy adds `path=api&path=markets` to every call.
    """
    async with site(database_url) as here:
        await add_trade(here.pool, await add_market(here.pool, 1), address(2), 1)
        for path in (*_reads(), "/", "/health", "/ready"):
            needed = (
                {"q": "rain"} if path == "/api/search" else {"wallet": address(2)} if "/proof" in path else {}
            )
            needed |= {"outcome": "YES", "shares": "5"} if "/quote" in path else {}
            plain = await here.get(path, params=needed)
            for _ in range(2):  # the second may come from the cache
                proxied = await here.get(path, params=[*needed.items(), *EDGE_PROXY])
                assert proxied.status_code == plain.status_code, (path, proxied.text)
        written = await here.http.post("/api/auth/nonce", params=EDGE_PROXY, json={"wallet": "x"})
        assert written.json()["details"][0]["field"] == "wallet"


async def test_a_parameter_of_the_route_is_given_once(database_url: str) -> None:
    """U1: a parameter of the route that is given twice is 400: a proxy and the gateway could pick different values."""
    async with site(database_url) as here:
        await add_market(here.pool, 1)
        for path, name in _taken():
            answer = await here.get(path, params=[(name, "1"), *EDGE_PROXY, (name, "1")])
            assert answer.status_code == 400, path
            assert {"field": name, "message": f"{name} is given more than once."} in answer.json()["details"]


async def test_the_gateway_says_healthy_and_for_how_many_seconds(database_url: str) -> None:
    """U4: the gateway's health has `status` and `uptime` in seconds, which scripts of the old backend read."""
    async with site(database_url) as here:
        health = here.gateway.health()
        assert health["status"] == "healthy"
        assert isinstance(health["uptime"], float)
        assert health["uptime"] >= 0


@pytest.mark.parametrize(
    ("price_e9", "invested", "pnl", "roi"),
    [(600_000_000, 10**9, 6 * 10**8, 60.0), (250_000_000, 5 * 10**9, -375 * 10**7, -75.0)],
)
async def test_positions_are_integers_of_1e_9_in_text(
    database_url: str, price_e9: int, invested: int, pnl: int, roi: float
) -> None:
    """U3: positions have integers of 1e-9 units as text, since the old client divides each by 1e9.

    The old client would show decimal text as a portfolio of 0.0000 SOL.
    """
    async with site(database_url) as here:
        key = await add_market(here.pool, 1, price_e9=price_e9, shares=(5 * 10**9, 10**9))
        yes, no = 2 * 10**9, 10**9
        await add_position(here.pool, key, address(3), yes, no, invested)
        for query in ("", "?numeric=string"):
            [row] = (await here.get(f"/api/users/{address(3)}/positions{query}")).json()
            value = invested + pnl
            assert row == {
                "market_id": key, "question": "Will it rain tomorrow?", "shares_yes": str(yes), "shares_no": str(no),
                "total_invested": str(invested), "current_value": str(value), "unrealized_pnl": str(pnl),
                "roi": roi, "state": 2,
            }  # fmt: skip


async def test_a_market_without_its_text_has_one_category_everywhere(database_url: str) -> None:
    """U6: a market without its text has the category `other` in its row, in filters, counts and related markets."""
    async with site(database_url) as here:
        known = await add_market(here.pool, 1, category="other")
        sports = await add_market(here.pool, 2, category="sports")
        bare = rows.market_fold(market_id(3), "ACTIVE", created_at=NOW, question_cid="QmOther")
        await rows.add_markets(here.pool, [bare])
        for sort in ("newest", "volume", "trending"):
            listed = (await here.get(f"/api/markets?category=other&sort={sort}")).json()
            assert {row["id"] for row in listed["markets"]} == {known, market_id(3)}
            assert {row["category"] for row in listed["markets"]} == {"other"}
            assert listed["count"] == 2
        paged = (await here.get("/api/markets?category=other&limit=1")).json()
        following = await here.get(f"/api/markets?category=other&limit=1&cursor={paged['next_cursor']}")
        assert {paged["markets"][0]["id"], following.json()["markets"][0]["id"]} == {known, market_id(3)}
        categories = (await here.get("/api/markets/categories")).json()["categories"]
        assert {row["id"]: row["count"] for row in categories} == {"other": 2, "sports": 1}
        related = (await here.get(f"/api/markets/{market_id(3)}/related")).json()["related"]
        assert [(row["id"], row["categoryMatch"]) for row in related] == [(known, True), (sports, False)]


async def test_activity_is_named_and_written_as_the_old_front_end_shows_it(database_url: str) -> None:
    """U7: activity has the types `resolution` and `creation`, amounts with their unit, short wallets and whole ones."""
    async with site(database_url) as here:
        key = await add_market(here.pool, 1)
        ended = await add_market(
            here.pool, 2, "FINALIZED", final_outcome=False, finalized_at=NOW + timedelta(hours=1)
        )
        for slot, cost in enumerate((1_234_567_890, 1_235_000_000, 4_999_999, 10_000_000), 1):
            await add_trade(here.pool, key, address(2), slot, cost=cost, at=NOW + timedelta(minutes=slot))

        async def of(kind: str) -> list[dict]:
            answer = await here.get(f"/api/markets/activity?type={kind}")
            assert answer.status_code == 200, answer.text
            return list(answer.json()["activities"])

        trades = await of("trade")
        assert [row["amount"] for row in trades] == ["0.01 SOL", "0.004999999 SOL", "1.24 SOL", "1.23 SOL"]
        assert trades[0]["amountLamports"] == 10_000_000
        who = address(2)
        assert {(row["user"], row["wallet"]) for row in trades} == {(f"{who[:4]}...{who[-4:]}", who)}
        [resolved] = await of("resolution")
        assert (resolved["type"], resolved["marketId"], resolved["action"]) == (
            "resolution",
            ended,
            "resolved NO",
        )
        assert {row["marketId"] for row in await of("creation")} == {key, ended}
        assert {row["type"] for row in await of("market")} == {"creation", "resolution"}
        assert {row["type"] for row in await of("all")} == {"trade", "creation", "resolution"}


async def test_categories_tell_their_growth_in_percent(database_url: str) -> None:
    """U8: `trend` of a category is text like "+25%", which the old front end shows as it is."""
    async with site(database_url) as here:
        for number in range(1, 5):
            await add_market(here.pool, number, category="sports")
        await here.pool.execute("UPDATE markets SET created_at = now() - interval '30 days'")
        await add_market(here.pool, 6, category="weather")
        await here.pool.execute("UPDATE markets SET created_at = now() - interval '30 days'")
        await add_market(here.pool, 5, category="sports")
        await add_market(here.pool, 7, category="crypto")
        await here.pool.execute(
            "UPDATE markets SET created_at = now() WHERE created_at < now() - interval '99 days'"
        )
        categories = (await here.get("/api/markets/categories")).json()["categories"]
        assert {row["id"]: row["trend"] for row in categories} == {
            "sports": "+25%", "weather": "+0%", "crypto": "+100%",
        }  # fmt: skip


@pytest.mark.parametrize("of_a_trade", [True, False], ids=["a trade's time", "the Clock's"])
async def test_lists_go_by_the_clock_of_the_chain(database_url: str, of_a_trade: bool) -> None:
    """P20: 40 days ahead, a market that was created today is no longer new, and one that ends in a month has ended."""
    async with site(database_url) as here:
        now = datetime.now(UTC)
        key = await add_market(here.pool, 1, category="sports", ends_at=now + timedelta(days=30))
        later = await add_market(here.pool, 2, category="sports", ends_at=now + timedelta(days=50))
        ahead = now + timedelta(days=40)
        if of_a_trade:
            await add_trade(here.pool, key, address(2), 1, price_e9=550_000_000, at=ahead)
        else:
            await here.pool.execute("UPDATE index_progress SET final_time = $1", int(ahead.timestamp()))
        [row] = (await here.get("/api/markets/categories")).json()["categories"]
        assert row["trend"] == "+0%"
        ending = (await here.get("/api/markets?sort=ending")).json()["markets"]
        assert [market["id"] for market in ending] == [later]


async def test_related_markets_are_open_ones_first_and_never_too_few(database_url: str) -> None:
    """U8: related markets are open ones first and never cancelled ones, and the newest markets fill the list."""
    async with site(database_url) as here:
        me = await add_market(here.pool, 1, category="sports", tags=("cup",))
        ended = await add_market(
            here.pool, 2, "FINALIZED", category="sports", tags=("cup",), final_outcome=True, finalized_at=NOW
        )
        await add_market(here.pool, 3, "CANCELLED", category="sports", tags=("cup",))
        tagged = await add_market(here.pool, 4, category="politics", tags=("cup",))
        same = await add_market(here.pool, 5, category="sports")
        old = await add_market(
            here.pool, 6, category="weather", created_at=NOW - timedelta(days=2), volume=10**12
        )
        new = await add_market(here.pool, 7, category="weather", created_at=NOW - timedelta(days=1))

        async def related(key: str, limit: int = 5) -> list[str]:
            answer = await here.get(f"/api/markets/{key}/related?limit={limit}")
            return [row["id"] for row in answer.json()["related"]]

        assert await related(me, 9) == [tagged, same, new, old, ended]
        assert await related(me, 2) == [tagged, same]
        assert (await related(new, 2))[0] == old


PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
PAGES_HERE = ("http://localhost:3000", "http://localhost:5173", "http://127.0.0.1:3001", "https://localhost",
              "http://[::1]:8080", "http://app.localhost:3000")  # fmt: skip
PAGES_ELSEWHERE = ("https://app.example.org", "http://192.168.0.7:3000", "http://localhost.evil.example", "null",
                   "http://localhost:3000/", "http://evil@localhost:3000", "file://localhost", "localhost:3000",
                   "http://127.0.0.1.evil.example:3000", "http://LOCALHOST:3000", "")  # fmt: skip


@pytest.mark.parametrize("settings", [{}, {"cors_origin": "https://app.example.com"}])
async def test_a_local_stack_allows_pages_of_this_machine_unless_told_which(
    database_url: str, settings: dict[str, str]
) -> None:
    """U2, P12: a local stack allows front ends on every port of this machine, unless CORS_ORIGIN lists its own."""
    async with site(database_url, **settings) as here:
        for origin in (*PAGES_HERE, *PAGES_ELSEWHERE, "https://app.example.com"):
            allowed = origin == settings.get("cors_origin") or (not settings and origin in PAGES_HERE)
            headers = {"origin": origin}
            for answer in (
                await here.get("/api/markets", headers=headers),
                await here.http.options("/api/votes/proposal", headers={**headers, **PREFLIGHT}),
            ):
                given = answer.headers.get("access-control-allow-origin")
                assert given == (origin if allowed else None), origin
                assert answer.headers["vary"] == "Origin"


async def test_elsewhere_no_page_of_the_visitor_s_machine_is_allowed(database_url: str) -> None:
    """U2: outside of the local stack no page of the visitor's own machine is allowed by default."""
    secret = "the secret of a webhook, of 32 characters"
    async with site(database_url, zmart_env="production", helius_webhook_secret=secret) as here:
        for origin in PAGES_HERE:
            answer = await here.get("/api/markets", headers={"origin": origin})
            assert "access-control-allow-origin" not in answer.headers


async def _signed_in(here: Site, number: int) -> dict[str, str]:
    return {"authorization": f"Bearer {await here.sign_in(wallet(number))}"}


@pytest.mark.parametrize(
    "field",
    ["wallet", "user", "user_wallet", "userWallet", "voter", "creator", "creator_wallet", "author", "trader"],
)
@pytest.mark.parametrize("proof", ["session", "body", "header"])
async def test_a_body_that_names_another_wallet_than_its_sender_is_refused(
    database_url: str, redis_url: str, field: str, proof: str
) -> None:
    """U10: a body that names another wallet than the one that its proof names is 403, and has no effect.

    A vote for `user_wallet` would otherwise count for the session's wallet, and a vote cannot be taken back.
    """
    async with site(database_url, redis_url, votes_require_statement=False) as here:
        market = await add_market(here.pool, 1, "PROPOSED")
        for path, body in (
            ("/api/votes/proposal", {"market_id": market, "vote": True}),
            ("/api/discussions", {"market_id": market, "content": "Hello"}),
            (f"/api/discussions/{market}", {"content": "Hello"}),
        ):
            headers = await _signed_in(here, 1) if proof == "session" else {}
            if proof == "header":
                headers = {"authorization": legacy_header(wallet(1))}
            signed = legacy_body(wallet(1)) if proof == "body" else {}
            nested = {"_auth": signed} if signed else {}
            answer = await here.http.post(path, json={**body, **nested, field: address(2)}, headers=headers)
            assert answer.status_code == 403, answer.text
            assert field in answer.json()["message"]
        assert (await here.get(f"/api/votes/{market}")).json()["proposal_votes"]["likes"] == 0
        assert (await here.get(f"/api/discussions/{market}")).json()["count"] == 0
        headers = await _signed_in(here, 1)
        own = {"market_id": market, "vote": True, field: address(1)}
        assert (await here.http.post("/api/votes/proposal", json=own, headers=headers)).status_code == 201


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"wallet": 1, "user_wallet": 2}, "user_wallet"), ({"user": 2, "user_wallet": 1}, "user_wallet"),
        ({"wallet": 2, "user": 1}, "user"),
    ],
)  # fmt: skip
async def test_a_vote_with_two_wallets_in_it_is_refused(
    database_url: str, fields: dict[str, int], field: str
) -> None:
    """U10: a vote that names two wallets is refused, also if a statement proves one of them."""
    async with site(database_url) as here:
        market = await add_market(here.pool, 1, "PROPOSED")
        signed = ballot(here, wallet(1), market)
        named = {name: address(number) for name, number in fields.items()}
        answer = await here.post("/api/votes/proposal", {**signed, **named})
        assert answer.status_code == 400
        assert answer.json()["details"][0]["field"] == field
        only = {name: value for name, value in signed.items() if name != "wallet"}
        assert (
            await here.post("/api/votes/proposal", {**only, "user_wallet": address(1)})
        ).status_code == 201


async def test_a_body_that_names_two_markets_is_refused(database_url: str, redis_url: str) -> None:
    """U10: a body is refused if `proposal_id`, or the market in the path, differs from its `market_id`."""
    async with site(database_url, redis_url, votes_require_statement=False) as here:
        one, two = await add_market(here.pool, 1, "PROPOSED"), await add_market(here.pool, 2, "PROPOSED")
        headers = await _signed_in(here, 1)
        for path, body, field in (
            ("/api/votes/proposal", {"market_id": one, "proposal_id": two, "vote": True}, "proposal_id"),
            (f"/api/discussions/{one}", {"market_id": two, "content": "Hello"}, "market_id"),
        ):
            answer = await here.http.post(path, json=body, headers=headers)
            assert answer.status_code == 400, answer.text
            assert answer.json()["details"][0]["field"] == field
        both = {
            "market_id": one,
            "proposal_id": here.gateway.context.program.addresses.market(one),
            "vote": True,
        }
        assert (await here.http.post("/api/votes/proposal", json=both, headers=headers)).status_code == 201


async def test_a_buy_holds_both_the_shares_and_the_most_that_they_may_cost(database_url: str) -> None:
    """U12: a buy with both `shares` and `max_cost`, as old clients send it, is quoted within both or refused."""
    async with site(database_url) as here:
        key = await add_market(here.pool, 1)

        async def quoted(**query: int) -> httpx.Response:
            return await here.get(f"/api/markets/{key}/quote", params={"outcome": "YES", **query})

        alone = (await quoted(shares=10**8)).json()
        cost = alone["max_cost"]
        for most in (cost, cost + 1, 10 * cost):
            both = (await quoted(shares=10**8, max_cost=most)).json()
            assert (both["shares"], both["max_cost"], both["min_shares"]) == (alone["shares"], cost, 10**8)
        raised = (await quoted(shares=10**8, max_cost=cost + 2, slippage_bps=500)).json()
        assert (raised["max_cost"], raised["min_shares"] >= 10**8) == (cost + 2, True)
        refused = await quoted(shares=10**8, max_cost=cost - 1)
        assert refused.status_code == 409
        assert str(cost) in refused.json()["message"]
        assert (await quoted()).status_code == 400


FORMER = [
    ("/api/markets", {"question": "Will it rain on Sunday?", "end_date": "2100-01-01", "b_parameter": 20 * 10**9,
                      "initial_liquidity": 15 * 10**9},
     {"liquidity": "initial_liquidity", "liquidity_parameter": "b_parameter", "ends_at": "end_date"}),
    ("/api/trades/buy", {"market_id": market_id(1), "outcome": True, "max_cost": 5}, {"target_cost": "max_cost"}),
    ("/api/trades/sell", {"market_id": market_id(1), "outcome": True, "shares": 5}, {"shares_to_sell": "shares"}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "former"), FORMER, ids=[path for path, _, _ in FORMER])
async def test_former_names_are_taken_where_their_meaning_is_clear(
    database_url: str, redis_url: str, path: str, body: dict[str, object], former: dict[str, str]
) -> None:
    """U12: a field's former name is accepted where its meaning is clear; a missing field is told by its present name.

    `liquidity` of a market is its deposit.
    """
    async with site(database_url, redis_url) as here:
        headers = await _signed_in(here, 1)
        for old, name in former.items():
            renamed = {old if field == name else field: value for field, value in body.items()}
            for sent in (renamed, {**renamed, name: body[name]}):
                answer = await here.http.post(path, json=sent, headers=headers)
                assert answer.status_code == 503, answer.text  # there is no chain: the body was accepted
            doubled = await here.http.post(path, json={**body, old: 7}, headers=headers)
            assert (doubled.status_code, doubled.json()["details"][0]["field"]) == (400, old)
            without = {field: value for field, value in body.items() if field != name}
            missing = await here.http.post(path, json=without, headers=headers)
            assert (missing.status_code, missing.json()["details"][0]["field"]) == (400, name)
        signed = {**legacy_body(wallet(2)), **body}
        signed[next(iter(former))] = signed.pop(next(iter(former.values())))
        assert (await here.post(path, signed)).status_code == 503
        assert (await here.post(path, signed)).status_code == 401, "it was spent with the body as it came"
