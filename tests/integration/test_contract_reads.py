"""Tests of every GET in the contract's tables: its fields and their types, the quirks for old clients included."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import httpx
import pytest

from kit.contract import (
    CID_V0,
    DECIMAL,
    GROWTH,
    HASH,
    ISO,
    MARKET,
    PRICE,
    PROBLEM,
    SHORT_WALLET,
    SIDE,
    SIGNATURE,
    SOL_TEXT,
    UNITS,
    UUID,
    WALLET,
    chance,
    maybe,
    misfit,
    number,
    percent,
)
from kit.gateway_server import fill, server, session
from kit.wallets import address, market_id

ACTIVE, DISPUTED = market_id(3), market_id(5)
WHO = address(2)
ROW = {
    "id": MARKET, "on_chain_address": WALLET, "question": str, "description": str, "category": str, "tags": [str],
    "state": str, "status": str, "creator_wallet": WALLET, "creator": WALLET, "b_parameter": lambda v: v > 0,
    "liquidity_parameter": int, "initial_liquidity": int, "current_liquidity": int, "shares_yes": int,
    "shares_no": int, "total_yes_shares": int, "total_no_shares": int, "current_price_yes": PRICE,
    "current_price_no": PRICE, "total_volume": int, "traders": int, "created_at": ISO, "approved_at": maybe(ISO),
    "activated_at": maybe(ISO), "resolution_proposed_at": maybe(ISO), "finalize_after": maybe(ISO),
    "ends_at": maybe(ISO), "finalized_at": maybe(ISO), "proposed_outcome": maybe(bool), "final_outcome": maybe(bool),
}  # fmt: skip
TALLY = {"votes_for": int, "votes_against": int, "total": int}
WHOLE = {
    **ROW, "resolver": maybe(WALLET), "evidence_cid": maybe(str), "proposal": TALLY, "dispute": TALLY,
    "dispute_window": {"opens_at": maybe(ISO), "closes_at": maybe(ISO)},
}  # fmt: skip
TRADE = {
    "id": str, "market_id": MARKET, "user": WALLET, "user_wallet": WALLET, "trade_type": str, "outcome": SIDE,
    "outcome_bool": bool, "shares": int, "cost": int, "fees": int, "price_after": PRICE, "tx_signature": SIGNATURE,
    "slot": int, "timestamp": ISO, "created_at": ISO,
}  # fmt: skip
COMMENT = {"id": UUID, "market_id": MARKET, "user_wallet": WALLET, "content": str, "created_at": ISO}
VOTE = {"id": str, "market_id": MARKET, "user_wallet": WALLET, "vote": bool, "created_at": ISO}
FEES = {"protocol": int, "resolver": int, "liquidity_provider": int}
QUOTE = {
    "market_id": MARKET, "cost": int, "fees": FEES, "average_price": DECIMAL, "price_yes": PRICE,
    "price_yes_after": PRICE, "price_impact_percent": number, "max_loss": int, "pricing_model": str,
}  # fmt: skip
HOLDER = {"wallet": WALLET, "shares_yes": int, "shares_no": int}
zero = (0).__eq__
PAST = {"market_id": MARKET, "average_cost_yes": DECIMAL, "realized_pnl": int, "unrealized_pnl": int}

ROWS = [
    ("/api/markets", {"markets": [ROW], "count": int, "offset": int, "limit": int, "next_cursor": maybe(str)}),
    ("/api/markets?state=ACTIVE&category=sports&q=rain&sort=volume", {"markets": [ROW]}),
    (f"/api/markets?state=2&creator={address(1)}&sort=ending", {"markets": [ROW]}),
    ("/api/markets?sort=trending", {"markets": [ROW]}),
    (f"/api/markets/{ACTIVE}", WHOLE),
    (f"/api/markets/{DISPUTED}", WHOLE),
    (f"/api/discussions/{ACTIVE}", {"discussions": [COMMENT], "count": int, "market_id": MARKET,
                                    "next_cursor": maybe(str)}),
    (f"/api/discussions/{ACTIVE}/snapshots", {"snapshots": [{
        "cid": CID_V0, "date": str, "comments": int, "previous_cid": maybe(str), "pinned_at": ISO,
        "verified_at": maybe(ISO), "unpinned_at": maybe(ISO)}], "count": int}),
    (f"/api/users/{WHO}", {"wallet": WALLET, "display_name": maybe(str), "bio": maybe(str),
                           "avatar_url": maybe(str), "twitter_handle": maybe(str), "stats": dict}),
    (f"/api/users/{WHO}/stats", {
        "wallet": WALLET, "total_trades": int, "total_volume": int, "realized_pnl": int, "unrealized_pnl": int,
        "win_rate": percent, "total_votes": int, "comments": int}),
    ("/api/markets/activity?limit=5&type=trade", {"activities": [{
        "id": str, "type": str, "user": SHORT_WALLET, "wallet": WALLET, "action": str, "market": str,
        "marketId": MARKET, "time": ISO, "amount": SOL_TEXT, "amountLamports": int}], "count": int}),
    ("/api/markets/activity?limit=5&type=resolution", {"activities": [{
        "type": lambda v: v == "resolution", "user": SHORT_WALLET, "market": str, "marketId": MARKET}]}),
    ("/api/markets/activity?limit=5&type=creation", {"activities": [{
        "type": lambda v: v == "creation", "user": SHORT_WALLET, "market": str, "marketId": MARKET}]}),
    ("/api/markets/activity", {"activities": [{"id": str, "type": str}], "count": int}),
    ("/api/markets/trending?limit=3", {"trending": [{
        "id": MARKET, "question": str, "yesPrice": chance, "change24h": number, "volume24h": number,
        "uniqueTraders": int, "trendingScore": number}], "count": int}),
    ("/api/markets/categories", {"categories": [{"id": str, "name": str, "count": int, "emoji": str, "trend": GROWTH}],
                                 "count": int}),
    (f"/api/markets/{ACTIVE}/related", {"related": [{
        "id": MARKET, "question": str, "yesPrice": chance, "category": str, "categoryMatch": bool}], "count": int}),
    (f"/api/markets/{ACTIVE}/trades", {"trades": [TRADE], "count": int, "market_id": MARKET}),
    (f"/api/markets/{ACTIVE}/votes", {
        "votes": [VOTE], "stats": {"likes": int, "dislikes": int, "total": int, "approval_rate": percent},
        "market_id": MARKET, "type": str}),
    (f"/api/markets/{ACTIVE}/stats", {"market_id": MARKET, "stats": {
        "total_volume": int, "total_trades": int, "unique_traders": int, "buy_volume": int, "sell_volume": int}}),
    (f"/api/markets/{ACTIVE}/price-history", {"market_id": MARKET, "count": int,
                                              "price_history": [{"timestamp": ISO, "yes": percent, "no": percent}]}),
    (f"/api/users/{WHO}/trades", {"trades": [TRADE], "count": int, "wallet": WALLET}),
    (f"/api/users/{WHO}/votes", {"proposal_votes": [VOTE], "dispute_votes": [VOTE], "total": int, "wallet": WALLET}),
    (f"/api/users/{WHO}/positions", [{
        "market_id": MARKET, "question": str, "shares_yes": UNITS, "shares_no": UNITS, "total_invested": UNITS,
        "current_value": UNITS, "unrealized_pnl": UNITS, "roi": number, "state": int}]),
    (f"/api/positions/{WHO}", [{"id": WALLET, "market_id": MARKET, "user": WALLET, "yes_shares": int, "no_shares": int,
                                "created_at": ISO, "updated_at": ISO}]),
    (f"/api/votes/{ACTIVE}", {"proposal_votes": {"likes": int, "dislikes": int},
                              "dispute_votes": {"agrees": int, "disagrees": int}}),
    (f"/api/events/latest?since=0&limit=100&types=trade,market_state&market_id={ACTIVE}", {
        "events": [{"id": str, "type": str, "market_id": MARKET, "data": dict}], "count": int, "since": int,
        "limit": int, "timestamp": int}),
    (f"/api/markets/{ACTIVE}/quote?side=buy&outcome=YES&max_cost=100000000",
     {**QUOTE, "max_cost": int, "min_shares": int}),
    (f"/api/markets/{ACTIVE}/quote?side=buy&outcome=NO&shares=100000000&min_shares=5",
     {**QUOTE, "max_cost": int, "min_shares": int}),
    (f"/api/markets/{ACTIVE}/quote?side=sell&outcome=YES&shares=100000000", {**QUOTE, "min_proceeds": int}),
    (f"/api/markets/{ACTIVE}/candles?interval=1m&start=2026-01-15T12:00:00Z&end=2026-01-15T12:10:00Z", {
        "candles": [{"timestamp": ISO, "open_price_yes": PRICE, "high_price_yes": PRICE, "low_price_yes": PRICE,
                     "close_price_yes": PRICE, "volume": int}]}),
    (f"/api/markets/{market_id(6)}/candles?interval=5m", {"candles": [{"timestamp": ISO, "volume": int}]}),
    (f"/api/markets/{ACTIVE}/holders", {"yes": [HOLDER], "no": [HOLDER]}),
    (f"/api/markets/{ACTIVE}/timeline", {"timeline": [{"slot": int, "signature": str, "actor": maybe(WALLET)}]}),
    ("/api/leaderboard?window=7d&by=volume", {"leaders": [{"wallet": WALLET, "pnl": int, "volume": int}]}),
    ("/api/leaderboard?by=pnl", {"leaders": [{"wallet": WALLET, "pnl": int, "volume": int}]}),
    (f"/api/users/{WHO}/portfolio", {"open_positions": [PAST], "closed_positions": [PAST],
                                     "history": [{"timestamp": ISO, "value": int}]}),
    (f"/api/users/{WHO}/positions/{ACTIVE}", PAST),
    (f"/api/users/{address(7)}/positions/{ACTIVE}", {**PAST, "shares_yes": zero, "realized_pnl": zero}),
    ("/api/search?q=rain", {"markets": [{**ROW, "rank": number}], "count": int}),
    ("/api/status", {"services": [dict], "lag_slots": int, "gap_free_through_slot": int,
                     "fee_payer_balance": maybe(int), "queues": dict}),
    (f"/api/votes/{DISPUTED}/proof?wallet={WHO}&since=0", {"root": HASH, "tree_size": int, "entries": [dict]}),
    ("/api", {"name": str, "version": str, "documentation": str,
              "calls": [{"method": str, "path": str, "summary": str}]}),
    ("/api/openapi.json", {"openapi": lambda v: v.startswith("3.1"), "paths": dict}),
    ("/asyncapi.json", {"asyncapi": lambda v: v.startswith("3."), "channels": dict}),
    ("/health", {"status": lambda v: v == "healthy", "service": str, "uptime": number, "uptime_s": number}),
    ("/ready", {"ready": bool}),
    *((f"/health/{name}", {"status": str, "service": str}) for name in
      ("event-indexer", "vote-aggregator", "market-monitor", "websocket", "ipfs")),
]  # fmt: skip
UNDATED = ("/api/openapi", "/api/status", "/api/events", "/asyncapi", "/health", "/ready")


@pytest.fixture(scope="module")
def api(migrated_template: str, new_database: Callable[[str], str], valkey) -> Iterator[httpx.Client]:
    """Yield a client of one gateway, which all tests of this module share."""
    url = new_database(migrated_template)
    asyncio.run(fill(url))
    with server(url, valkey.url()) as here, httpx.Client(base_url=here) as client:
        headers = {"authorization": f"Bearer {session(here, 2)}"}
        body = {"market_id": DISPUTED, "vote": True}
        voted = client.post("/api/votes/dispute", json=body, headers=headers)
        assert voted.status_code == 201, voted.text
        yield client


@pytest.mark.parametrize(("path", "wanted"), ROWS, ids=[path for path, _ in ROWS])
def test_a_read_answers_with_the_contracts_fields(api: httpx.Client, path: str, wanted: object) -> None:
    answer = api.get(path)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert misfit(body, wanted) == ""
    lists = [body] if isinstance(body, list) else [part for part in body.values() if isinstance(part, list)]
    assert not lists or any(lists), "an empty list proves nothing"
    assert answer.headers["x-request-id"]
    assert "default-src" in answer.headers["content-security-policy"]
    if path != "/api" and not path.startswith(UNDATED):
        assert answer.headers["etag"]
        assert answer.headers["x-as-of-slot"] == "777"
        assert "must-revalidate" in answer.headers["cache-control"]


@pytest.mark.parametrize(
    "path", [path for path, _ in ROWS if path.startswith("/api/") and "openapi" not in path]
)
def test_amounts_are_text_when_asked_for(api: httpx.Client, path: str) -> None:
    plain = api.get(path).json()
    text = api.get(f"{path}{'&' if '?' in path else '?'}numeric=string")
    assert text.status_code == 200
    assert _as_numbers(plain) == _as_numbers(text.json())
    large = [value for value in _numbers(text.json()) if 10**8 <= value < 10**12]  # above: milliseconds
    assert large == [], "an amount was not sent as text"


def _numbers(value: object) -> list[int]:
    if isinstance(value, dict):
        return [n for part in value.values() for n in _numbers(part)]
    if isinstance(value, list):
        return [n for part in value for n in _numbers(part)]
    return [value] if isinstance(value, int) and not isinstance(value, bool) else []


def _as_numbers(value: object) -> object:
    """Return the value with texts of digits as numbers, and without the fields that change with the clock."""
    if isinstance(value, dict):
        return {k: _as_numbers(v) for k, v in value.items() if k not in ("timestamp", "services", "age_s")}
    if isinstance(value, list):
        return [_as_numbers(part) for part in value]
    return int(value) if isinstance(value, str) and value.lstrip("-").isdigit() and len(value) < 21 else value


def test_a_market_is_named_by_its_address_too(api: httpx.Client) -> None:
    row = api.get(f"/api/markets/{ACTIVE}").json()
    assert api.get(f"/api/markets/{row['on_chain_address']}").json() == row
    assert api.get(f"/api/markets/{ACTIVE.upper()}").json() == row


@pytest.mark.parametrize("path", [
    "/api/positions/nobody", "/api/users/nobody", "/api/users/nobody/trades", "/api/markets/nothing",
    f"/api/markets/{'0' * 64}", "/api/votes/nothing", "/api/discussions/nothing", "/nowhere", "/health/nobody",
    f"/api/users/{'1' * 45}/stats",
])  # fmt: skip
def test_what_is_unknown_is_404_in_the_one_shape(api: httpx.Client, path: str) -> None:
    answer = api.get(path)
    assert answer.status_code == 404
    assert misfit(answer.json(), PROBLEM) == ""
    assert answer.json()["path"] == path


@pytest.mark.parametrize("path", [path for path, expected in ROWS if "?" not in path and path.count("/") > 2])
def test_a_page_of_nothing_is_empty(api: httpx.Client, path: str) -> None:
    lists = (
        "trades",
        "votes",
        "discussions",
        "positions",
        "holders",
        "related",
        "trending",
        "snapshots",
        "timeline",
    )
    if path.rpartition("/")[2] not in lists:
        return
    body = api.get(path, params={"limit": 0}).json()
    rows = body if isinstance(body, list) else next(v for v in body.values() if isinstance(v, list))
    assert rows == []
    assert api.get(path, params={"limit": 9999}).status_code == 200
    refused = api.get(path, params={"limit": "many"})
    assert refused.status_code == 400
    assert refused.json()["details"][0]["field"] == "limit"


def test_metrics_are_told_on_the_same_port_with_the_same_headers(api: httpx.Client) -> None:
    answer = api.get("/metrics", headers={"x-request-id": "mine"})
    assert "zmart_gateway_requests_total" in answer.text
    assert answer.headers["x-request-id"] == "mine"
    assert answer.headers["x-content-type-options"] == "nosniff"
