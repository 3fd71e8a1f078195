"""Tests of what reads answer, computed from rows as the indexer writes them."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from kit import rows
from kit.gateway import (
    NOW,
    add_market,
    add_position,
    add_trade,
    site,
)
from kit.machine_time import machine_time, seconds_since
from kit.wallets import address, market_id, wallet
from zmart.market.types import Side

ROW = {
    "id", "on_chain_address", "question", "description", "category", "tags", "state", "status", "creator_wallet",
    "creator", "b_parameter", "liquidity_parameter", "initial_liquidity", "current_liquidity", "shares_yes",
    "shares_no", "total_yes_shares", "total_no_shares", "current_price_yes", "current_price_no", "total_volume",
    "traders", "created_at", "approved_at", "activated_at", "resolution_proposed_at", "finalize_after", "ends_at",
    "finalized_at", "proposed_outcome", "final_outcome",
}  # fmt: skip


async def test_a_list_has_every_field_and_its_filters_work(database_url: str) -> None:
    async with site(database_url) as here:
        await add_market(here.pool, 1, "PROPOSED", question="Will bitcoin fall?", category="crypto")
        await add_market(here.pool, 2, "ACTIVE", price_e9=612_345_678, created_at=NOW + timedelta(hours=1))

        async def ids(query: str) -> list[str]:
            body = (await here.get(f"/api/markets?{query}")).json()
            assert body["count"] == len(body["markets"])
            return [row["id"][-1] for row in body["markets"]]

        rows = (await here.get("/api/markets")).json()["markets"]
        assert rows[0].keys() >= ROW
        assert (rows[0]["current_price_yes"], rows[0]["current_price_no"]) == ("0.612345678", "0.387654322")
        assert await ids("") == ["2", "1"]
        assert await ids("state=PROPOSED") == await ids("state=0") == await ids("category=crypto") == ["1"]
        assert await ids("q=bitcoins") == ["1"]
        assert await ids(f"creator={address(1)}") == ["2", "1"]
        assert await ids(f"creator={address(2)}") == []
        assert (await here.get("/api/markets?state=7")).status_code == 400
        assert (await here.get("/api/markets?sort=odd")).status_code == 400


async def test_a_market_that_is_being_resolved_says_when_it_is_final(database_url: str) -> None:
    async with site(database_url, finalize_safety_s=60) as here:
        key = await add_market(here.pool, 1, "RESOLVING", proposed_at=NOW)
        body = (await here.get(f"/api/markets/{key}")).json()
        assert body["finalize_after"] == "2026-01-18T12:01:00.000Z"
        assert body["dispute_window"]["closes_at"] == "2026-01-18T12:00:00.000Z"
        assert body["proposal"]["threshold_bps"] == 7000


async def test_trades_come_oldest_first_and_page_backwards(database_url: str) -> None:
    async with site(database_url) as here:
        key = await add_market(here.pool, 1)
        for slot in range(1, 6):
            await add_trade(here.pool, key, address(2), slot, outcome=slot % 2 == 0)
        first = (await here.get(f"/api/markets/{key}/trades?limit=2")).json()
        assert [row["slot"] for row in first["trades"]] == [4, 5]
        second = (await here.get(f"/api/markets/{key}/trades?limit=2&cursor={first['next_cursor']}")).json()
        assert [row["slot"] for row in second["trades"]] == [2, 3]
        assert (await here.get(f"/api/markets/{key}/trades?limit=2&offset=2")).json()["trades"] == second[
            "trades"
        ]
        row = second["trades"][0]
        assert (row["outcome"], row["outcome_bool"], row["fees"]) == ("YES", True, 100)
        assert row["user"] == row["user_wallet"] == address(2)
        wallets = (await here.get(f"/api/users/{address(2)}/trades?limit=2")).json()
        assert [row["slot"] for row in wallets["trades"]] == [5, 4]
        stats = (await here.get(f"/api/markets/{key}/stats")).json()["stats"]
        assert stats == {
            "total_volume": 3000, "total_trades": 5, "unique_traders": 1, "buy_volume": 3000, "sell_volume": 0,
        }  # fmt: skip


async def test_price_history_and_candles_follow_the_tape(database_url: str) -> None:
    async with site(database_url) as here:
        ended = NOW + timedelta(minutes=10)
        key = await add_market(here.pool, 1, "FINALIZED", finalized_at=ended, final_outcome=True)
        prices = ((1, 30, 520), (2, 40, 560), (3, 50, 540), (4, 250, 700))
        for slot, second, price in prices:
            moment = NOW + timedelta(seconds=second)
            await add_trade(here.pool, key, address(2), slot, price_e9=price * 1_000_000, at=moment)
        history = (await here.get(f"/api/markets/{key}/price-history")).json()["price_history"]
        assert [(p["yes"], p["no"]) for p in history] == [(50, 50), (52, 48), (56, 44), (54, 46), (70, 30)]
        start = NOW.isoformat().replace("+00:00", "Z")
        url = f"/api/markets/{key}/candles?interval=1m&start={start}"
        candles = (await here.get(url)).json()["candles"]
        prices_of = [
            [c[f"{name}_price_yes"][:5] for name in ("open", "high", "low", "close")] for c in candles
        ]
        assert prices_of[0] == ["0.520", "0.560", "0.520", "0.540"]
        assert prices_of[1:4] == [["0.540"] * 4] * 3
        assert prices_of[4] == ["0.700"] * 4
        assert [c["volume"] for c in candles] == [1800, 0, 0, 0, 600, 0, 0, 0, 0, 0]
        later = (
            await here.get(f"{url[: -len(start)]}{(NOW + timedelta(minutes=5)).isoformat()[:-6]}Z")
        ).json()
        assert later["candles"][0]["open_price_yes"] == "0.700000000"
        assert (await here.get(f"/api/markets/{key}/candles?interval=2m")).status_code == 400
        assert (await here.get(f"/api/markets/{key}/candles?interval=1m&start=2020-01-01")).status_code == 400
        for path in ("candles?interval=1d", "price-history?limit=5"):
            for at in ("0001-01-01", "9999-12-31T23:59:59.999Z"):
                for window in (f"start={at}", f"end={at}", f"start={at}&end={at}"):
                    assert (await here.get(f"/api/markets/{key}/{path}&{window}")).status_code in (200, 400)


async def test_a_price_of_zero_is_repeated_in_the_candles_without_trades(database_url: str) -> None:
    async with site(database_url) as here:
        key = await add_market(here.pool, 1)
        await add_trade(here.pool, key, address(2), 1, price_e9=0, at=NOW + timedelta(minutes=1))
        start = (NOW + timedelta(minutes=5)).isoformat()[:-6]
        url = f"/api/markets/{key}/candles?interval=1m&start={start}Z&end={start[:-5]}10:00Z"
        candles = (await here.get(url)).json()["candles"]
        assert {candle["close_price_yes"] for candle in candles} == {"0.000000000"}


async def test_a_history_begins_with_what_was_held_before_its_trades(database_url: str) -> None:
    async with site(database_url) as here:
        one, two = await add_market(here.pool, 1), await add_market(here.pool, 2)
        who, half = address(3), 500_000_000
        for slot, market, outcome in ((1, one, True), (2, one, False), (3, two, False)):
            await add_trade(
                here.pool, market, who, slot, outcome=outcome, shares=4000, cost=4000, price_e9=half
            )
        sales = [
            rows.trade_fold(one, who, signature=f"sale{slot}", side=Side.SELL, slot=slot, traded_at=NOW)
            for slot in range(4, 2005)
        ]
        await rows.add_trades(here.pool, sales)
        history = (await here.get(f"/api/users/{who}/portfolio")).json()["history"]
        assert len(history) == 2000 + 1
        assert [history[0][name] for name in ("value", "invested", "realized_pnl")] == [5999, 11_998, 0]
        assert [history[-2][name] for name in ("value", "invested", "realized_pnl")] == [4999, 9_999, 0]


async def test_candles_reach_the_newest_trade_of_a_clock_that_is_ahead(database_url: str) -> None:
    async with site(database_url) as here:
        ahead = (datetime.now(UTC) + timedelta(hours=50)).replace(minute=0, second=0, microsecond=0)
        key = await add_market(here.pool, 1, activated_at=ahead - timedelta(hours=1))
        await add_trade(here.pool, key, address(2), 1, price_e9=700_000_000, at=ahead)
        candles = (await here.get(f"/api/markets/{key}/candles?interval=1h")).json()["candles"]
        assert [candle["trades"] for candle in candles] == [0, 1]
        path = f"/api/markets/{key}/candles?interval=1h&start="
        begun = (await here.get(f"{path}{ahead - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}")).json()["candles"]
        assert [candle["trades"] for candle in begun] == [0, 1]
        refused = await here.get(f"{path}{ahead + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}")
        assert refused.status_code == 400
        assert "end must be after start." in refused.text


async def test_candles_of_an_untraded_market_reach_its_activation_by_a_clock_that_is_ahead(
    database_url: str,
) -> None:
    async with site(database_url) as here:
        ahead = (datetime.now(UTC) + timedelta(hours=50)).replace(minute=0, second=0, microsecond=0)
        key = await add_market(here.pool, 1, activated_at=ahead)
        [candle] = (await here.get(f"/api/markets/{key}/candles?interval=1h")).json()["candles"]
        assert (candle["close_price_yes"], candle["trades"]) == ("0.500000000", 0)


async def test_candles_may_begin_after_the_end_of_their_market(database_url: str) -> None:
    async with site(database_url) as here:
        key = await add_market(here.pool, 1, "FINALIZED", finalized_at=NOW, final_outcome=True)
        start = (datetime.now(UTC) - timedelta(hours=2)).isoformat()[:-6]
        answer = await here.get(f"/api/markets/{key}/candles?interval=1h&start={start}Z")
        assert answer.status_code == 200, answer.text
        assert answer.json()["count"] >= 2


async def test_positions_are_worth_what_the_market_says(database_url: str) -> None:
    async with site(database_url) as here:
        key = await add_market(here.pool, 1, price_e9=600_000_000, shares=(5 * 10**9, 10**9))
        won = await add_market(here.pool, 2, "FINALIZED", final_outcome=True, finalized_at=NOW)
        who = address(3)
        await add_position(here.pool, key, who, 2 * 10**9, 10**9, 10**9)
        await add_position(here.pool, won, who, 3 * 10**9, 0, 10**9)
        await add_trade(here.pool, key, who, 9)
        rows = {row["market_id"]: row for row in (await here.get(f"/api/users/{who}/positions")).json()}
        assert rows[key]["current_value"] == str(16 * 10**8)
        assert (rows[key]["unrealized_pnl"], rows[key]["roi"], rows[key]["state"]) == (
            str(6 * 10**8), 60, 2,
        )  # fmt: skip
        assert rows[won]["current_value"] == str(3 * 10**9)
        plain = {row["market_id"]: row for row in (await here.get(f"/api/positions/{who}")).json()}
        assert plain[key]["yes_shares"] == 2 * 10**9
        stats = (await here.get(f"/api/users/{who}/stats")).json()
        assert (stats["unrealized_pnl"], stats["win_rate"]) == (26 * 10**8, 100)
        holders = (await here.get(f"/api/markets/{key}/holders")).json()
        assert holders["yes"][0] == holders["no"][0] == holders["holders"][0]
        assert (holders["yes"][0]["percent_yes"], holders["yes_count"]) == (40, 1)
        portfolio = (await here.get(f"/api/users/{who}/portfolio")).json()
        assert portfolio["value"] == 46 * 10**8
        assert portfolio["open_positions"][0]["average_cost_yes"] == "0.500000000"
        leaders = (await here.get("/api/leaderboard?by=volume&window=all")).json()["leaders"]
        assert (leaders[0]["wallet"], leaders[0]["rank"]) == (who, 1)
        assert (await here.get("/api/positions/nobody")).status_code == 404


async def test_the_short_lists_of_upstreams_clients_have_their_shapes(
    database_url: str, redis_url: str
) -> None:
    async with site(database_url, redis_url) as here:
        key = await add_market(here.pool, 1, category="sports", tags=("cup", "final"), price_e9=700_000_000)
        near = await add_market(here.pool, 2, category="politics", tags=("cup",))
        new = await add_market(here.pool, 3, category="weather")
        await add_trade(here.pool, key, address(2), 1, price_e9=600_000_000, at=NOW - timedelta(days=2))
        await add_trade(here.pool, key, address(2), 2, price_e9=700_000_000, cost=3 * 10**9)
        await here.pool.execute("UPDATE trades SET traded_at = now() WHERE slot = 2")
        trending = (await here.get("/api/markets/trending")).json()
        row = trending["trending"][0]
        assert (row["id"], row["yesPrice"], row["change24h"], row["volume24h"]) == (key, 0.7, 10.0, 3.0)
        assert (await here.get("/api/markets?sort=trending")).json()["markets"][0]["id"] == key
        categories = (await here.get("/api/markets/categories")).json()["categories"]
        assert {c["id"]: c["count"] for c in categories} == {"sports": 1, "politics": 1, "weather": 1}
        related = (await here.get(f"/api/markets/{key}/related")).json()["related"]
        assert [(r["id"], r["categoryMatch"]) for r in related] == [(near, False), (new, False)]
        token = await here.sign_in(wallet(4))
        await here.post("/api/discussions", {"content": "Go!", "market_id": key}, token)
        activities = (await here.get("/api/markets/activity")).json()["activities"]
        assert {a["type"] for a in activities} == {"trade", "discussion", "creation"}
        only = (await here.get("/api/markets/activity?type=trade&limit=1")).json()["activities"]
        assert (only[0]["marketId"], only[0]["amount"], only[0]["wallet"]) == (key, "3.00 SOL", address(2))
        result = (await here.get("/api/search?q=rain")).json()
        assert result["count"] == 3
        assert result["markets"][0]["rank"] > 0


async def test_comments_are_made_answered_and_taken_back(database_url: str, redis_url: str) -> None:
    async with site(database_url, redis_url) as here:
        market = await add_market(here.pool, 1)
        mine, theirs = await here.sign_in(wallet(1)), await here.sign_in(wallet(2))
        first = await here.post(f"/api/discussions/{market}", {"content": "  First  "}, mine)
        comment = first.json()["discussion"]
        assert (first.status_code, comment["content"]) == (201, "First")
        answer = {"content": "Yes", "market_id": market, "parent_id": comment["id"]}
        assert (await here.post("/api/discussions", answer, theirs)).status_code == 201
        for content, status in (("   ", 400), ("x" * 1001, 400), ("x" * 1000, 201)):
            body = {"content": content, "market_id": market}
            assert (await here.post("/api/discussions", body, theirs)).status_code == status
        orphan = {**answer, "parent_id": "00000000-0000-0000-0000-000000000000"}
        assert (await here.post("/api/discussions", orphan, theirs)).status_code == 404
        url = f"/api/discussions/{comment['id']}"
        assert (await here.http.delete(url)).status_code == 401
        assert (await here.http.delete(url, headers={"authorization": f"Bearer {theirs}"})).status_code == 403
        headers = {"authorization": f"Bearer {mine}"}
        assert (await here.http.delete(url, headers=headers)).status_code == 200
        assert (await here.http.delete(url, headers=headers)).status_code == 404
        listed = (await here.get(f"/api/discussions/{market}?limit=1")).json()
        assert (listed["count"], len(listed["discussions"]), listed["market_id"]) == (2, 1, market)
        rest = (await here.get(f"/api/discussions/{market}?cursor={listed['next_cursor']}")).json()
        assert [row["content"] for row in rest["discussions"]] == ["Yes"]


async def test_latest_events_are_what_the_socket_would_have_said(database_url: str, redis_url: str) -> None:
    async with site(database_url, redis_url) as here:
        since = int(time.time() * 1000) - 1000
        market = await add_market(here.pool, 1)
        await add_trade(here.pool, market, address(2), 1)
        await add_market(here.pool, 2)
        body = (await here.get(f"/api/events/latest?since={since}")).json()
        assert [event["type"] for event in body["events"]] == ["market_state", "trade", "market_state"]
        assert [event["offset"] for event in body["events"]] == [1, 2, 3]
        assert body["events"][1]["data"]["tx_signature"]
        only = (await here.get(f"/api/events/latest?since={since}&types=trade&market_id={market}")).json()
        assert [event["type"] for event in only["events"]] == ["trade"]
        polled: list[int] = []
        at = since
        while (page := (await here.get(f"/api/events/latest?since={at}&limit=1")).json())["count"]:
            fresh = [event["offset"] for event in page["events"] if event["offset"] not in polled]
            polled += fresh
            at = page["timestamp"] if fresh else page["timestamp"] + 1
        assert polled == [1, 2, 3]
        assert (await here.get("/api/events/latest?types=odd")).status_code == 400


async def test_a_commit_with_more_messages_than_a_page_is_read_to_its_end(database_url: str) -> None:
    async with site(database_url) as here:
        since = int(time.time() * 1000) - 1000
        market = await add_market(here.pool, 1)
        tape = [
            rows.trade_fold(market, address(2), signature=f"trade{slot}", slot=slot) for slot in range(1, 251)
        ]
        await rows.add_trades(here.pool, tape)
        await add_market(here.pool, 2)
        url = f"/api/events/latest?since={since}&limit=100&types=trade"
        page = (await here.get(url)).json()
        read = [event["offset"] for event in page["events"]]
        while page["next_cursor"] is not None:
            page = (await here.get(f"{url}&cursor={page['next_cursor']}")).json()
            read += [event["offset"] for event in page["events"]]
        assert read == list(range(2, 252))
        at = since
        while (page := (await here.get(f"/api/events/latest?since={at}&limit=100")).json())["next_cursor"]:
            assert page["timestamp"] > at, "a client that passes on the timestamp gets further"
            at = page["timestamp"]
        assert page["events"][-1]["offset"] == 252
        for wrong in ("W10", "WzEsMl0", "WyJ4IiwxXQ"):
            assert (await here.get(f"/api/events/latest?cursor={wrong}")).status_code == 400


async def test_a_commit_that_shows_later_than_its_time_is_told_to_who_polls(database_url: str) -> None:
    async with site(database_url) as here:
        polled = (await here.get("/api/events/latest")).json()["timestamp"]
        await add_market(here.pool, 1)
        # As after a commit that waited for a disk or a stand-by, or where the database's clock is slow.
        await here.pool.execute("UPDATE feed_commits SET committed_at = committed_at - interval '1 s'")
        assert (await here.get(f"/api/events/latest?since={polled}")).json()["count"] == 1


async def test_status_and_health_say_what_services_said(database_url: str) -> None:
    async with site(database_url) as here:
        say = "INSERT INTO service_status (service, instance, ready, reason, seen_at) VALUES ($1, 'h:1', $2, $3, {})"
        await here.pool.execute(say.format("now()"), "indexer", True, "")
        await here.pool.execute(say.format("now()"), "snapshots", False, "the pin provider is unavailable")
        await here.pool.execute(say.format("now() - interval '5 minutes'"), "monitor", True, "")
        body = (await here.get("/api/status")).json()
        assert body["gap_free_through_slot"] == 777
        assert body["service_status"]["indexer"] == "ok"
        health = {
            name: await here.get(f"/health/{name}") for name in ("event-indexer", "ipfs", "market-monitor")
        }
        assert {name: (a.status_code, a.json()["status"]) for name, a in health.items()} == {
            "event-indexer": (200, "ok"), "ipfs": (200, "degraded"), "market-monitor": (503, "down"),
        }  # fmt: skip
        assert (await here.get("/health/nothing")).status_code == 404


async def test_nothing_is_quoted_while_the_program_is_paused(database_url: str, redis_url: str) -> None:
    """The program refuses to buy and to sell then; a quote is back when its admin resumes it."""
    async with site(database_url, redis_url) as here:
        key = await add_market(here.pool, 1)
        for is_paused in (False, True, False):
            await here.pool.execute("UPDATE program_config SET is_paused = $1", is_paused)
            await asyncio.sleep(1.2)  # the rules are read once a second
            answer = await here.get(f"/api/markets/{key}/quote?outcome=YES&max_cost=100000000")
            assert answer.status_code == (409 if is_paused else 200)
            assert ("The protocol is paused" in answer.text) is is_paused


@pytest.mark.parametrize("quantity", ["max_cost=1000000000", "shares=1000000000"])
async def test_a_quote_adds_up_and_names_its_bound(database_url: str, quantity: str) -> None:
    async with site(database_url) as here:
        key = await add_market(here.pool, 1)
        body = (await here.get(f"/api/markets/{key}/quote?outcome=no&{quantity}")).json()
        fees = body["fees"]
        assert fees["total"] == fees["protocol"] + fees["resolver"] + fees["liquidity_provider"]
        assert body["total"] == body["cost"] + fees["total"] <= body["max_cost"]
        assert body["pricing_model"] == "reference"
        assert body["price_yes_after"] < body["price_yes"] == "0.500000000"
        assert body["price_impact_percent"] > 0
        for bad in (
            "outcome=maybe&shares=1",
            "outcome=YES",
            "outcome=YES&max_cost=5",
        ):
            assert (await here.get(f"/api/markets/{key}/quote?{bad}")).status_code == 400
        for dearer in ("shares=1&max_cost=1", f"shares={10**9}&max_cost={10**5}"):
            answer = await here.get(f"/api/markets/{key}/quote?outcome=YES&{dearer}")
            assert answer.status_code == 409, "U12: both bounds hold"


async def test_while_the_database_is_away_it_says_503_and_recovers(
    postgres: object, database_url: str
) -> None:
    async with site(database_url) as here:
        await add_market(here.pool, 1)
        name = database_url.rpartition("/")[2]
        admin = await asyncpg.connect(database_url.rpartition("/")[0] + "/postgres")
        try:
            await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
            )
            started = machine_time()
            answer = await here.get("/api/markets")
            assert answer.status_code == 503, answer.text
            assert seconds_since(started) < 2
            assert not (await here.gateway.readiness()).ready
            await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        finally:
            await admin.close()
        assert (await here.get("/api/markets")).status_code == 200
        assert (await here.gateway.readiness()).ready


async def test_unknown_markets_and_wallets_are_404_on_reads(database_url: str) -> None:
    async with site(database_url) as here:
        for key in (market_id(9), address(9), "nonsense"):
            for part in (
                "",
                "/trades",
                "/votes",
                "/stats",
                "/candles",
                "/price-history",
                "/holders",
                "/timeline",
            ):
                assert (await here.get(f"/api/markets/{key}{part}")).status_code == 404
            assert (await here.get(f"/api/votes/{key}")).status_code == 404
            assert (await here.get(f"/api/discussions/{key}")).status_code == 404


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
async def test_no_cache_may_keep_that_something_is_missing(database_url: str, accept: str) -> None:
    async with site(database_url) as here:
        for path in (f"/api/markets/{market_id(9)}", f"/markets/{market_id(9)}", "/nowhere"):
            missing = await here.get(path, headers={"accept": accept})
            assert (missing.status_code, missing.headers.get("cache-control")) == (404, "no-store")


async def test_activity_has_the_trades_of_one_second_in_the_order_of_the_chain(database_url: str) -> None:
    async with site(database_url) as here:
        market = await add_market(here.pool, 1)
        tape = [
            rows.trade_fold(market, address(2), signature=f"{name}{market}", slot=slot, traded_at=NOW)
            for slot, name in ((1, "a"), (3, "c"), (2, "b"))
        ]
        await rows.add_trades(here.pool, tape)
        for limit in (1, 2, 3):
            rows_of = (await here.get(f"/api/markets/activity?type=trade&limit={limit}")).json()["activities"]
            assert [row["id"][0] for row in rows_of] == ["c", "b", "a"][:limit]
