"""The pages and the API's own description."""

from __future__ import annotations

import re

import pytest
from gateway_harness import NOW, add_market, add_position, add_trade, address, market_id, site, wallet


async def test_pages_show_markets_wallets_and_talk_without_script(database_url: str, redis_url: str) -> None:
    async with site(database_url, redis_url, public_ws_url="wss://live.example/ws") as here:
        key = await add_market(here.pool, 1, question="Will <b>rain</b> fall & stay?", price_e9=612_000_000)
        await add_trade(here.pool, key, address(2), 1, price_e9=612_000_000)
        await add_position(here.pool, key, address(2), 10**9, 0, 6 * 10**8)
        token = await here.sign_in(wallet(2))
        await here.post("/api/discussions", {"content": "<script>alert(1)</script>", "market_id": key}, token)
        index = await here.get("/")
        assert index.headers["content-type"].startswith("text/html")
        assert "Will &lt;b&gt;rain&lt;/b&gt; fall &amp; stay?" in index.text
        assert "61.2" in index.text
        market = (await here.get(f"/markets/{key}")).text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in market
        assert "<script>" not in market
        assert '<path d="M' in market
        who = (await here.get(f"/wallets/{address(2)}")).text
        assert "0.612" in who
        policy = index.headers["content-security-policy"]
        assert "connect-src 'self' wss://live.example" in policy
        assert "unsafe" not in policy
        assert not re.search(r"style=|\son\w+=|https?://(?!www\.w3\.org)", index.text + market)


async def test_the_list_pages_on_and_the_search_finds_markets_and_wallets(database_url: str) -> None:
    async with site(database_url) as here:
        for number in range(35):
            await add_market(here.pool, number, question=f"Is this question number {number}?")
        first = (await here.get("/")).text
        following = re.search(r'href="(/\?[^"]*cursor=[^"]+)"', first)
        assert following is not None
        second = (await here.get(following[1].replace("&amp;", "&"))).text
        assert second.count('class="card"') == 5
        to_market = await here.get(f"/find?q={market_id(3)}")
        assert (to_market.status_code, to_market.headers["location"]) == (303, f"/markets/{market_id(3)}")
        assert (await here.get(f"/find?q={address(99)}")).headers["location"] == f"/wallets/{address(99)}"
        assert "number 7?" in (await here.get("/find?q=number 7")).text


async def test_a_page_that_is_not_there_is_a_page(database_url: str) -> None:
    async with site(database_url) as here:
        answer = await here.get(f"/markets/{market_id(1)}", headers={"accept": "text/html"})
        assert answer.status_code == 404
        assert "There is no market" in answer.text
        assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("name", ["pages.css", "live.js", "mark.svg"])
async def test_everything_of_a_page_comes_from_here(database_url: str, name: str) -> None:
    async with site(database_url) as here:
        assert (await here.get(f"/static/{name}")).status_code == 200
        for bad in ("render.py", "..%2Frender.py", "nothing.css"):
            assert (await here.get(f"/static/{bad}")).status_code == 404


async def test_the_published_description_is_openapi_and_names_every_endpoint(database_url: str) -> None:
    async with site(database_url) as here:
        schema = (await here.get("/api/openapi.json")).json()
        assert schema["openapi"].startswith("3.1")
        calls = {(method, path) for path, item in schema["paths"].items() for method in item}
        expected = {
            ("get", "/api/markets"), ("post", "/api/markets"), ("get", "/api/markets/{key}"),
            ("post", "/api/markets/{key}/approve"), ("post", "/api/markets/{key}/activate"),
            ("post", "/api/markets/{key}/resolve"), ("post", "/api/markets/{key}/cancel"),
            ("post", "/api/markets/{key}/dispute"), ("post", "/api/trades/buy"), ("post", "/api/trades/sell"),
            ("post", "/api/trades/claim"), ("post", "/api/trades/withdraw"), ("post", "/api/votes/proposal"),
            ("post", "/api/votes/dispute"), ("get", "/api/discussions/{key}"), ("post", "/api/discussions"),
            ("post", "/api/discussions/{key}"), ("delete", "/api/discussions/{comment_id}"),
            ("get", "/api/discussions/{key}/snapshots"), ("get", "/api/users/{wallet}"),
            ("put", "/api/users/{wallet}"), ("get", "/api/users/{wallet}/stats"), ("post", "/api/auth/nonce"),
            ("post", "/api/auth/verify"), ("post", "/api/auth/logout"), ("post", "/api/transactions"),
            ("get", "/api/transactions/{signature}"), ("get", "/api/votes/{key}/proof"), ("get", "/api/status"),
            ("get", "/api/events/latest"), ("get", "/api/search"), ("get", "/api/leaderboard"),
        }  # fmt: skip
        assert calls >= expected
        for path, item in schema["paths"].items():
            for operation in item.values():
                assert operation.get("description"), path
                assert operation["responses"]["503"]["content"]
        docs = (await here.get("/docs")).text
        assert "/api/trades/buy" in docs
        assert "max_cost" in docs
        assert "http" not in re.sub(r"https?://www\.w3\.org|http-equiv", "", docs).split("<main")[0]


async def test_answers_agree_with_the_published_description(database_url: str) -> None:
    async with site(database_url) as here:
        key = await add_market(here.pool, 1)
        await add_trade(here.pool, key, address(2), 1, at=NOW)
        schema = (await here.get("/api/openapi.json")).json()
        for path in (
            "/api/markets/{key}/trades",
            "/api/markets",
            "/api/status",
            "/api/markets/{key}/holders",
        ):
            body = (await here.get(path.replace("{key}", key))).json()
            promised = schema["paths"][path]["get"]["responses"]["200"]["content"]["application/json"][
                "schema"
            ]
            named = schema["components"]["schemas"][promised["$ref"].rpartition("/")[2]]
            assert set(named["properties"]) == set(body)
