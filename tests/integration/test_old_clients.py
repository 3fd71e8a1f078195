"""The clients of the old backend go on working: what they send is taken, and they get what they read."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kit import rows
from kit.gateway import NOW, add_market, add_position, add_trade, site
from kit.wallets import address, market_id
from zmart.services.gateway.openapi import offline

EDGE_PROXY = [("path", "api"), ("path", "markets"), ("foo", "1"), ("foo", "2")]


def _reads() -> list[str]:
    """Every path that is read, with a market and a wallet in it."""
    values = {"key": market_id(1), "wallet": address(2), "signature": "1" * 64, "service": "ipfs"}
    paths = offline.document()["paths"].items()
    return [path.format(**values) for path, calls in paths if "get" in calls]


def _taken() -> list[tuple[str, str]]:
    """Each parameter of each read, with the path."""
    values = {"key": market_id(1), "wallet": address(2), "signature": "1" * 64, "service": "ipfs"}
    return [
        (path.format(**values), item["name"])
        for path, calls in offline.document()["paths"].items()
        for item in calls.get("get", {}).get("parameters", ())
        if item["in"] == "query"
    ]


async def test_parameters_that_a_proxy_adds_are_ignored(database_url: str) -> None:
    """U1: the old front end's edge proxy adds `path=api&path=markets` to every call."""
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
    """U1: a proxy and we could choose different ones of two values."""
    async with site(database_url) as here:
        await add_market(here.pool, 1)
        for path, name in _taken():
            answer = await here.get(path, params=[(name, "1"), *EDGE_PROXY, (name, "1")])
            assert answer.status_code == 400, path
            assert answer.json()["details"] == [
                {"field": name, "message": f"{name} is given more than once."}
            ]


async def test_the_gateway_says_healthy_and_for_how_many_seconds(database_url: str) -> None:
    """U4: scripts of the old backend read `status` and `uptime`."""
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
    """U3: the old client divides each by 1e9; decimal text made a portfolio of 0.0000 SOL of it."""
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
    """U6: its row says `other`, so the filter, the count and the related markets say so, too."""
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
    """U7: `type=resolution|creation`; amounts with their unit; shortened wallets, the whole ones beside them."""
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
    """U8: `trend` is text like "+25%", which the old front end shows as it is."""
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


async def test_related_markets_are_open_ones_first_and_never_too_few(database_url: str) -> None:
    """U8: what can be traded comes first, cancelled ones never, and the newest fill the list."""
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
