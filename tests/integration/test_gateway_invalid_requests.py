"""Tests of the messages about invalid requests: every missing or wrong field is named, in the words of JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from kit.described import Described, operations
from kit.gateway import OPERATOR, Site, add_market, site
from kit.wallets import address, market_id
from zmart.services.gateway.openapi import offline

KEY = market_id(1)
ARGUMENTS = {"key": KEY, "wallet": address(1), "service": "gateway", "signature": "1" * 64}
OF_PYTHON = (
    "`",
    "int ",
    "str ",
    "bool ",
    "None",
    "True",
    "dict",
    "list",
    "UUID(",
    "msgspec",
    "data ",
    "Expected",
    "$",
)
"""Pieces of text that only messages of Python and its libraries contain; no answer may contain one."""
KINDS: list[tuple[Any, str]] = [
    (None, "null"), (True, "a boolean"), (7, "an integer"), (0.5, "a number"), ("x", "a string"), ([], "an array"),
    ([1, 2], "an array of 2 numbers"), ({}, "an object"), ("\0", "a string"), (10**400, "an integer"),
]  # fmt: skip


@pytest.fixture
async def here(database_url: str) -> AsyncIterator[Site]:
    limits = {f"rate_limit_{name}": 10_000 for name in ("reads", "writes", "votes", "comments", "nonce")}
    async with site(database_url, **limits) as found:
        await add_market(found.pool, 1)
        yield found


def bodies() -> list[tuple[Described, dict[str, Any]]]:
    """Return the operations that have a body, each with the body's schema."""
    schemas = offline.document()["components"]["schemas"]
    found = []
    for operation in operations():
        if (body := operation.schema.get("requestBody")) is not None:
            name = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            found.append((operation, schemas[name]))
    return found


async def told(here: Site, operation: Described, **options: Any) -> dict[str, str]:
    """Return the message for each field that a refusal with 400 names."""
    path = operation.path.format(**ARGUMENTS)
    headers = {"authorization": f"Bearer {OPERATOR}", "content-type": "application/json"}
    answer = await here.http.request(operation.method, path, headers=headers, **options)
    assert answer.status_code == 400, (operation.name, options, answer.text)
    details = {item["field"]: item["message"] for item in answer.json()["details"]}
    for message in details.values():
        assert not [piece for piece in OF_PYTHON if piece in message], message
    return details


@pytest.mark.parametrize("body", [b"", b"{}"])
async def test_a_request_without_a_body_is_told_every_field_that_it_needs(here: Site, body: bytes) -> None:
    """U9: a request without a body, or with an empty object, is answered with every required field."""
    for operation, schema in bodies():
        required = schema.get("required", [])
        if required:
            details = await told(here, operation, content=body)
            assert {name: f"{name} is missing." for name in required}.items() <= details.items(), (
                operation.name
            )
        elif operation.name.startswith("Vote"):
            assert (await told(here, operation, content=body)).keys() == {"market_id", "vote"}
        elif not body:
            details = await told(here, operation, content=body)
            assert details == {"body": "body is missing: send a JSON object."}, operation.name


async def test_every_field_of_a_wrong_kind_is_told_at_once(here: Site) -> None:
    """U9: in a body whose fields are all of a wrong JSON type, each wrong field is named with the type that it has."""
    for operation, schema in bodies():
        fields = schema["properties"]
        for value, kind in KINDS:
            details = await told_or_none(here, operation, dict.fromkeys(fields, value))
            for name, message in details.items():
                if message.startswith(f"{name} must be") and ", not " in message:
                    assert f", not {kind}" in message, message
        details = await told(here, operation, json={name: {"a": 1} for name in fields})
        assert details.keys() == set(fields), operation.name


async def told_or_none(here: Site, operation: Described, body: object) -> dict[str, str]:
    path = operation.path.format(**ARGUMENTS)
    answer = await here.http.request(operation.method, path, json=body)
    assert answer.status_code in (400, 401, 403, 404), answer.text
    return {item["field"]: item["message"] for item in answer.json().get("details", ())}


