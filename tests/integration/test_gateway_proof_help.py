"""Tests of what 401 and 403 say: which proof the call needs, which text is signed, and where that is described."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kit.described import operations
from kit.gateway import ADMIN, Site, add_market, ballot, site
from kit.wallets import address, address_of, market_id, wallet
from zmart.market.votes import parse_statement

KEY = market_id(1)
COMMENT = "0f8fad5b-d9cb-469f-a165-70867728950e"
ARGUMENTS = {"key": KEY, "wallet": address(1), "service": "gateway", "signature": "1" * 64}
VOTES = ("VoteOnProposal", "VoteOnDispute")


@pytest.fixture
async def here(database_url: str, redis_url: str) -> AsyncIterator[Site]:
    limits = {f"rate_limit_{name}": 10_000 for name in ("reads", "writes", "votes", "comments", "nonce")}
    async with site(database_url, redis_url, **limits) as found:
        await add_market(found.pool, 1, "PROPOSED")
        yield found


@pytest.mark.parametrize("authorization", ["", "Bearer nobody's", "Bearer zs1.e30.forged"])
async def test_who_proves_nothing_is_told_what_this_call_needs(here: Site, authorization: str) -> None:
    """U11: an operation that needs a proof answers a request without a valid one with the proofs that it accepts."""
    for operation in operations():
        if not operation.proofs or operation.name in ("GetMarket", "ListMarkets", *VOTES):
            continue
        path = operation.path.format(**ARGUMENTS)
        if operation.name == "DeleteComment":
            path = f"/api/discussions/{COMMENT}"
        headers = {"authorization": authorization} if authorization else {}
        answer = await here.http.request(operation.method, path, json=operation.example, headers=headers)
        assert answer.status_code == 401, operation.name
        assert answer.headers["www-authenticate"].startswith("Bearer")
        body = answer.json()
        for text in (body["message"], " ".join(item["message"] for item in body["details"])):
            assert ("OPERATOR_TOKEN" in text) is ("operator" in operation.proofs), operation.name
            assert ("admin wallet" in text) is ("operator" in operation.proofs), operation.name
            assert "POST /api/auth/nonce" in text, operation.name
            assert "POST /api/auth/verify" in text, operation.name
        assert "/docs" in body["message"]
        legacy = [item for item in body["details"] if item["field"] == "message"]
        assert bool(legacy) is ("signature" in operation.proofs), operation.name


@pytest.mark.parametrize(("kind", "choice"), [("proposal", "like"), ("dispute", "agree")])
@pytest.mark.parametrize("required", [True, False])
async def test_a_vote_without_a_proof_is_told_the_text_to_sign(
    database_url: str, redis_url: str, kind: str, choice: str, required: bool
) -> None:
    """U11: a vote without a proof is answered with the statement to sign, which is accepted once it is signed."""
    async with site(database_url, redis_url, votes_require_statement=required) as here:
        state = "PROPOSED" if kind == "proposal" else "DISPUTED"
        market = await add_market(here.pool, 1, state)
        vote = {"market_id": market, "vote": True, "wallet": address(1)}
        answer = await here.post(f"/api/votes/{kind}", vote)
        assert answer.status_code == 401
        body = answer.json()
        details = {item["field"]: item["message"] for item in body["details"]}
        text = details["statement"]
        statement = parse_statement(text)
        assert (statement.wallet, statement.market_id, statement.choice) == (address(1), market, choice)
        assert text in body["message"]
        assert "docs/votes.md" in body["message"]
        if kind == "proposal":
            signed = vote | {"statement": text, "signature": str(wallet(1).sign_message(text.encode()))}
            assert (await here.post(f"/api/votes/{kind}", signed)).status_code == 201


async def test_a_vote_of_nobody_or_with_another_s_signature_is_told_the_text_too(here: Site) -> None:
    """U11: a vote that names no wallet, or has another wallet's signature, is answered with the statement to sign."""
    answer = await here.post("/api/votes/proposal", {"market_id": KEY, "vote": True})
    assert answer.status_code == 401
    assert f"market: {KEY}\nkind: proposal\nchoice: like\nwallet: <" in answer.json()["message"]
    forged = ballot(here, wallet(1), KEY) | {"signature": str(wallet(2).sign_message(b"x"))}
    answer = await here.post("/api/votes/proposal", forged)
    assert answer.status_code == 401
    assert answer.json()["message"].startswith(f"The signature is not that of {address(1)} over this text.")
    assert f"wallet: {address(1)}\nissued: " in answer.json()["message"]


async def test_who_may_not_is_told_who_may(here: Site) -> None:
    """U11: a 403 names the wallet that the request proves and the wallet that may do this."""
    token = await here.sign_in(wallet(2))
    headers = {"authorization": f"Bearer {token}"}
    posted = await here.post(
        "/api/discussions", {"market_id": KEY, "content": "Mine"}, await here.sign_in(wallet(1))
    )
    comment = posted.json()["discussion"]["id"]
    for method, path, body, who in (
        ("POST", f"/api/markets/{KEY}/approve", None, address_of(ADMIN)),
        ("POST", f"/api/markets/{KEY}/cancel", None, address_of(ADMIN)),
        ("POST", f"/api/markets/{KEY}/release", {"note": "Known."}, address_of(ADMIN)),
        ("PUT", f"/api/users/{address(1)}", {"bio": "Mine."}, address(1)),
        ("DELETE", f"/api/discussions/{comment}", None, address(1)),
    ):
        answer = await here.http.request(method, path, json=body, headers=headers)
        assert answer.status_code == 403, path
        message = answer.json()["message"]
        assert who in message, path
        assert address(2) in message, path
        assert answer.json()["details"], path
