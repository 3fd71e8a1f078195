"""Tests of every operation against its description: which proofs count, and with which statuses it answers."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

import pytest

from kit.described import Described, operations
from kit.gateway import ADMIN, NOW, OPERATOR, Site, add_market, legacy_header, site
from kit.wallets import address, market_id, wallet
from zmart.market.types import Lamports, MarketId, Shares, Wallet
from zmart.services.gateway.api import market_documents
from zmart.services.gateway.api.market_documents import MarketDraft

KEY, DRAFT = market_id(1), market_id(99)
COMMENT = "0f8fad5b-d9cb-469f-a165-70867728950e"
ARGUMENTS = {"key": KEY, "wallet": address(1), "service": "gateway", "signature": "1" * 64}
QUERY = {
    "GetSearch": {"q": "rain"},
    "GetQuote": {"outcome": "YES", "shares": 5},
    "GetVoteProof": {"wallet": address(1)},
    "ListMarkets": {"state": "DRAFT"},
}
BALLOT = {"market_id": KEY, "vote": True}
BODIES = {"VoteOnProposal": BALLOT, "VoteOnDispute": BALLOT, "SendTransaction": {"transaction": "AAAA"}}
"""Bodies to send in place of an operation's example.

The ballots have no statement, since a signed statement would be a proof.
"""
WRONG = {
    "an unknown token": "Bearer nobody's",
    "a forged session": "Bearer zs1.e30.forged",
    "a forged signature": "Signature message=x&signature=y&wallet=z",
}
fresh_wallets = count(200)


async def ask(here: Site, operation: Described, authorization: str = "", **arguments: str) -> int:
    """Send a request with valid arguments and a valid body, and return its status."""
    path = operation.path.format(**{**ARGUMENTS, **arguments})
    if operation.name == "DeleteComment":
        path = f"/api/discussions/{COMMENT}"
    headers = {"authorization": authorization} if authorization else {}
    body: Any = BODIES.get(operation.name, operation.example)
    query: Mapping[str, Any] = QUERY.get(operation.name, {})
    answer = await here.http.request(operation.method, path, params=query, json=body, headers=headers)
    return answer.status_code


def proof(here: Site, name: str, number: int) -> str:
    """Return an Authorization header with a valid proof of the kind `name`: session, signature or operator."""
    if name == "operator":
        return f"Bearer {OPERATOR}"
    if name == "signature":
        return legacy_header(wallet(number))
    return f"Bearer {here.gateway.context.authenticator.tokens.issue(Wallet(address(number)))[0]}"


async def add_draft(here: Site, key: MarketId, creator: str) -> None:
    draft = MarketDraft(
        question="Will the draft be seen?", description="", category="other", tags=[], ends_at=NOW,
        b_parameter=Shares(1), initial_liquidity=Lamports(1),
    )  # fmt: skip
    context = here.gateway.context
    await market_documents.keep_question(context, key, Wallet(creator), draft, ())


@pytest.fixture
async def here(database_url: str, redis_url: str):
    limits = {f"rate_limit_{name}": 10_000 for name in ("reads", "writes", "votes", "comments", "nonce")}
    async with site(database_url, redis_url, votes_require_statement=False, **limits) as found:
        await add_market(found.pool, 1, "PROPOSED")
        await add_draft(found, DRAFT, address(1))
        yield found


async def test_the_proofs_that_an_operation_names_count_and_no_others(here: Site) -> None:
    for operation in operations():
        if not operation.proofs or operation.name == "GetMarket":
            continue
        assert await ask(here, operation) == 401, operation.name
        for kind, header in WRONG.items():
            assert await ask(here, operation, header) == 401, (operation.name, kind)
        for name in ("session", "signature", "operator"):
            status = await ask(here, operation, proof(here, name, next(fresh_wallets)))
            assert status != 400, operation.name
            assert (status == 401) is (name not in operation.proofs), (operation.name, name, status)


async def test_an_operation_that_names_no_proof_answers_everyone_alike(here: Site) -> None:
    public = [operation for operation in operations() if not operation.proofs]
    writes = {operation.name for operation in public if operation.method != "GET"}
    assert writes == {"SendTransaction", "Nonce", "Verify"}
    for operation in public:
        plain = await ask(here, operation)
        for name in ("session", "signature", "operator"):
            assert await ask(here, operation, proof(here, name, next(fresh_wallets))) == plain, operation.name
        for kind, header in WRONG.items():
            assert await ask(here, operation, header) == plain, (operation.name, kind)


async def test_a_draft_is_shown_for_the_proofs_that_are_named(here: Site) -> None:
    [operation] = [found for found in operations() if found.name == "GetMarket"]
    assert operation.proofs == {"session", "signature"}
    assert await ask(here, operation, key=DRAFT) == 404
    for name, status in (("session", 200), ("signature", 200), ("operator", 404)):
        assert await ask(here, operation, proof(here, name, 1), key=DRAFT) == status
        assert await ask(here, operation, proof(here, name, 2), key=DRAFT) == 404


async def test_what_the_operator_may_do_no_other_wallet_may(here: Site) -> None:
    for operation in operations():
        if operation.schema["tags"] == ["operator"]:
            stranger = proof(here, "session", next(fresh_wallets))
            assert await ask(here, operation, stranger) == 403, operation.name
            admin = await here.sign_in(ADMIN)
            assert await ask(here, operation, f"Bearer {admin}") not in (401, 403), operation.name


async def test_every_operation_refuses_what_it_describes_as_all_do(here: Site) -> None:
    for operation in operations():
        path = operation.path.format(**ARGUMENTS)
        request = here.http.request
        assert (await request(operation.method, f"{path}?q=%00")).status_code == 400
        json_type = {"content-type": "application/json"}
        large = await request(operation.method, path, content=b" " * 70_000, headers=json_type)
        plain = await request(operation.method, path, content=b"a=1", headers={"content-type": "text/plain"})
        refused = {large.status_code, plain.status_code} & {413, 415}
        assert refused == operation.statuses & {413, 415}, operation.name


async def test_who_asks_too_often_is_told_by_every_operation_that_describes_it(
    database_url: str, redis_url: str
) -> None:
    limits = {f"rate_limit_{name}": 1 for name in ("reads", "writes", "votes", "comments", "nonce")}
    async with site(database_url, redis_url, **limits) as here:
        for operation in operations():
            path = operation.path.format(**ARGUMENTS)
            answers = [await here.http.request(operation.method, path, json={}) for _ in range(3)]
            limited = 429 in {answer.status_code for answer in answers}
            assert limited is (429 in operation.statuses), operation.name


async def test_a_path_that_may_name_another_call_says_so(here: Site) -> None:
    """An operation describes the status that it answers on a path that also names another operation.

    `GET /api/votes/{key}` matches `/api/votes/proposal`, the path of a POST, and answers 405 there.
    """
    undocumented = []
    for operation in operations():
        for other in operations():
            if names_another_call(operation.path, other.path):
                answer = await here.http.request(operation.method, other.path)
                if answer.status_code not in operation.statuses:
                    undocumented.append((operation.name, other.path, answer.status_code))
    assert not undocumented
    (votes,) = (each for each in operations() if each.name == "GetVotes")
    assert 405 in votes.statuses


def names_another_call(path: str, other: str) -> bool:
    parts, others = path.split("/"), other.split("/")
    return (
        "{" in path
        and "{" not in other
        and len(parts) == len(others)
        and all(one == two or one.startswith("{") for one, two in zip(parts, others, strict=True))
    )
