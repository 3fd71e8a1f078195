"""Tests of text that users send: every field that takes text follows the same rule."""

from __future__ import annotations

from typing import Any

import pytest

from kit.gateway import Site, add_market, site
from kit.wallets import address, market_id, wallet

MARKET = {
    "question": "Will the harbour be frozen?", "end_date": "2100-01-01T00:00:00Z", "b_parameter": 20 * 10**9,
    "initial_liquidity": 15 * 10**9, "description": "By the log.", "category": "weather", "tags": ["ice"],
}  # fmt: skip
COMMENT = {"market_id": market_id(1), "content": "It froze in 1963."}
RESOLUTION = {"outcome": True, "evidence": "Page 12."}
PROFILE = {
    "display_name": "Ada",
    "bio": "Counts.",
    "avatar_url": "https://a.example/a.png",
    "twitter_handle": "a",
}
FIELDS = [
    *(("POST", "/api/markets", MARKET, name) for name in ("question", "description", "category", "tags")),
    ("POST", "/api/discussions", COMMENT, "content"),
    ("POST", f"/api/discussions/{market_id(1)}", COMMENT, "content"),
    ("POST", f"/api/markets/{market_id(1)}/resolve", RESOLUTION, "evidence"),
    ("POST", f"/api/markets/{market_id(1)}/release", {"note": "Known."}, "note"),
    *(("PUT", f"/api/users/{address(1)}", PROFILE, name) for name in PROFILE),
]
DECEPTIVE = [
    "abc\u202egpj.exe and more",
    "\u0001 and some more text",
    "a\u0000b and more text",
    "\u2066isolated text\u2069",
]
UNSEEN = ["\u200b" * 10, "\u3164" * 10, " \u2060\u00ad " * 5]


def changed(body: dict[str, Any], field: str, text: str) -> dict[str, Any]:
    return body | {field: [text] if field == "tags" else text}


@pytest.fixture
async def here(database_url: str, redis_url: str):
    limits = {f"rate_limit_{name}": 10_000 for name in ("reads", "writes", "comments")}
    async with site(database_url, redis_url, **limits) as found:
        await add_market(found.pool, 1)
        yield found


async def test_every_field_of_text_refuses_what_deceives_or_is_not_seen(here: Site) -> None:
    """W28, A16: text that deceives or cannot be seen is refused with its field's name, before authentication."""
    for method, path, body, field in FIELDS:
        required = field in ("question", "category", "tags", "content", "evidence", "note")
        for text in DECEPTIVE + (UNSEEN if required else []):
            answer = await here.http.request(method, path, json=changed(body, field, text))
            assert answer.status_code == 400, (path, field, text)
            assert [item["field"] for item in answer.json()["details"]] == [field]
            assert "U+" in answer.text or "characters" in answer.text
        assert (await here.http.request(method, path, json=body)).status_code == 401, (path, field)


async def test_accepted_text_is_stored_in_one_form_and_found_in_any(here: Site) -> None:
    """W28: accepted text is stored in one normal form, and a search finds it however it was typed."""
    token = await here.sign_in(wallet(1))
    posted = await here.post(
        "/api/discussions", COMMENT | {"content": " cafe\u0301\r\nis \u2615\ufe0f "}, token
    )
    assert posted.json()["discussion"]["content"] == "café\nis \u2615\ufe0f"
    await add_market(here.pool, 2, question="Will the café be open?")
    for typed in ("%63af%C3%A9", "cafe%CC%81", "cafe%CC%81%E2%80%AE"):
        assert (await here.get(f"/api/search?q={typed}")).json()["count"] == 1, typed
        assert (await here.get(f"/api/markets?q={typed}")).json()["count"] == 1, typed
        assert "café" in (await here.get(f"/?q={typed}")).text, typed
