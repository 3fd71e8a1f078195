"""Tests of what the former backend's API tests expect (U4: 51 of 51), as far as the contract describes it.

The gateway has VOTES_REQUIRE_STATEMENT=false and the vote rule `open`.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from kit.contract import ISO, MARKET, PRICE, UNITS, UUID, WALLET, Wanted, maybe, misfit, number, percent
from kit.gateway import legacy_body, legacy_header
from kit.gateway_server import fill, server
from kit.wallets import address, market_id, wallet

PROPOSED, APPROVED, ACTIVE, RESOLVING, DISPUTED, FINAL, CANCELLED = (market_id(n) for n in range(1, 8))
UNKNOWN = "ab" * 32
ROW = {
    "id": MARKET, "on_chain_address": WALLET, "question": str, "category": str, "state": str, "status": str,
    "creator_wallet": WALLET, "b_parameter": lambda b: b > 0, "shares_yes": int, "shares_no": int,
    "current_price_yes": PRICE, "current_price_no": PRICE, "total_volume": int, "created_at": ISO,
}  # fmt: skip
VOTE = {"id": UUID, "market_id": MARKET, "user_wallet": WALLET, "vote": bool}
VOTED = {
    "data": [VOTE], "count": lambda count: count == 1,
    "metadata": {"message": str, "market_id": MARKET, "vote_type": str, "user_wallet": WALLET},
}  # fmt: skip
PROBLEM = {"error": str, "message": str, "status": int, "timestamp": ISO, "path": str}
INVALID = {**PROBLEM, "details": [{"field": str, "message": str}]}
COMMENT = {"id": UUID, "market_id": MARKET, "user_wallet": WALLET, "content": str, "created_at": ISO}


def empty(value: object) -> bool:
    return value == []


READS: list[tuple[str, int, Wanted]] = [
    ("/health", 200, {"status": lambda word: word == "healthy", "uptime": number}),
    ("/api/markets", 200, {"markets": [ROW], "count": lambda n: n == 7, "offset": int, "limit": int}),
    ("/api/markets?state=ACTIVE", 200, {"markets": [{"state": lambda state: state == "ACTIVE"}]}),
    ("/api/markets?state=2", 200, {"markets": [{"state": lambda state: state == "ACTIVE"}]}),
    ("/api/markets?category=sports", 200, {"markets": [{"category": lambda name: name == "sports"}]}),
    (f"/api/markets?creator={address(1)}", 200, {"markets": [{"creator": lambda who: who == address(1)}]}),
    ("/api/markets?limit=2&offset=1", 200, {"markets": lambda rows: len(rows) == 2, "offset": lambda n: n == 1}),
    ("/api/markets?limit=0", 200, {"markets": empty}),
    ("/api/markets?limit=1000", 200, {"markets": [ROW], "limit": lambda n: n == 200}),
    ("/api/markets?limit=many", 400, INVALID),
    ("/api/markets?state=NOWHERE", 400, INVALID),
    (f"/api/markets/{ACTIVE}", 200, {**ROW, "resolver": maybe(WALLET), "proposal": dict, "dispute": dict}),
    (f"/api/markets/{UNKNOWN}", 404, PROBLEM),
    ("/api/markets/not-a-market", 404, PROBLEM),
    (f"/api/markets/{ACTIVE}/trades", 200, {"trades": [{"cost": int, "outcome": str}], "count": int}),
    (f"/api/markets/{ACTIVE}/stats", 200, {"market_id": MARKET, "stats": {"total_volume": int, "total_trades": int}}),
    (f"/api/markets/{ACTIVE}/price-history", 200, {"price_history": [{"timestamp": ISO, "yes": percent}]}),
    (f"/api/markets/{PROPOSED}/votes", 200, {"votes": [{**VOTE, "id": str}],
                                             "stats": {"likes": int, "approval_rate": percent}}),
    (f"/api/markets/{ACTIVE}/related", 200, {"related": [{"id": MARKET, "question": str}], "count": int}),
    ("/api/markets/trending", 200, {"trending": [{"id": MARKET, "yesPrice": number}], "count": int}),
    ("/api/markets/activity?type=trade", 200, {"activities": [{"type": lambda kind: kind == "trade"}]}),
    ("/api/markets/categories", 200, {"categories": [{"id": str, "count": int, "emoji": str}], "count": int}),
    (f"/api/votes/{PROPOSED}", 200, {"proposal_votes": {"likes": int, "dislikes": int},
                                     "dispute_votes": {"agrees": int, "disagrees": int}}),
    (f"/api/votes/{UNKNOWN}", 404, PROBLEM),
    (f"/api/discussions/{ACTIVE}", 200, {"discussions": [COMMENT], "count": int, "market_id": MARKET}),
    (f"/api/discussions/{UNKNOWN}", 404, PROBLEM),
    (f"/api/users/{address(2)}", 200, {"wallet": WALLET, "display_name": maybe(str), "stats": dict}),
    (f"/api/users/{address(60)}", 200, {"wallet": WALLET, "display_name": None}),
    ("/api/users/not-a-wallet", 404, PROBLEM),
    (f"/api/users/{address(2)}/trades", 200, {"trades": [{"user_wallet": WALLET}], "count": int}),
    (f"/api/users/{address(2)}/votes", 200, {"proposal_votes": list, "dispute_votes": list, "total": int}),
    (f"/api/users/{address(2)}/positions", 200, [{"shares_yes": UNITS, "current_value": UNITS, "roi": number}]),
    (f"/api/positions/{address(2)}", 200, [{"id": WALLET, "yes_shares": int, "no_shares": int}]),
    (f"/api/positions/{address(60)}", 200, empty),
    ("/api/positions/not-a-wallet", 404, PROBLEM),
    (f"/api/events/latest?market_id={ACTIVE}&limit=5", 200, {"events": list, "count": int, "timestamp": int}),
    ("/api/nowhere", 404, PROBLEM),
]  # fmt: skip


@pytest.fixture(scope="module")
def api(migrated_template: str, new_database: Callable[[str], str], valkey) -> Iterator[httpx.Client]:
    url = new_database(migrated_template)
    asyncio.run(fill(url))
    with (
        server(url, valkey.url(), cors_origin="http://localhost:3001") as here,
        httpx.Client(base_url=here, timeout=20) as client,
    ):
        yield client


@pytest.mark.parametrize(("path", "status", "wanted"), READS, ids=[path for path, _, _ in READS])
def test_a_read_answers_as_the_former_tests_expect(
    api: httpx.Client, path: str, status: int, wanted: Wanted
) -> None:
    answer = api.get(path)
    assert answer.status_code == status, answer.text
    assert misfit(answer.json(), wanted) == ""
    assert answer.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize(
    ("number", "kind", "market", "choice"),
    [
        (20, "proposal", PROPOSED, {"vote": True}), (21, "proposal", PROPOSED, {"vote": False}),
        (22, "proposal", PROPOSED, {"vote_choice": "support"}), (23, "proposal", PROPOSED, {"vote_choice": "reject"}),
        (24, "proposal", PROPOSED, {"vote_choice": "like"}), (20, "dispute", DISPUTED, {"vote": True}),
        (21, "dispute", DISPUTED, {"vote_choice": "disagree"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("proof", ["flat", "nested", "header"])
def test_a_signed_request_votes_once(
    api: httpx.Client, number: int, kind: str, market: str, choice: dict[str, object], proof: str
) -> None:
    number += {"flat": 0, "nested": 10, "header": 20}[proof]
    named = "market_id" if kind == "dispute" else "proposal_id"
    body = {named: market, "user_wallet": address(number), **choice}
    headers = {"authorization": legacy_header(wallet(number))} if proof == "header" else {}
    body |= legacy_body(wallet(number)) if proof == "flat" else {}
    body |= {"_auth": legacy_body(wallet(number))} if proof == "nested" else {}
    voted = api.post(f"/api/votes/{kind}", json=body, headers=headers)
    assert voted.status_code == 201, voted.text
    assert misfit(voted.json(), VOTED) == ""
    assert api.post(f"/api/votes/{kind}", json=body, headers=headers).status_code == 409
    unnamed = {field: value for field, value in body.items() if field != "user_wallet"}
    assert api.post(f"/api/votes/{kind}", json=unnamed, headers=headers).status_code == 409
    unsigned = {named: market, "user": address(number), **choice}
    assert api.post(f"/api/votes/{kind}", json=unsigned).status_code == 409


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/votes/proposal", {}, 400),
        ("/api/votes/proposal", {"market_id": PROPOSED}, 400),
        ("/api/votes/proposal", {"vote": True}, 400),
        ("/api/votes/proposal", {"market_id": PROPOSED, "vote": "yes please"}, 400),
        ("/api/votes/proposal", {"market_id": PROPOSED, "vote": True}, 401),
        ("/api/votes/proposal", {"market_id": UNKNOWN, "vote": True}, 404),
        ("/api/votes/dispute", {"market_id": DISPUTED, "vote_choice": "like"}, 400),
        ("/api/votes/dispute", {"market_id": DISPUTED, "vote": True}, 401),
        ("/api/discussions", {"market_id": ACTIVE, "content": ""}, 400),
        ("/api/discussions", {"market_id": ACTIVE, "content": "x" * 1001}, 400),
        ("/api/discussions", {"content": "Hello"}, 400),
        ("/api/discussions", {"market_id": ACTIVE, "content": "Hello"}, 401),
        ("/api/markets", {"question": "Too short"}, 400),
        ("/api/auth/nonce", {"wallet": "not-a-wallet"}, 400),
    ],
)
def test_a_write_is_refused_in_the_order_of_the_contract(
    api: httpx.Client, path: str, body: dict[str, object], status: int
) -> None:
    answer = api.post(path, json=body)
    assert answer.status_code == status, answer.text
    assert misfit(answer.json(), INVALID if status == 400 else PROBLEM) == ""


@pytest.mark.parametrize(
    ("kind", "market"), [("proposal", ACTIVE), ("dispute", ACTIVE), ("proposal", CANCELLED)]
)
def test_a_vote_in_the_wrong_state_is_a_conflict(api: httpx.Client, kind: str, market: str) -> None:
    body = legacy_body(wallet(50), market_id=market, vote=True, user=address(50), kind=kind)
    assert api.post(f"/api/votes/{kind}", json=body).status_code == 409


def test_a_signature_that_is_old_or_another_s_votes_for_nobody(api: httpx.Client) -> None:
    old = legacy_body(wallet(51), int(time.time() * 1000) - 301_000, market_id=PROPOSED, vote=True)
    forged = legacy_body(wallet(51), market_id=PROPOSED, vote=True) | {"wallet": address(52)}
    for body in (old, forged, {**forged, "signature": "x"}):
        assert api.post("/api/votes/proposal", json=body).status_code == 401


def test_a_comment_is_made_listed_first_and_deleted_by_its_author_alone(api: httpx.Client) -> None:
    made = api.post(
        "/api/discussions", json=legacy_body(wallet(53), market_id=ACTIVE, content="  Cold winter. ")
    )
    assert made.status_code == 201, made.text
    comment = made.json()["discussion"]
    assert misfit(comment, COMMENT) == ""
    assert comment["content"] == "Cold winter."
    assert api.get(f"/api/discussions/{ACTIVE}").json()["discussions"][0]["id"] == comment["id"]
    path = f"/api/discussions/{comment['id']}"
    assert api.delete(path).status_code == 401
    assert api.request("DELETE", path, json=legacy_body(wallet(54))).status_code == 403
    own = legacy_body(wallet(53))
    assert api.request("DELETE", path, json=own).status_code == 200
    assert api.request("DELETE", path, json=own).status_code == 404
    assert comment["id"] not in api.get(f"/api/discussions/{ACTIVE}").text


def test_a_body_is_json_of_a_permitted_size(api: httpx.Client) -> None:
    json_type = {"content-type": "application/json"}
    for content, headers, status in (
        (b'{"wallet": ', json_type, 400), (b"wallet=x", {"content-type": "text/plain"}, 415),
        (b" " * 70_000, json_type, 413),
    ):  # fmt: skip
        assert api.post("/api/auth/nonce", content=content, headers=headers).status_code == status


def test_a_wallet_signs_in_with_a_nonce_once(api: httpx.Client) -> None:
    asked = api.post("/api/auth/nonce", json={"wallet": address(55)}).json()
    assert misfit(asked, {"nonce": str, "message": str, "expires_at": ISO}) == ""
    signature = str(wallet(55).sign_message(asked["message"].encode()))
    proof = {"wallet": address(55), "message": asked["message"], "signature": signature}
    session = api.post("/api/auth/verify", json=proof)
    assert misfit(session.json(), {"token": str, "expires_at": ISO}) == ""
    assert api.post("/api/auth/verify", json=proof).status_code == 401
    bearer = {"authorization": f"Bearer {session.json()['token']}"}
    changed = api.put(f"/api/users/{address(55)}", json={"display_name": "Ada"}, headers=bearer)
    assert (changed.status_code, changed.json()["display_name"]) == (200, "Ada")
    assert (
        api.put(f"/api/users/{address(54)}", json={"display_name": "Eve"}, headers=bearer).status_code == 403
    )


def test_a_listed_front_end_may_call_and_every_answer_has_helmet_s_headers(api: httpx.Client) -> None:
    page = {"origin": "http://localhost:3001"}
    answer = api.get("/api/markets", headers=page)
    assert answer.headers["access-control-allow-origin"] == page["origin"]
    assert answer.headers["access-control-allow-credentials"] == "true"
    for header in (
        "x-content-type-options",
        "x-frame-options",
        "strict-transport-security",
        "x-dns-prefetch-control",
    ):
        assert header in answer.headers
    preflight = {
        **page,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
    }
    allowed = api.options("/api/discussions", headers=preflight)
    assert "authorization" in allowed.headers["access-control-allow-headers"].lower()
    other = api.get("/api/markets", headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
    assert re.search(r"r=\d+", answer.headers["ratelimit"])