async def test_what_is_no_object_is_told_by_its_kind(here: Site) -> None:
    """U9: the answer to a body that is no JSON object names the type that the body is."""
    for operation, _ in bodies():
        for body, kind in (
            (b"[]", "an array"),
            (b"null", "null"),
            (b"5", "an integer"),
            (b'"x"', "a string"),
        ):
            details = await told(here, operation, content=body)
            assert details == {"body": f"body must be an object, not {kind}."}, operation.name


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/api/trades/buy", {"market_id": "x", "outcome": "maybe", "max_cost": 0, "slippage_bps": 10_001}, {
            "market_id": "market_id must be a market's id (64 hex characters) or its address.",
            "outcome": "outcome is one of YES, NO.",
            "max_cost": "max_cost must be an integer of at least 1.",
            "slippage_bps": "slippage_bps must be an integer of at most 10000.",
        }),
        ("/api/trades/sell", {"shares": "many", "min_proceeds": 1.5}, {
            "market_id": "market_id is missing.",
            "outcome": "outcome is missing.",
            "shares": "shares must be an integer, not a string.",
            "min_proceeds": "min_proceeds must be an integer or null, not a number.",
        }),
        ("/api/markets", {"question": "short", "end_date": "soon", "b_parameter": -1, "tags": [1]}, {
            "question": "question must have 10 to 200 characters.",
            "end_date": "end_date must be an ISO 8601 time or milliseconds since 1970.",
            "b_parameter": "b_parameter must be an integer of at least 1.",
            "initial_liquidity": "initial_liquidity is missing.",
            "tags": "tags[0] must be a string, not an integer.",
        }),
        ("/api/markets", {"question": "Will it rain today?", "end_date": 5, "b_parameter": 1, "initial_liquidity": 1}, {
            "end_date": "end_date must lie in the future.",
            "b_parameter": "b_parameter must be at least 10000000, else nobody can trade.",
        }),
        ("/api/discussions", {"content": "\u200b", "parent_id": "x"}, {
            "content": "content must have 1 to 1000 characters.",
            "parent_id": "parent_id must be a UUID.",
            "market_id": "market_id is missing.",
        }),
        ("/api/votes/proposal", {"vote_choice": "maybe", "statement": "x"}, {
            "vote_choice": "vote_choice is one of like, dislike, agree, disagree, support, reject.",
            "market_id": "market_id is missing: which market do you vote on?",
            "signature": "signature is missing: a provable vote brings `statement` and `signature`.",
            "wallet": "wallet is missing: whose statement is this?",
        }),
        ("/api/auth/verify", {"wallet": "0x12", "signature": [1, 2, 3], "message": None}, {
            "wallet": "wallet must be base58 of 32 bytes, this is hex of 1 byte.",
            "signature": "signature must be a string, not an array of 3 numbers: write bytes as base58, base64 or hex.",
            "message": "message must be a string, not null.",
        }),
    ],
)  # fmt: skip
async def test_a_body_is_told_all_that_is_wrong(
    here: Site, path: str, body: object, expected: dict[str, str]
) -> None:
    """U9: one answer reports all errors of a body, each with its field."""
    answer = await here.post(path, body)
    assert answer.status_code == 400, answer.text
    assert {item["field"]: item["message"] for item in answer.json()["details"]} == expected
    assert answer.json()["message"] == "The request does not meet its rules: see details."


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/search", {"q": "q is missing."}),
        ("/api/search?limit=x", {"q": "q is missing.", "limit": "limit must be an integer, not a string."}),
        (f"/api/markets/{KEY}/quote", {"outcome": "outcome is missing."}),
        (f"/api/markets/{KEY}/quote?shares=0&side=hold", {
            "outcome": "outcome is missing.",
            "shares": "shares must be an integer of at least 1.",
            "side": "side is one of buy, sell.",
        }),
        (f"/api/markets/{KEY}/candles?start=soon&end=0001-01-01T00:00:00%2B14:00&interval=2m", {
            "start": "start must be an ISO 8601 time or milliseconds since 1970.",
            "end": "end must be an ISO 8601 time or milliseconds since 1970.",
            "interval": "interval is one of 1m, 5m, 1h, 1d.",
        }),
        (f"/api/markets/{KEY}/candles?start=soon&end=later", {
            "start": "start must be an ISO 8601 time or milliseconds since 1970.",
            "end": "end must be an ISO 8601 time or milliseconds since 1970.",
        }),
        ("/api/markets?state=9&limit=-1&offset=100001&cursor=%21", {
            "state": "state is one of PROPOSED, APPROVED, ACTIVE, RESOLVING, DISPUTED, FINALIZED, CANCELLED or their "
                     "number 0-6.",
            "limit": "limit must be an integer of at least 0.",
            "offset": "offset goes up to 100000: use next_cursor to read on.",
            "cursor": "This cursor is invalid: start again without it.",
        }),
        *((f"/api/markets?limit=x&offset={text}", {"limit": "limit must be an integer, not a string."})
          for text in ("0.0", "-0", "1e3", "10.000")),
        ("/api/events/latest?types=x,trade&since=-1&limit=0", {
            "types": "types holds 'x'; there are market_state, trade, vote, discussion.",
            "since": "since must be an integer of at least 0.",
            "limit": "limit must be an integer of at least 1.",
        }),
        (f"/api/votes/{KEY}/proof", {"wallet": "wallet is missing."}),
    ],
)  # fmt: skip
async def test_a_query_is_told_all_that_is_wrong(here: Site, path: str, expected: dict[str, str]) -> None:
    """U9: one answer reports all errors of a query, each with its parameter."""
    answer = await here.get(path)
    assert answer.status_code == 400, answer.text
    assert {item["field"]: item["message"] for item in answer.json()["details"]} == expected
