"""Tests of the former front end's four requests to Supabase, as supabase-js 2 sends them: answered, and not stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kit.gateway import Site, add_market, site
from kit.wallets import address
from zmart.market.times import parse_iso
from zmart.store import discussions, users

ORIGIN = "http://localhost:3000"
CLIENT = {
    "apikey": "any", "authorization": "Bearer any", "x-client-info": "supabase-js-web/2.38.0",
    "accept-profile": "public", "content-profile": "public", "origin": ORIGIN,
}  # fmt: skip
ASKED_FOR = "authorization,apikey,content-type,prefer,x-client-info,accept-profile,content-profile"
UPSERT = {"on_conflict": "wallet", "select": "*"}
RETURNED = {"prefer": "resolution=merge-duplicates,return=representation"}
ONE_ROW = {"accept": "application/vnd.pgrst.object+json"}
REQUESTS = [
    ("GET", "/rest/v1/users?select=count&limit=1"),
    ("POST", "/rest/v1/users?on_conflict=wallet&select=*"),
    ("PATCH", f"/rest/v1/users?wallet=eq.{address(1)}"),
    ("GET", "/rest/v1/discussions?select=*&market_id=eq.x&order=created_at.desc"),
]


async def stored_rows(here: Site) -> int:
    count: int = await here.pool.fetchval(
        "SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM discussions)"
    )
    return count


async def preflight(here: Site) -> dict[str, str]:
    headers = {
        "origin": ORIGIN,
        "access-control-request-method": "PATCH",
        "access-control-request-headers": ASKED_FOR,
    }
    answer = await here.http.options("/rest/v1/users", headers=headers)
    return {
        name: value.lower() for name, value in answer.headers.items() if name.startswith("access-control")
    }


async def test_the_wallet_that_connects_gets_its_row_and_nothing_is_stored(database_url: str) -> None:
    async with site(database_url, supabase_facade=True) as here:
        body = {"wallet": address(1), "last_seen_at": "2026-01-15T12:00:00.000Z", "reputation_score": 10**6}
        for headers in (CLIENT | RETURNED | ONE_ROW, CLIENT | RETURNED):
            answer = await here.http.post("/rest/v1/users", params=UPSERT, json=body, headers=headers)
            assert answer.status_code == 201, answer.text
            [row] = [answer.json()] if "vnd.pgrst" in headers.get("accept", "") else answer.json()
            assert (row["wallet"], row["reputation_score"]) == (address(1), None)
            assert abs(parse_iso(row["created_at"]) - datetime.now(UTC)) < timedelta(minutes=1)
            assert answer.headers["access-control-allow-origin"] == ORIGIN
        seen = await here.http.patch(
            "/rest/v1/users",
            params={"wallet": f"eq.{address(1)}"},
            json={"last_seen_at": "x"},
            headers=CLIENT,
        )
        assert (seen.status_code, seen.content) == (204, b"")
        assert await stored_rows(here) == 0


async def test_a_profile_keeps_its_time_and_is_counted(database_url: str) -> None:
    async with site(database_url, supabase_facade=True) as here:
        profile = await users.put(here.pool, address(1), "Ada", None, None, "ada")
        answer = await here.http.post(
            "/rest/v1/users", params=UPSERT, json={"wallet": address(1)}, headers=CLIENT | RETURNED | ONE_ROW
        )
        row = answer.json()
        assert (parse_iso(row["created_at"]) - profile.created_at).total_seconds() < 0.001
        assert row["twitter_handle"] == "ada"
        counted = await here.get("/rest/v1/users", params={"select": "count", "limit": "1"}, headers=CLIENT)
        assert counted.json() == [{"count": 1}]


async def test_who_does_not_prefer_the_row_gets_an_empty_body(database_url: str) -> None:
    async with site(database_url, supabase_facade=True) as here:
        for prefer in ({}, {"prefer": "return=minimal"}):
            body = {"wallet": address(1)}
            answer = await here.http.post("/rest/v1/users", json=body, headers=CLIENT | prefer)
            assert (answer.status_code, answer.content) == (201, b"")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("DELETE", "/rest/v1/users", 405),
        ("POST", "/rest/v1/discussions", 405),
        ("GET", "/rest/v1/users", 400),
        ("GET", "/rest/v1/discussions", 400),
        ("GET", "/rest/v1/markets", 404),
        ("GET", "/rest/v1", 404),
    ],
)
async def test_everything_else_is_refused_with_the_status_that_the_page_names(
    database_url: str, method: str, path: str, status: int
) -> None:
    """docs/migrating.md: another query is 400, another method 405, another path 404."""
    async with site(database_url, supabase_facade=True) as here:
        answer = await here.http.request(method, path, headers=CLIENT)
        assert answer.status_code == status, answer.text


async def test_comments_are_rows_of_the_former_table_newest_first(database_url: str) -> None:
    async with site(database_url, supabase_facade=True) as here:
        market = await add_market(here.pool, 1)
        first = await discussions.add(here.pool, market, address(1), "first", None)
        await discussions.add(here.pool, market, address(2), "second", first.id)
        query = {"select": "*", "market_id": f"eq.{market}", "order": "created_at.desc"}
        answer = await here.get("/rest/v1/discussions", params=query, headers=CLIENT)
        newest, oldest = answer.json()
        assert (newest["content"], newest["parent_id"], newest["upvotes"]) == ("second", str(first.id), None)
        assert (oldest["discussion_id"], oldest["wallet"]) == (str(first.id), address(1))
        unknown = await here.get("/rest/v1/discussions", params=query | {"market_id": "eq." + "0" * 64})
        assert (unknown.status_code, unknown.json()) == (200, [])


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/rest/v1/users?select=*&wallet=eq.x", None),
        ("POST", "/rest/v1/users", {"wallet": "not base58 0OIl"}),
        ("POST", "/rest/v1/users", {"last_seen_at": "now"}),
        ("POST", "/rest/v1/users", []),
        ("PATCH", "/rest/v1/users", {}),
        ("PATCH", "/rest/v1/users?wallet=neq.x", {}),
        ("GET", "/rest/v1/discussions?market_id=gt.1", None),
        ("GET", f"/rest/v1/discussions?market_id=eq.{'a' * 64}&order=upvotes.desc", None),
    ],
)
async def test_what_the_facade_does_not_answer_is_refused(
    database_url: str, method: str, path: str, body: object
) -> None:
    async with site(database_url, supabase_facade=True) as here:
        answer = await here.http.request(method, path, json=body, headers=CLIENT)
        assert answer.status_code == 400, answer.text
        assert answer.json()["details"]


async def test_a_page_may_send_the_headers_of_supabase_only_where_the_facade_is(database_url: str) -> None:
    async with site(database_url, supabase_facade=True, cors_origin=ORIGIN) as here:
        allowed = await preflight(here)
        assert "patch" in allowed["access-control-allow-methods"]
        assert set(ASKED_FOR.split(",")) <= set(allowed["access-control-allow-headers"].split(", "))
    async with site(database_url, cors_origin=ORIGIN) as here:
        allowed = await preflight(here)
        assert "patch" not in allowed["access-control-allow-methods"]
        assert "apikey" not in allowed["access-control-allow-headers"]


async def test_without_the_setting_there_is_no_facade(database_url: str) -> None:
    async with site(database_url) as here:
        for method, path in REQUESTS:
            answer = await here.http.request(method, path, headers=CLIENT)
            assert answer.status_code == 404, (method, path)
